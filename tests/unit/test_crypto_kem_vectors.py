"""Known answers of ML-KEM-768 (Wycheproof, CCTV) and X-Wing from the shared data, where it is there.

The library gives no seeds or coins to others, so what needs them is asked of tests/mlkem768.py, and the library then
has to agree; the router's ML-KEM takes them and is asked in tests/shims.
"""

from __future__ import annotations

import gzip
from hashlib import shake_256
from typing import TYPE_CHECKING, Any

import pytest
from test_crypto_vectors import DATA, raw, vectors

import mlkem768
from qpq.crypto import xwing
from qpq.crypto.errors import CryptoError
from qpq.crypto.kem import standard_kem

if TYPE_CHECKING:
    from pathlib import Path

KEM = standard_kem()


def cases(name: str) -> list[dict[str, Any]]:
    document = vectors(f"mlkem768/mlkem_768{name}_test.json")
    found = [case for group in document["testGroups"] for case in group["tests"]]
    assert len(found) == document["numberOfTests"]
    return found


def cctv(name: str) -> Path:
    path = DATA / "vectors" / "mlkem768" / f"cctv-{name}"
    if not path.exists():
        pytest.skip(f"test vectors are not here: {path} (set QPQ_SHARED_DATA)")
    return path


def named(name: str) -> dict[str, bytes]:
    """Return the values of a CCTV file that are bytes, by name."""
    rows = (line.partition(" = ") for line in cctv(name).read_text(encoding="utf-8").splitlines())
    wanted = {"d", "z", "ek", "dk", "m", "K", "c"}
    return {key: bytes.fromhex(value) for key, _, value in rows if key in wanted}


def test_x_wing_agrees_with_its_drafts_vectors() -> None:
    found = vectors("xwing/test-vectors.json")
    assert len(found) == 3
    for case in found:
        seed, eseed, public, ciphertext, shared = raw(case, "seed", "eseed", "pk", "ct", "ss")
        expanded = shake_256(seed).digest(96)
        made, secret = xwing.keygen(mlkem768.Fixed(seed=expanded[:64]), expanded[64:])
        assert made == public
        assert xwing.encapsulate(mlkem768.Fixed(message=eseed[:32]), public, eseed[32:]) == (ciphertext, shared)
        assert xwing.decapsulate(KEM, secret, public[-32:], ciphertext) == shared


def test_ml_kem_makes_wycheproofs_keys_from_seeds() -> None:
    for case in cases("_keygen_seed"):
        seed, public, secret = raw(case, "seed", "ek", "dk")
        assert mlkem768.keygen(seed) == (public, secret)
        ciphertext, shared = KEM.encapsulate(public)
        assert KEM.decapsulate(secret, ciphertext) == shared


def test_ml_kem_encapsulates_as_wycheproof_says() -> None:
    refused = 0
    for case in cases("_encaps"):
        message, public, ciphertext, shared = raw(case, "m", "ek", "c", "K")
        if case["result"] == "valid":
            assert mlkem768.encapsulate(public, message) == (ciphertext, shared)
            KEM.encapsulate(public)
        elif len(message) == 32:
            with pytest.raises(CryptoError):
                KEM.encapsulate(public)
            refused += 1
    assert refused > 100


def test_ml_kem_decapsulates_as_wycheproof_says() -> None:
    for case in cases(""):
        seed, ciphertext, shared = raw(case, "seed", "c", "K")
        if case["result"] == "valid":
            public, secret = mlkem768.keygen(seed)
            assert public.hex() == case["ek"]
            assert KEM.decapsulate(secret, ciphertext) == shared
        elif len(seed) == 64:
            with pytest.raises(CryptoError):
                KEM.decapsulate(mlkem768.keygen(seed)[1], ciphertext)


def test_ml_kem_decapsulates_with_wycheproofs_expanded_keys_and_refuses_the_damaged_ones() -> None:
    for case in cases("_semi_expanded_decaps"):
        secret, ciphertext = raw(case, "dk", "c")
        if case["result"] == "valid":
            assert KEM.decapsulate(secret, ciphertext).hex() == case["K"]
        else:
            with pytest.raises(CryptoError):
                KEM.decapsulate(secret, ciphertext)


@pytest.mark.parametrize("name", ["intermediate-ML-KEM-768.txt", "unluckysample-ML-KEM-768.txt"])
def test_ml_kem_agrees_with_cctvs_keys_and_ciphertexts(name: str) -> None:
    case = named(name)
    assert mlkem768.keygen(case["d"] + case["z"], domain=b"") == (case["ek"], case["dk"])  # from before the standard
    assert mlkem768.encapsulate(case["ek"], case["m"]) == (case["c"], case["K"])
    assert KEM.decapsulate(case["dk"], case["c"]) == case["K"]


def test_ml_kem_compares_the_whole_ciphertext() -> None:
    case = named("strcmp-ML-KEM-768.txt")
    assert KEM.decapsulate(case["dk"], case["c"]) == mlkem768.decapsulate(case["dk"], case["c"]) == case["K"]


def test_ml_kem_refuses_cctvs_public_keys_beyond_the_modulus() -> None:
    lines = gzip.decompress(cctv("modulus-ML-KEM-768.txt.gz").read_bytes()).decode().split()
    assert len(lines) > 100
    for line in lines:
        for encapsulate in (KEM.encapsulate, lambda public: mlkem768.encapsulate(public, bytes(32))):
            with pytest.raises(CryptoError):
                encapsulate(bytes.fromhex(line))
