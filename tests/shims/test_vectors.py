"""Known answers: Wycheproof, FIPS 203 and the RFCs, for whichever packages this run has."""

from __future__ import annotations

import gzip
from hashlib import shake_256
from typing import TYPE_CHECKING, Any

import pytest
import shim_paths
from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from nacl import bindings
from nacl.exceptions import BadSignatureError

from qpq.crypto import primitives, xwing
from qpq.crypto.kem import standard_kem

if TYPE_CHECKING:
    from collections.abc import Callable


def raw(case: dict[str, Any], *names: str) -> list[bytes]:
    return [bytes.fromhex(case[name]) for name in names]


def check_aead(cipher: Callable[[bytes], Any], case: dict[str, Any]) -> None:
    key, iv, aad, message, ciphertext, tag = raw(case, "key", "iv", "aad", "msg", "ct", "tag")
    if case["result"] == "valid":
        assert cipher(key).encrypt(iv, message, aad) == ciphertext + tag
        assert cipher(key).decrypt(iv, ciphertext + tag, aad) == message
        return
    with pytest.raises((InvalidTag, ValueError)):
        cipher(key).decrypt(iv, ciphertext + tag, aad)


def test_chacha20_poly1305_gives_wycheproofs_answers() -> None:
    for _, case in shim_paths.cases("wycheproof/chacha20_poly1305_test.json"):
        check_aead(ChaCha20Poly1305, case)


def test_aes_128_gcm_gives_wycheproofs_answers_for_the_nonces_it_takes() -> None:
    seen = 0
    for group, case in shim_paths.cases("wycheproof/aes_gcm_test.json"):
        if group["keySize"] == 128 and 64 <= group["ivSize"] <= 1024:
            check_aead(AESGCM, case)
            seen += 1
    assert seen > 90


