"""ML-KEM-768 behind its port, and X-Wing over it: what the drafts print, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256, shake_256
from pathlib import Path

import pytest

import mlkem768
from qpq.crypto import xwing
from qpq.crypto.errors import CryptoError
from qpq.crypto.kem import CIPHERTEXT_BYTES, PUBLIC_BYTES, SECRET_BYTES, SHARED_BYTES, standard_kem

NODE = Path(__file__).parents[2] / "node"
KEM = standard_kem()

# draft-connolly-cfrg-xwing-kem, appendix C: seed, eseed, shared secret; SHA-256 of public key and ciphertext.
XWING = [
    (
        "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
        (
            "3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e2"
            "35b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2"
        ),
        "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384",
        "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb",
        "17cd532d657e44c897ca6583e548a5424fc70bf54f99515a4d2bcf99e3469f33",
    ),
    (
        "badfd6dfaac359a5efbb7bcc4b59d538df9a04302e10c8bc1cbf1a0b3a5120ea",
        (
            "17cda7cfad765f5623474d368ccca8af0007cd9f5e4c849f167a580b14aabdef"
            "aee7eef47cb0fca9767be1fda69419dfb927e9df07348b196691abaeb580b32d"
        ),
        "f2e86241c64d60f6649fbc6c5b7d17180b780a3f34355e64a85749949c45f150",
        "c42ba5f8430d7d2c83739338203819f090e8303ce9c8b02107c272bfa5376916",
        "1661ea86d608a1924ba30840cb0a65f13ae051e3aec9cf0f064efc0bc92f2154",
    ),
    (
        "ef58538b8d23f87732ea63b02b4fa0f4873360e2841928cd60dd4cee8cc0d4c9",
        (
            "22a96188d032675c8ac850933c7aff1533b94c834adbb69c6115bad4692d8619"
            "f90b0cdf8a7b9c264029ac185b70b83f2801f2f4b3f70c593ea3aeeb613a7f1b"
        ),
        "953f7f4e8c5b5049bdc771d1dffada0dd961477d1a2ae0988baa7ea6898d893f",
        "6b080d6b84f095342092fa7a22423e58bd681397ad0ef00eac92bd254db4fa95",
        "d3ca5578500344b5896cffc4fd740c9311946b82951df155e6fd86a7966b43c6",
    ),
]


@pytest.mark.parametrize(("seed", "eseed", "shared", "public_hash", "ciphertext_hash"), XWING)
def test_x_wing_gives_what_its_draft_prints(
    seed: str, eseed: str, shared: str, public_hash: str, ciphertext_hash: str
) -> None:
    expanded, drawn = shake_256(bytes.fromhex(seed)).digest(96), bytes.fromhex(eseed)
    public, secret = xwing.keygen(mlkem768.Fixed(seed=expanded[:64]), expanded[64:])
    assert sha256(public).hexdigest() == public_hash
    ciphertext, found = xwing.encapsulate(mlkem768.Fixed(message=drawn[:32]), public, drawn[32:])
    assert sha256(ciphertext).hexdigest() == ciphertext_hash
    assert found.hex() == shared
    for kem in (KEM, mlkem768.Fixed()):
        assert xwing.decapsulate(kem, secret, public[-32:], ciphertext).hex() == shared


def test_x_wing_agrees_and_its_parts_have_their_lengths() -> None:
    public, secret = xwing.keygen(KEM, b"1" * 32)
    ciphertext, shared = xwing.encapsulate(KEM, public, b"2" * 32)
    assert xwing.decapsulate(KEM, secret, public[-32:], ciphertext) == shared
    assert (len(public), len(secret), len(ciphertext)) == (1216, 2432, 1120)
    assert (xwing.PUBLIC_BYTES, xwing.SECRET_BYTES, xwing.CIPHERTEXT_BYTES) == (1216, 2432, 1120)
    assert len(shared) == xwing.SHARED_BYTES == 32


@pytest.mark.parametrize("place", [0, 500, 1087, 1088, 1118])
def test_another_x_wing_ciphertext_gives_another_secret(place: int) -> None:
    public, secret = xwing.keygen(KEM, b"1" * 32)
    ciphertext, shared = xwing.encapsulate(KEM, public, b"2" * 32)
    altered = ciphertext[:place] + bytes([ciphertext[place] ^ 1]) + ciphertext[place + 1 :]
    assert xwing.decapsulate(KEM, secret, public[-32:], altered) != shared
    assert xwing.decapsulate(KEM, secret, b"\x09" + bytes(31), ciphertext) != shared


def test_x_wing_refuses_wrong_lengths_and_points_of_small_order() -> None:
    public, secret = xwing.keygen(KEM, b"1" * 32)
    ciphertext, _ = xwing.encapsulate(KEM, public, b"2" * 32)
    x25519_public = public[-32:]
    for call in (
        lambda: xwing.keygen(KEM, bytes(31)),
        lambda: xwing.encapsulate(KEM, public, bytes(33)),
        lambda: xwing.encapsulate(KEM, public[:-1], bytes(32)),
        lambda: xwing.decapsulate(KEM, secret[:-1], x25519_public, ciphertext),
        lambda: xwing.decapsulate(KEM, secret, x25519_public[:-1], ciphertext),
        lambda: xwing.decapsulate(KEM, secret, x25519_public, ciphertext + b"x"),
    ):
        with pytest.raises(CryptoError, match=r"has \d+ bytes, not"):
            call()
    with pytest.raises(CryptoError, match="small order"):
        xwing.encapsulate(KEM, public[:-32] + bytes(32), b"2" * 32)
    with pytest.raises(CryptoError, match="small order"):
        xwing.decapsulate(KEM, secret, x25519_public, ciphertext[:-32] + bytes(32))
    with pytest.raises(CryptoError, match="public key that is none"):
        xwing.encapsulate(KEM, b"\xff" * 1184 + x25519_public, b"2" * 32)


def test_ml_kem_agrees_with_a_second_implementation_both_ways() -> None:
    for number in range(3):
        public, secret = mlkem768.keygen(bytes([number]) * 64)
        ciphertext, shared = KEM.encapsulate(public)
        assert mlkem768.decapsulate(secret, ciphertext) == KEM.decapsulate(secret, ciphertext) == shared
        public, secret = KEM.keygen()
        ciphertext, shared = mlkem768.encapsulate(public, bytes([number]) * 32)
        assert mlkem768.decapsulate(secret, ciphertext) == KEM.decapsulate(secret, ciphertext) == shared
        wrong = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
        assert mlkem768.decapsulate(secret, wrong) == KEM.decapsulate(secret, wrong) != shared


def test_ml_kem_draws_anew_each_time_and_its_parts_have_their_lengths() -> None:
    public, secret = KEM.keygen()
    ciphertext, shared = KEM.encapsulate(public)
    assert KEM.keygen()[0] != public
    assert KEM.encapsulate(public)[0] != ciphertext
    lengths = [len(part) for part in (public, secret, ciphertext, shared)]
    assert lengths == [PUBLIC_BYTES, SECRET_BYTES, CIPHERTEXT_BYTES, SHARED_BYTES]


def test_ml_kem_refuses_damaged_keys_and_wrong_lengths() -> None:
    public, secret = KEM.keygen()
    ciphertext, _ = KEM.encapsulate(public)
    for bad in (b"", public[:-1], public + b"x", b"\xff" * PUBLIC_BYTES):
        with pytest.raises(CryptoError, match="public key"):
            KEM.encapsulate(bad)
    for bad_secret, bad_ciphertext in (
        (secret[:-1], ciphertext),
        (bytes(SECRET_BYTES), ciphertext),
        (secret, ciphertext[:-1]),
        (secret, ciphertext + b"x"),
    ):
        with pytest.raises(CryptoError, match="damaged or of a wrong length"):
            KEM.decapsulate(bad_secret, bad_ciphertext)


def test_ml_kem_is_loaded_when_it_is_first_used() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(NODE)!r})\n"
        "import qpq.crypto.sessions\n"
        "from qpq.crypto.kem import standard_kem\n"
        "kem = standard_kem()\n"
        "before = 'pqcrypto' in sys.modules\n"
        "kem.keygen()\n"
        "print(before, 'pqcrypto' in sys.modules)\n"
    )
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "True"]
