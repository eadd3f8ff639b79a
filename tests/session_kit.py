"""Two users with prekeys, and randomness that never repeats: what tests of sessions share."""

from __future__ import annotations

from itertools import count

from qpq.crypto.identity import SecretIdentity
from qpq.crypto.kem import standard_kem
from qpq.crypto.prekeys import Bundle, OneTimePrekey, make_bundle, make_one_time, make_signed, open_bundle
from qpq.crypto.primitives import hkdf_expand
from qpq.crypto.sessions import ENTROPY_BYTES, Opened, Session

ANNA, BERT, EVE = (SecretIdentity(bytes([number]) * 32) for number in (1, 2, 3))
KEM = standard_kem()
LIFE = 1000
DAY = 86_400

_drawn = count()


def draw(size: int = ENTROPY_BYTES) -> bytes:
    """Return bytes that were never returned before."""
    return hkdf_expand(b"session kit", next(_drawn).to_bytes(8, "big"), size)


SIGNED = make_signed(KEM, draw(64))


def bundle(*, one_time: OneTimePrekey | None = None) -> Bundle:
    """Return Bert's bundle as others read it."""
    return open_bundle(make_bundle(BERT, SIGNED, one_time), BERT.address)


def begin(*, one_time: OneTimePrekey | None = None, life: int = LIFE) -> Session:
    """Return Anna's session with Bert, in which nothing was sent."""
    return Session.initiate(ANNA, bundle(one_time=one_time), KEM, draw(), life=life)


def seal(session: Session, text: bytes, life: int = LIFE) -> bytes:
    return session.seal(text, KEM, draw(), life=life)[0]


def answer(payload: bytes, *, one_time: OneTimePrekey | None = None, life: int = LIFE) -> tuple[Session, Opened]:
    """Return what Bert makes of an opening message of Anna."""
    return Session.respond(BERT, ANNA.address, payload, SIGNED, one_time, KEM, life=life)


def read(session: Session, payload: bytes, life: int = LIFE) -> bytes:
    return session.open(payload, KEM, life=life).plaintext


def pair(*, with_one_time: bool = False) -> tuple[Session, Session]:
    """Return Anna's and Bert's side after Anna's first message, whose receipt did not come."""
    one_time = make_one_time(draw(32)) if with_one_time else None
    anna = begin(one_time=one_time)
    bert, opened = answer(seal(anna, b"first"), one_time=one_time)
    assert opened.plaintext == b"first"
    return anna, bert


def settled() -> tuple[Session, Session]:
    """Return both sides after a message each way and back, all parts that ride along proven."""
    anna, bert = pair()
    for sender, reader in ((bert, anna), (anna, bert)):
        payload, marker = sender.seal(b"settling", KEM, draw(), life=LIFE)
        assert reader.open(payload, KEM, life=LIFE).plaintext == b"settling"
        assert sender.proven(marker)
    return anna, bert


def copy(session: Session, *, of: SecretIdentity = ANNA) -> Session:
    """Return the session as it is read back from the store."""
    peer = BERT if of is ANNA else ANNA
    return Session.decode(session.encode(), of.address, peer.address)
