"""What opens and keeps sessions: bundles, headers, messages for a session that is there or begins, stored states."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qpq.crypto.errors import CryptoError
from qpq.crypto.identity import Address, SecretIdentity
from qpq.crypto.kem import standard_kem
from qpq.crypto.prekeys import OneTimePrekey, SignedPrekey, make_one_time, open_bundle
from qpq.crypto.session_header import encode_header
from qpq.crypto.sessions import MAX_OVERHEAD, Session, can_open, overhead, read_header

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
KEM = standard_kem()
LIFE = 1000


def _load(path: str) -> Any:
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


BUNDLE = _load("schemas/vectors/bundle.json")
ANNA, BERT = (
    SecretIdentity(bytes.fromhex(row["seed"])) for row in _load("schemas/vectors/keys.json")["identities"][2:]
)
SIGNED = SignedPrekey.decode(
    b"\x01"
    + bytes.fromhex(BUNDLE["x25519_secret"] + BUNDLE["xwing_secret"])
    + bytes.fromhex(BUNDLE["bundles"][0]["hex"])[1:1249]
)
ONE_TIME = make_one_time(bytes.fromhex(BUNDLE["one_time_secret"]))
STATES = _load("tests/unit/data/session_state_1.json")["states"]


def _session(number: int) -> Session:
    state = STATES[number % len(STATES)]
    own, peer = SecretIdentity(bytes.fromhex(state["own_seed"])), Address(bytes.fromhex(state["peer"]))
    return Session.decode(bytes.fromhex(state["state"]), own.address, peer)


def bundle(data: bytes) -> None:
    with contextlib.suppress(CryptoError):
        found = open_bundle(data, BERT.address)
        assert data[1:1249] == found.x25519 + found.xwing


def header(data: bytes) -> None:
    with contextlib.suppress(CryptoError):
        found = read_header(data)
        opening = found.prekey_id + found.one_time_id + found.ephemeral + found.xwing_ciphertext
        assert encode_header(opening, found) == data[: found.end]


def prekey(data: bytes) -> None:
    for kind in (SignedPrekey, OneTimePrekey):
        with contextlib.suppress(CryptoError):
            assert kind.decode(data).encode() == data


def opening(data: bytes) -> None:
    for one_time in (ONE_TIME, None):
        with contextlib.suppress(CryptoError):
            session, opened = Session.respond(BERT, ANNA.address, data, SIGNED, one_time, KEM, life=LIFE)
            assert len(opened.plaintext) < len(data)
            assert can_open(session, read_header(data))


def ratchet(data: bytes) -> None:
    """Open in one of the recorded sessions; what does not open must change nothing."""
    session = _session(data[0] if data else 0)
    before = session.encode()
    with contextlib.suppress(CryptoError):
        opened = session.open(data[1:], KEM, life=LIFE)
        session.unread(opened)
        assert session.open(data[1:], KEM, life=LIFE).plaintext == opened.plaintext
        return
    assert session.encode() == before


def session_state(data: bytes) -> None:
    with contextlib.suppress(CryptoError):
        session = Session.decode(data, ANNA.address, BERT.address)
        assert session.encode() == data
        assert overhead(session) <= MAX_OVERHEAD + 1168 + 1088
        session.jump(3)
        session.proven(session.session_id + b"\x07" + bytes(8))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "bundle": bundle,
    "header": header,
    "opening": opening,
    "prekey": prekey,
    "ratchet": ratchet,
    "session_state": session_state,
}