@pytest.mark.skipif(not shim_paths.ON_SHIMS, reason="the real package has larger keys")
def test_larger_aes_keys_are_refused_by_name() -> None:
    for bits in (192, 256):
        with pytest.raises(UnsupportedAlgorithm):
            AESGCM(bytes(bits // 8))


def test_ed25519_verifies_what_wycheproof_says_and_nothing_else() -> None:
    for group, case in shim_paths.cases("wycheproof/ed25519_test.json"):
        public = bytes.fromhex(group["publicKey"]["pk"])
        message, signature = raw(case, "msg", "sig")
        verdicts = []
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
            verdicts.append(True)
        except InvalidSignature:
            verdicts.append(False)
        if len(signature) == 64:
            try:
                verdicts.append(bindings.crypto_sign_open(signature + message, public) == message)
            except BadSignatureError:
                verdicts.append(False)
        assert set(verdicts) == {case["result"] == "valid"}, case


def test_x25519_gives_wycheproofs_answers_and_refuses_an_all_zero_secret() -> None:
    for _, case in shim_paths.cases("wycheproof/x25519_test.json"):
        secret, public, shared = raw(case, "private", "public", "shared")
        private = X25519PrivateKey.from_private_bytes(secret)
        if not any(shared):
            with pytest.raises(ValueError, match="Error computing shared key"):
                private.exchange(X25519PublicKey.from_public_bytes(public))
        else:
            assert private.exchange(X25519PublicKey.from_public_bytes(public)) == shared
            assert bindings.crypto_scalarmult(secret, public) == shared


def test_hmac_sha_256_gives_wycheproofs_answers() -> None:
    for group, case in shim_paths.cases("wycheproof/hmac_sha256_test.json"):
        key, message, tag = raw(case, "key", "msg", "tag")
        state = hmac.HMAC(key, hashes.SHA256())
        state.update(message)
        assert (state.finalize()[: group["tagSize"] // 8] == tag) == (case["result"] == "valid")


def test_hkdf_expand_gives_wycheproofs_answers() -> None:
    for _, case in shim_paths.cases("wycheproof/hkdf_sha256_test.json"):
        ikm, salt, info, okm = raw(case, "ikm", "salt", "info", "okm")
        state = hmac.HMAC(salt, hashes.SHA256())
        state.update(ikm)
        key = state.finalize()
        if case["result"] == "valid":
            assert HKDFExpand(hashes.SHA256(), case["size"], info).derive(key) == okm
        else:
            with pytest.raises(ValueError, match="Cannot derive keys larger"):
                HKDFExpand(hashes.SHA256(), case["size"], info)


def test_rfc_8032_signs_as_printed() -> None:
    seed = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
    key = Ed25519PrivateKey.from_private_bytes(seed)
    assert key.sign(b"\xaf\x82").hex() == (
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )


def test_rfc_9001_masks_headers_as_printed() -> None:
    # Appendix A.2 (AES) and A.5 (ChaCha20).
    key = bytes.fromhex("9f50449e04a0e810283a1e9933adedd2")
    sample = bytes.fromhex("d1b1c98dd7689fb8ec11d242b123dc9b")
    assert Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(sample)[:5].hex() == "437b9aec36"  # noqa: S305 (QUIC masks headers so)
    key = bytes.fromhex("25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4")
    sample = bytes.fromhex("5e5cd55c41f69080575d7999c25a5bfb")
    context = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    context.reset_nonce(sample)
    assert context.update(bytes(5)).hex() == "aefefe7d03"


def test_rfc_9001_tags_a_retry_packet_as_printed() -> None:
    # Appendix A.4.
    pseudo = bytes.fromhex("088394c8f03e515708ff000000010008f067a5502a4262b5746f6b656e")
    key, nonce = bytes.fromhex("be0c690b9f66575a1d766b54e368c84e"), bytes.fromhex("461599d35d632bf2239825bb")
    assert AESGCM(key).encrypt(nonce, b"", pseudo).hex() == "04a265ba2eff4d829058fb3f0f2496ba"


def test_argon2id_gives_libsodiums_answer() -> None:
    made = bindings.crypto_pwhash_alg(32, b"password", b"somesaltsomesalt", 2, 64 << 10, 2)
    assert made.hex() == "1a98fba8e6394425c9bdc333a9c750aaf811df070f5fb4a5788e1cf4db5793a1"


def kem_cases(name: str) -> list[dict[str, Any]]:
    return [case for _, case in shim_paths.cases(f"mlkem768/mlkem_768{name}_test.json")]


@pytest.mark.skipif(not shim_paths.ON_SHIMS, reason="the real package takes no seeds")
def test_ml_kem_makes_the_keys_of_fips_203_from_seeds() -> None:
    import _qpq_native as native  # noqa: PLC0415 (only there in this run)

    for case in kem_cases("_keygen_seed"):
        seed, ek, dk = raw(case, "seed", "ek", "dk")
        assert native.mlkem768_keypair(seed) == (ek, dk)


@pytest.mark.skipif(not shim_paths.ON_SHIMS, reason="the real package takes no coins")
def test_ml_kem_encapsulates_as_fips_203_says_and_refuses_bad_keys() -> None:
    import _qpq_native as native  # noqa: PLC0415 (only there in this run)

    for case in kem_cases("_encaps"):
        coins, ek, ciphertext, shared = raw(case, "m", "ek", "c", "K")
        if case["result"] == "valid":
            assert native.mlkem768_encaps(ek, coins) == (ciphertext, shared)
        else:
            with pytest.raises(ValueError, match=r"public key|coins"):
                native.mlkem768_encaps(ek, coins)


@pytest.mark.skipif(not shim_paths.ON_SHIMS, reason="the real package takes no seeds")
def test_ml_kem_decapsulates_from_seeds_as_fips_203_says() -> None:
    import _qpq_native as native  # noqa: PLC0415 (only there in this run)

    for case in kem_cases(""):
        seed, ciphertext = raw(case, "seed", "c")
        if case["result"] == "valid":
            public, secret = native.mlkem768_keypair(seed)
            assert public.hex() == case["ek"]
            assert native.mlkem768_decaps(secret, ciphertext).hex() == case["K"]
        else:
            with pytest.raises(ValueError, match="bytes"):
                native.mlkem768_decaps(native.mlkem768_keypair(seed)[1], ciphertext)


class Told:
    """The router's ML-KEM with the coins of a vector."""

    def __init__(self, coins: bytes) -> None:
        self._coins = coins

    def keygen(self) -> tuple[bytes, bytes]:
        raise NotImplementedError

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        import _qpq_native as native  # noqa: PLC0415 (only there in the second run)

        return native.mlkem768_encaps(public, self._coins)

    def decapsulate(self, secret: bytes, ciphertext: bytes) -> bytes:
        raise NotImplementedError


@pytest.mark.skipif(not shim_paths.ON_SHIMS, reason="the real package takes no seeds")
def test_x_wing_gives_what_its_draft_prints() -> None:
    import _qpq_native as native  # noqa: PLC0415 (only there in this run)

    for case in shim_paths.vectors("xwing/test-vectors.json"):
        seed, eseed, public, ciphertext, shared = raw(case, "seed", "eseed", "pk", "ct", "ss")
        expanded = shake_256(seed).digest(96)
        kem_public, kem_secret = native.mlkem768_keypair(expanded[:64])
        x25519_public = primitives.x25519_public(expanded[64:])
        assert kem_public + x25519_public == public
        secret = expanded[64:] + kem_secret
        assert xwing.decapsulate(standard_kem(), secret, x25519_public, ciphertext) == shared

        assert xwing.encapsulate(Told(eseed[:32]), public, eseed[32:]) == (ciphertext, shared)


def test_ml_kem_decapsulates_with_whole_keys_and_refuses_damaged_ones() -> None:
    kem = pytest.importorskip("pqcrypto.kem.ml_kem_768", reason="pqcrypto is not installed")
    for case in kem_cases("_semi_expanded_decaps"):
        dk, ciphertext = raw(case, "dk", "c")
        if case["result"] == "valid":
            assert kem.decaps(dk, ciphertext).hex() == case["K"]
        else:
            with pytest.raises(ValueError, match="invalid"):
                kem.decaps(dk, ciphertext)


def test_ml_kem_refuses_every_public_key_beyond_the_modulus() -> None:
    kem = pytest.importorskip("pqcrypto.kem.ml_kem_768", reason="pqcrypto is not installed")
    path = shim_paths.DATA / "vectors" / "mlkem768" / "cctv-modulus-ML-KEM-768.txt.gz"
    if not path.exists():
        pytest.skip(f"test vectors are not here: {path} (set QPQ_SHARED_DATA)")
    lines = gzip.decompress(path.read_bytes()).decode().split()
    assert len(lines) > 100
    for line in lines:
        with pytest.raises(ValueError, match="invalid public key"):
            kem.encaps(bytes.fromhex(line))


def test_cbor_reads_and_writes_rfc_8949s_examples() -> None:
    cbor2 = pytest.importorskip("cbor2", reason="cbor2 is not installed")
    seen = 0
    for case in shim_paths.vectors("cbor/appendix_a.json"):
        data = bytes.fromhex(case["hex"])
        plain = "decoded" in case and data[0] >> 5 not in {6, 7} and not {0x5F, 0x7F, 0x9F, 0xBF} & set(data)
        if plain and not any(byte >= 0xF7 or byte >> 5 == 6 for byte in data if data[0] >> 5 in {4, 5}):
            assert cbor2.loads(data) == case["decoded"] or data[0] >> 5 == 2
            assert cbor2.dumps(cbor2.loads(data)) == data
            seen += 1
    assert seen > 30
