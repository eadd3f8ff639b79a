"""The ratchet's bounds, and the step of ML-KEM once a day."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from qpq.crypto import kem as mlkem
from qpq.crypto.errors import AuthenticationError, CryptoError, KeyGoneError
from qpq.crypto.ratchet import KEEP_S, MAX_SKIP, MAX_SKIPPED, PAST_CHAINS
from qpq.crypto.session_header import MAX_NUMBER, encode_header
from qpq.crypto.sessions import Session, _message_key, can_open, read_header
from session_kit import BERT, DAY, KEM, LIFE, answer, begin, copy, draw, pair, read, seal, settled


def lose(session: Session, count: int) -> None:
    for _ in range(count):
        seal(session, b"lost")


def step(sender: Session, reader: Session, life: int = LIFE) -> tuple[bytes, bytes]:
    """Let a message pass and return it with its marker."""
    payload, marker = sender.seal(b"step", KEM, draw(), life=life)
    assert read(reader, payload, life) == b"step"
    return payload, marker


def carries(payload: bytes) -> str:
    header = read_header(payload)
    return "".join(letter for letter, part in (("k", header.kem_key), ("c", header.kem_ciphertext)) if part)


# --- bounds


def test_a_header_may_leave_out_256_messages_and_no_more() -> None:
    anna, bert = settled()
    lose(anna, MAX_SKIP)
    fits = seal(copy(anna), b"fits")
    lose(anna, 1)
    before = bert.encode()
    with pytest.raises(AuthenticationError, match="leaves out 257"):
        read(bert, seal(anna, b"too far"))
    assert bert.encode() == before
    assert read(bert, fits) == b"fits"
    assert len(bert._ratchet.skipped) == MAX_SKIPPED


def test_what_is_left_out_in_two_chains_counts_together() -> None:
    anna, bert = settled()
    lose(anna, 200)
    step(bert, anna)
    before = bert.encode()
    lose(anna, 57)
    with pytest.raises(AuthenticationError, match="leaves out 257"):
        read(bert, seal(anna, b"too far"))
    assert bert.encode() == before


def test_the_oldest_keys_go_when_256_are_kept() -> None:
    anna, bert = settled()
    early = [seal(anna, b"%d" % number) for number in range(10)]
    assert read(bert, seal(anna, b"x")) == b"x"
    step(bert, anna)
    lose(anna, 250)
    assert read(bert, seal(anna, b"y")) == b"y"
    assert len(bert._ratchet.skipped) == MAX_SKIPPED
    for number, payload in enumerate(early):
        if number < 4:
            with pytest.raises(KeyGoneError):
                read(bert, payload)
        else:
            assert read(copy(bert, of=BERT), payload) == b"%d" % number


def test_kept_keys_go_after_31_days_of_life() -> None:
    anna, bert = settled()
    late, later = seal(anna, b"late"), seal(anna, b"later")
    read(bert, seal(anna, b"x"))
    assert read(bert, late, LIFE + KEEP_S) == b"late"
    seal(bert, b"whatever happens next", LIFE + KEEP_S + 1)
    assert not bert._ratchet.skipped
    with pytest.raises(KeyGoneError):
        read(bert, later, LIFE + KEEP_S + 1)


def test_kept_keys_also_go_when_a_message_is_read() -> None:
    anna, bert = settled()
    seal(anna, b"lost")
    read(bert, seal(anna, b"x"))
    assert len(bert._ratchet.skipped) == 1
    read(bert, seal(anna, b"x"), LIFE + KEEP_S + 1)
    assert not bert._ratchet.skipped


def test_a_clock_that_went_back_keeps_the_keys() -> None:
    anna, bert = settled()
    late = seal(anna, b"late")
    read(bert, seal(anna, b"x"), LIFE + KEEP_S)
    assert read(bert, late, 0) == b"late"


def test_past_chains_are_remembered_up_to_a_bound() -> None:
    anna, bert = settled()
    old = [step(anna, bert)[0]]
    for _ in range(PAST_CHAINS + 1):
        step(bert, anna)
        old.append(step(anna, bert)[0])
    assert len(bert._ratchet.past) == PAST_CHAINS
    for payload in old[-PAST_CHAINS:]:
        assert can_open(bert, read_header(payload))
        with pytest.raises(KeyGoneError):
            read(bert, payload)
    assert not can_open(bert, read_header(old[0]))
    with pytest.raises(AuthenticationError):
        read(bert, old[0])


def test_a_chain_has_an_end() -> None:
    anna, _ = settled()
    anna._ratchet.sent = MAX_NUMBER - 1
    seal(anna, b"the last")
    before = anna.encode()
    with pytest.raises(CryptoError, match="begin a new session"):
        seal(anna, b"one more")
    anna.jump(5)
    assert anna._ratchet.sent == MAX_NUMBER
    assert anna.encode() == before


def test_a_new_chain_of_the_peer_is_an_answer_or_nothing() -> None:
    anna, bert = settled()
    step(bert, anna)  # now it is Anna's turn, and a further chain of Bert would answer nothing
    twin = copy(bert, of=BERT)
    ratchet = twin._ratchet
    ratchet.sending = ratchet.own_secret = ratchet.own_public = b""
    before = anna.encode()
    with pytest.raises(AuthenticationError, match="cannot be"):
        read(anna, seal(twin, b"x"))
    assert anna.encode() == before


# --- the KEM step


def test_the_first_answer_brings_a_kem_key_and_the_next_step_its_ciphertext() -> None:
    anna, bert = begin(), None
    payload = seal(anna, b"first")
    assert carries(payload) == ""
    bert, _ = answer(payload)
    payload, _ = step(bert, anna)
    assert carries(payload) == "k"
    payload, _ = step(anna, bert)
    assert carries(payload) == "c"
    for sender, reader in ((bert, anna), (anna, bert), (bert, anna), (anna, bert)):
        assert carries(step(sender, reader)[0]) == ""


def test_kem_parts_ride_along_until_one_is_proven() -> None:
    anna, bert = pair()
    payload, marker = step(bert, anna)
    assert carries(payload) == carries(step(bert, anna)[0]) == "k"
    assert bert.proven(marker)
    assert not bert.proven(marker)
    assert carries(step(bert, anna)[0]) == ""
    payload, marker = step(anna, bert)
    assert carries(payload) == carries(step(anna, bert)[0]) == "c"
    assert anna.proven(marker)
    payload, marker = step(anna, bert)
    assert (carries(payload), marker) == ("", b"")
    assert not anna.proven(b"")


def test_markers_of_other_chains_and_sessions_prove_nothing() -> None:
    anna, bert = pair()
    _, old = step(bert, anna)
    step(anna, bert)
    step(bert, anna, LIFE + DAY)
    for foreign in (old, old[:-1], bytes(17), pair()[0].seal(b"", KEM, draw(), life=LIFE)[1]):
        before = bert.encode()
        assert not bert.proven(foreign)
        assert bert.encode() == before


def test_a_proof_that_comes_again_or_for_a_part_only_changes_nothing() -> None:
    anna, bert = pair()
    _, marker = step(bert, anna)
    assert bert.proven(marker)
    everything = bytearray(marker)
    everything[8] = 7
    assert not bert.proven(bytes(everything))


def test_a_kem_step_is_made_once_a_day_of_conversation_by_one_side() -> None:
    anna, bert = settled()
    steps = []
    life = LIFE
    for _ in range(40):
        life += DAY // 8
        steps += [carries(step(bert, anna, life)[0]), carries(step(anna, bert, life)[0])]
    keys = [number for number, shape in enumerate(steps) if shape == "k"]
    assert "kc" not in steps
    assert [steps[number + 1] for number in keys] == ["c"] * len(keys)
    assert {after - before for before, after in pairwise(keys)} <= {16, 17, 18}
    assert len(keys) in {4, 5}


def test_a_clock_that_went_back_makes_a_kem_step() -> None:
    anna, bert = settled()
    assert carries(step(bert, anna, LIFE - 1)[0]) == "k"


def test_messages_with_and_without_kem_parts_open_in_any_order() -> None:
    anna, bert = pair()
    with_key = [seal(bert, b"k%d" % number) for number in range(3)]
    _, marker = bert.seal(b"", KEM, draw(), life=LIFE)
    assert read(anna, with_key[1]) == b"k1"
    assert bert.proven(marker)
    assert read(anna, seal(bert, b"plain")) == b"plain"
    assert [read(anna, with_key[number]) for number in (2, 0)] == [b"k2", b"k0"]
    with_ciphertext = [seal(anna, b"c%d" % number) for number in range(2)]
    assert [read(bert, payload) for payload in reversed(with_ciphertext)] == [b"c1", b"c0"]


def test_the_root_key_takes_in_the_kem_secret() -> None:
    anna, bert = pair()
    step(bert, anna)
    twin = copy(anna)
    entropy = draw()
    anna.seal(b"x", KEM, entropy, life=LIFE)
    twin.seal(b"x", KEM, entropy, life=LIFE)
    assert anna._ratchet.own_public == twin._ratchet.own_public
    assert anna._ratchet.root != twin._ratchet.root


def forged(sender: Session, **changes: Any) -> bytes:
    """Return a message of ``sender`` with other KEM parts in its header, as a peer that breaks the rules makes it."""
    real = KEM.encapsulate

    class Odd:
        def keygen(self) -> tuple[bytes, bytes]:
            return changes["kem_key"], bytes(mlkem.SECRET_BYTES)

        encapsulate = staticmethod(real)

        def decapsulate(self, secret: bytes, ciphertext: bytes) -> bytes:
            raise NotImplementedError

    return sender.seal(b"forged", Odd(), draw(), life=LIFE)[0]


def test_a_kem_key_that_is_none_is_refused_before_anything_changes() -> None:
    anna, bert = pair()
    before = anna.encode()
    with pytest.raises(AuthenticationError, match="impossible keys"):
        read(anna, forged(bert, kem_key=b"\xff" * mlkem.PUBLIC_BYTES))
    assert anna.encode() == before


def test_a_new_chain_must_answer_a_kem_key_and_only_one() -> None:
    anna, bert = pair()
    step(bert, anna)
    anna._ratchet.peer_kem = b""
    before = bert.encode()
    with pytest.raises(AuthenticationError, match="wrong KEM part"):
        read(bert, seal(anna, b"x"))
    assert bert.encode() == before

    anna, bert = settled()
    step(bert, anna)
    anna._ratchet.peer_kem = KEM.keygen()[0]
    with pytest.raises(AuthenticationError, match="wrong KEM part"):
        read(bert, seal(anna, b"x"))


def test_a_ratchet_key_of_small_order_is_refused() -> None:
    anna, bert = settled()
    step(bert, anna)
    payload = seal(anna, b"x")
    with pytest.raises(AuthenticationError, match="impossible keys"):
        read(bert, payload[:2] + bytes(32) + payload[34:])


def test_a_damaged_kem_secret_opens_nothing() -> None:
    anna, bert = pair()
    step(bert, anna)
    bert._ratchet.kem_secret = bytes(mlkem.SECRET_BYTES)
    with pytest.raises(AuthenticationError, match="impossible keys"):
        read(bert, seal(anna, b"x"))


def test_a_header_written_is_the_header_read() -> None:
    anna, bert = pair()
    for payload in (seal(anna, b""), seal(bert, b"")):
        header = read_header(payload)
        opening = header.prekey_id + header.one_time_id + header.ephemeral + header.xwing_ciphertext
        assert encode_header(opening, header) == payload[: header.end]
        assert len(payload) == header.end + 16


def test_message_keys_follow_from_the_chains_key_and_the_random_bytes() -> None:
    key, nonce = _message_key(b"k" * 32, b"r" * 16)
    assert (len(key), len(nonce)) == (32, 12)
    assert _message_key(b"k" * 32, b"s" * 16)[0] != key
    assert _message_key(b"l" * 32, b"r" * 16)[0] != key
