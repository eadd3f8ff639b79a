"""Known answers: RFC 9180 and Wycheproof from the shared data, where it is there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from qpq.crypto import hpke, primitives
from qpq.crypto.errors import AuthenticationError, CryptoError

DATA = Path(os.environ.get("QPQ_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")


def vectors(name: str) -> Any:
    path = DATA / "vectors" / name
    if not path.exists():
        pytest.skip(f"test vectors are not here: {path} (set QPQ_SHARED_DATA)")
    return json.loads(path.read_text())


def wycheproof(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    document = vectors(f"wycheproof/{name}_test.json")
    cases = [(group, case) for group in document["testGroups"] for case in group["tests"]]
    assert len(cases) == document["numberOfTests"]
    return cases


def raw(case: dict[str, Any], *keys: str) -> list[bytes]:
    return [bytes.fromhex(case[key]) for key in keys]


def hpke_cases() -> list[dict[str, Any]]:
    cases = [case for case in vectors("hpke/hpke-x25519-sha256.json") if (case["mode"], case["aead_id"]) == (0, 3)]
    assert cases
    return cases


def test_hpke_derives_the_keys_of_rfc_9180() -> None:
    for case in hpke_cases():
        for ikm, secret, public in (("ikmE", "skEm", "pkEm"), ("ikmR", "skRm", "pkRm")):
            derived = hpke.derive_secret(bytes.fromhex(case[ikm]))
            assert derived.hex() == case[secret]
            assert primitives.x25519_public(derived).hex() == case[public]


def test_hpke_seals_opens_and_exports_as_rfc_9180_prints() -> None:
    for case in hpke_cases():
        info, ikm, secret, public = raw(case, "info", "ikmE", "skRm", "pkRm")
        enc, sender = hpke.setup_sender(public, info, ikm)
        recipient = hpke.setup_recipient(enc, secret, public, info)
        assert enc.hex() == case["enc"]
        for step in case["encryptions"]:
            plaintext, aad, expected = raw(step, "pt", "aad", "ct")
            sender._sequence = recipient._sequence = step["seq"]
            assert sender.seal(plaintext, aad) == expected
            assert recipient.open(expected, aad) == plaintext
        for export in case["exports"]:
            (context,) = raw(export, "exporter_context")
            assert sender.export(context, export["L"]).hex() == export["exported_value"]
            assert recipient.export(context, export["L"]).hex() == export["exported_value"]


def test_ed25519_agrees_with_wycheproof() -> None:
    wrong = []
    for group, case in wycheproof("ed25519"):
        public = bytes.fromhex(group["publicKey"]["pk"])
        message, signature = raw(case, "msg", "sig")
        if primitives.ed25519_verify(public, signature, message) is not (case["result"] == "valid"):
            wrong.append(case["tcId"])
    assert wrong == []


def test_x25519_agrees_with_wycheproof_and_refuses_an_all_zero_secret() -> None:
    wrong = []
    for _, case in wycheproof("x25519"):
        public, secret, shared = raw(case, "public", "private", "shared")
        try:
            correct = primitives.x25519(secret, public) == shared and shared != bytes(32)
        except CryptoError:
            correct = case["result"] == "acceptable" and shared == bytes(32)
        if not correct:
            wrong.append(case["tcId"])
    assert wrong == []


def test_chacha20_poly1305_agrees_with_wycheproof() -> None:
    wrong = []
    for _, case in wycheproof("chacha20_poly1305"):
        key, nonce, aad, message, ciphertext, tag = raw(case, "key", "iv", "aad", "msg", "ct", "tag")
        try:
            opened = primitives.aead_open(key, nonce, ciphertext + tag, aad)
            correct = opened == message and primitives.aead_seal(key, nonce, message, aad) == ciphertext + tag
        except AuthenticationError:
            correct = False
        except CryptoError:
            correct = False
            assert len(nonce) != primitives.NONCE_BYTES
        if correct is not (case["result"] == "valid"):
            wrong.append(case["tcId"])
    assert wrong == []


def test_hkdf_agrees_with_wycheproof() -> None:
    wrong = []
    for _, case in wycheproof("hkdf_sha256"):
        ikm, salt, info, expected = raw(case, "ikm", "salt", "info", "okm")
        try:
            correct = primitives.hkdf(ikm, salt=salt, info=info, length=case["size"]) == expected
        except CryptoError:
            correct = False
        if correct is not (case["result"] == "valid"):
            wrong.append(case["tcId"])
    assert wrong == []


def test_hmac_agrees_with_wycheproof() -> None:
    wrong = []
    for group, case in wycheproof("hmac_sha256"):
        key, message, tag = raw(case, "key", "msg", "tag")
        computed = primitives.hmac_sha256(key, message)[: group["tagSize"] // 8]
        if primitives.equal(computed, tag) is not (case["result"] == "valid"):
            wrong.append(case["tcId"])
    assert wrong == []
