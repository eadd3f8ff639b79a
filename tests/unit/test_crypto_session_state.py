"""A session's state in the store: what was written comes back, also from the first version, and damage is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qpq.crypto.errors import CryptoError, UnknownFormatError
from qpq.crypto.identity import Address, SecretIdentity
from qpq.crypto.ratchet import MAX_SKIPPED, Ratchet
from qpq.crypto.session_state import State, decode, encode
from qpq.crypto.sessions import Session
from session_kit import ANNA, BERT, EVE, KEM, LIFE, answer, begin, copy, pair, read, seal, settled

RECORDED = json.loads((Path(__file__).parent / "data" / "session_state_1.json").read_text(encoding="utf-8"))["states"]


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["name"])
def test_a_recorded_state_of_version_1_still_opens_its_message(case: dict[str, Any]) -> None:
    own = SecretIdentity(bytes.fromhex(case["own_seed"]))
    peer, data = Address(bytes.fromhex(case["peer"])), bytes.fromhex(case["state"])
    session = Session.decode(data, own.address, peer)
    assert session.encode() == data
    opened = session.open(bytes.fromhex(case["payload"]), KEM, life=case["life"])
    assert opened.plaintext.decode() == case["text"]
    assert seal(session, b"and on it goes")


def with_everything() -> Session:
    """Return a session whose state has as many parts as one can have."""
    anna, bert = pair()
    late = [seal(anna, b"late") for _ in range(3)]
    read(bert, seal(anna, b"x"))
    read(anna, seal(bert, b"x"))
    for _ in range(3):
        lost = seal(anna, b"lost")
        read(bert, seal(anna, b"x"))
        read(anna, seal(bert, b"x"))
    assert late
    assert lost
    assert bert._ratchet.past
    seal(bert, b"x", LIFE + 200_000)
    return bert


def test_every_state_comes_back() -> None:
    anna, bert = pair()
    states = [begin(), anna, settled()[0]]
    assert all(copy(session).encode() == session.encode() for session in states)
    for session in (bert, with_everything()):
        assert copy(session, of=BERT).encode() == session.encode()


def test_a_state_has_about_300_bytes_at_rest() -> None:
    anna, bert = settled()
    assert len(anna.encode()) < 350
    assert len(bert.encode()) < 350
    read(bert, seal(anna, b"x"))
    seal(bert, b"x", LIFE + 200_000)
    assert len(bert.encode()) < 4000  # with a KEM key that waits for its answer


def test_a_state_that_is_cut_or_lengthened_is_refused() -> None:
    data = with_everything().encode()
    for length in range(1, len(data)):
        with pytest.raises(CryptoError, match="damaged"):
            decode(data[:length])
    with pytest.raises(CryptoError, match="damaged"):
        decode(data + b"\0")


def test_every_altered_byte_gives_another_state_or_is_refused() -> None:
    data = with_everything().encode()
    for place in range(len(data)):
        for flip in (1, 0x80):
            altered = data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :]
            try:
                state = decode(altered)
            except CryptoError:
                continue
            assert encode(state) == altered


def test_a_state_of_a_later_version_is_told_as_such() -> None:
    data = settled()[0].encode()
    for later in (b"", b"\x00" + data[1:], b"\x02" + data[1:]):
        with pytest.raises(UnknownFormatError, match="newer qpq"):
            Session.decode(later, ANNA.address, BERT.address)


def test_a_state_of_two_others_is_refused() -> None:
    data = settled()[0].encode()
    for own, peer in ((BERT, ANNA), (ANNA, EVE), (EVE, BERT)):
        with pytest.raises(CryptoError, match="two others"):
            Session.decode(data, own.address, peer.address)


def damaged(**changes: Any) -> bytes:
    """Return a state whose parts do not go together."""
    session = settled()[0]
    state = decode(session.encode())
    parts = {name: getattr(state, name) for name in State.__slots__}
    for name, value in changes.items():
        if name in parts:
            parts[name] = value
        else:
            setattr(parts["ratchet"], name, value)
    return encode(State(**parts))


@pytest.mark.parametrize(
    "changes",
    [
        {"is_initiator": False, "opening": bytes(1160)},
        {"remote": b""},
        {"sending": b""},
        {"own_public": b""},
        {"own_secret": b"", "sending": b"", "own_public": b"", "kem_secret": bytes(2400)},
        {"own_secret": b"", "sending": b"", "own_public": b"", "kem_ciphertext": bytes(1088)},
        {"kem_public": bytes(1184)},
        {"root": bytes(31) + b"", "opening": bytes(7)},
        {"sent": 2**30 + 1},
        {"last_step": 2**63},
        {"past": (bytes(8),) * 9},
    ],
    ids=str,
)
def test_parts_that_do_not_go_together_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CryptoError, match="damaged"):
        decode(damaged(**changes))


def test_kept_keys_come_back_in_their_order_and_up_to_their_bound() -> None:
    anna, bert = settled()
    for _ in range(MAX_SKIPPED):
        seal(anna, b"lost")
    read(bert, seal(anna, b"x"))
    data = bert.encode()
    ratchet = decode(data).ratchet
    assert list(ratchet.skipped.items()) == list(bert._ratchet.skipped.items())
    assert len(data) < 12_500
    one_more = next(iter(ratchet.skipped.values()))
    ratchet.skipped[b"k" * 32, 0] = one_more
    state = decode(data)
    with pytest.raises(CryptoError, match="damaged"):
        decode(encode(State(*(getattr(state, name) for name in State.__slots__[:-1]), ratchet)))


def test_a_kept_key_names_a_ratchet_key_that_is_there() -> None:
    anna, bert = settled()
    seal(anna, b"lost")
    read(bert, seal(anna, b"x"))
    data = bert.encode()
    at = len(data) - 45
    assert data[at] == 0
    with pytest.raises(CryptoError, match="damaged"):
        decode(data[:at] + b"\x01" + data[at + 1 :])


def test_two_states_are_equal_when_their_parts_are() -> None:
    first, _ = answer(seal(begin(), b"x"))
    assert decode(first.encode()).ratchet == first._ratchet
    assert first._ratchet != Ratchet(bytes(32))
