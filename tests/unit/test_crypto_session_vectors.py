"""schemas/vectors/bundle.json and session.json: every byte follows from what is written there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mlkem768
from qpq.crypto import errors
from qpq.crypto.identity import SecretIdentity
from qpq.crypto.kem import standard_kem
from qpq.crypto.prekeys import OneTimePrekey, SignedPrekey, make_bundle, make_one_time, open_bundle
from qpq.crypto.sessions import Session, read_header

VECTORS = Path(__file__).parents[2] / "schemas" / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def unhex(document: Any, *names: str) -> list[bytes]:
    return [bytes.fromhex(document[name]) for name in names]


BUNDLE, SESSION = load("bundle.json"), load("session.json")
USERS = {row["name"]: SecretIdentity(bytes.fromhex(row["seed"])) for row in load("keys.json")["identities"]}
ANNA, BERT = USERS["anna"], USERS["bert"]


class Told:
    """ML-KEM with the randomness that the vectors tell."""

    def __init__(self, drawn: list[str]) -> None:
        self._drawn = [bytes.fromhex(data) for data in drawn]

    def keygen(self) -> tuple[bytes, bytes]:
        return mlkem768.keygen(self._drawn.pop(0))

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        return mlkem768.encapsulate(public, self._drawn.pop(0))

    def decapsulate(self, secret: bytes, ciphertext: bytes) -> bytes:
        raise NotImplementedError


def prekeys() -> tuple[SignedPrekey, OneTimePrekey]:
    x25519_secret, xwing_secret, one_time = unhex(BUNDLE, "x25519_secret", "xwing_secret", "one_time_secret")
    public = bytes.fromhex(BUNDLE["bundles"][0]["hex"])[1:1249]
    return SignedPrekey.decode(b"\x01" + x25519_secret + xwing_secret + public), make_one_time(one_time)


def test_bundles_follow_from_the_secrets_and_are_read() -> None:
    signed, one_time = prekeys()
    for row, extra in zip(BUNDLE["bundles"], (None, one_time), strict=True):
        assert make_bundle(BERT, signed, extra).hex() == row["hex"]
        found = open_bundle(bytes.fromhex(row["hex"]), BERT.address)
        assert found.key_id.hex() == BUNDLE["key_id"]
        assert found.one_time_id.hex() == (BUNDLE["one_time_id"] if extra else "")


def test_what_is_refused_is_refused_for_that_reason() -> None:
    for row in BUNDLE["refused"]:
        with pytest.raises(getattr(errors, row["error"])):
            open_bundle(bytes.fromhex(row["hex"]), BERT.address)
    for row in SESSION["refused"]:
        with pytest.raises(getattr(errors, row["error"])):
            read_header(bytes.fromhex(row["hex"]))


def test_the_session_of_the_vectors_is_sealed_byte_for_byte_and_opens() -> None:
    signed, one_time = prekeys()
    life, kem = SESSION["life"], standard_kem()
    bundle = open_bundle(bytes.fromhex(BUNDLE["bundles"][1]["hex"]), BERT.address)
    (entropy,) = unhex(SESSION, "begin_entropy")
    sides = {"anna": Session.initiate(ANNA, bundle, Told([SESSION["begin_kem"]]), entropy, life=life)}
    assert sides["anna"].session_id.hex() == SESSION["session_id"]
    assert sides["anna"]._binding.hex() == SESSION["binding"]
    for step in SESSION["steps"]:
        sender, (entropy, expected) = step["from"], unhex(step, "entropy", "payload")
        payload, marker = sides[sender].seal(step["text"].encode(), Told(step["kem"]), entropy, life=life)
        assert payload == expected
        assert sides[sender]._ratchet.root.hex() == step["root"]
        reader = "bert" if sender == "anna" else "anna"
        if reader not in sides:
            made = Session.respond(BERT, ANNA.address, payload, signed, one_time, kem, life=life)
            sides[reader], opened = made
        else:
            opened = sides[reader].open(payload, kem, life=life)
        assert opened.plaintext.decode() == step["text"]
        if marker and payload[0] != 3:
            sides[sender].proven(marker)
