"""Sessions as functions of plain values, for operations.py: each call takes a state and returns the next."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from qpq.crypto.identity import Address, SecretIdentity
from qpq.crypto.kem import standard_kem
from qpq.crypto.prekeys import SignedPrekey, make_bundle, make_signed, open_bundle
from qpq.crypto.sessions import ENTROPY_BYTES, Session

if TYPE_CHECKING:
    from collections.abc import Callable

KEM = standard_kem()


def prekeys(seed: bytes) -> list[bytes]:
    """Return a signed prekey as it is stored, and its bundle."""
    signed = make_signed(KEM, os.urandom(64))
    return [signed.encode(), make_bundle(SecretIdentity(seed), signed, None)]


def begin(seed: bytes, peer: bytes, bundle: bytes, life: int) -> bytes:
    read = open_bundle(bundle, Address(peer))
    return Session.initiate(SecretIdentity(seed), read, KEM, os.urandom(ENTROPY_BYTES), life=life).encode()


def respond(seed: bytes, peer: bytes, signed: bytes, payload: bytes, life: int) -> list[bytes]:
    own, prekey = SecretIdentity(seed), SignedPrekey.decode(signed)
    session, opened = Session.respond(own, Address(peer), payload, prekey, None, KEM, life=life)
    return [session.encode(), opened.plaintext]


def seal(state: bytes, own: bytes, peer: bytes, text: bytes, life: int) -> list[bytes]:
    session = Session.decode(state, Address(own), Address(peer))
    payload, _ = session.seal(text, KEM, os.urandom(ENTROPY_BYTES), life=life)
    return [session.encode(), payload]


def read(state: bytes, own: bytes, peer: bytes, payload: bytes, life: int) -> list[bytes]:
    session = Session.decode(state, Address(own), Address(peer))
    opened = session.open(payload, KEM, life=life)
    return [session.encode(), opened.plaintext]


OPERATIONS: dict[str, Callable[..., Any]] = {
    "session_prekeys": prekeys,
    "session_begin": begin,
    "session_respond": respond,
    "session_seal": seal,
    "session_read": read,
}
