from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from wire_strategies import FRAMES, KEYED, KEYS

from qpq.crypto.identity import Identity
from qpq.wire.codec import FrameDecoder, FrameEncoder
from qpq.wire.errors import WireError
from qpq.wire.frames import Frame, Skipped
from qpq.wire.keytable import TABLE_SIZE, KeyTable

LOCAL, REMOTE = Identity((0).to_bytes(32, "big")), Identity((1).to_bytes(32, "big"))


def pair() -> tuple[FrameEncoder, FrameDecoder]:
    return FrameEncoder(LOCAL, REMOTE), FrameDecoder(REMOTE, LOCAL)


def outcome(chunks: list[bytes]) -> tuple[list[Frame], type[WireError] | None]:
    """What a fresh decoder says of the chunks: all frames, and the fault that ended it."""
    decoder = FrameDecoder(REMOTE, LOCAL, max_frame=2000)
    frames: list[Frame] = []
    for chunk in chunks:
        try:
            frames += decoder.feed(chunk)
        except WireError as fault:
            return frames, type(fault)
    return frames, None


def cut(data: bytes, seed: int, pieces: int) -> list[bytes]:
    chance = random.Random(seed)  # noqa: S311 (no secret)
    ends = sorted(chance.randrange(len(data) + 1) for _ in range(pieces))
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(st.lists(FRAMES, max_size=30))
@settings(deadline=None)
def test_frames_read_back_in_order_over_one_link(frames: list[Frame]) -> None:
    encoder, decoder = pair()
    for frame in frames:
        assert decoder.feed(encoder.encode(frame)) == [frame]


@given(st.lists(FRAMES, max_size=12), st.integers(0, 2**32), st.integers(1, 60))
@settings(deadline=None)
def test_arbitrary_chunks_give_what_the_whole_gives(frames: list[Frame], seed: int, pieces: int) -> None:
    encoder, _ = pair()
    data = b"".join(encoder.encode(frame) for frame in frames)
    assert outcome(cut(data, seed, pieces)) == outcome([data]) == (frames, None)


@given(st.lists(FRAMES, min_size=1, max_size=6), st.integers(0, 2**32), st.data())
@settings(deadline=None, max_examples=200)
def test_a_damaged_stream_ends_with_the_same_fault_in_any_chunks(
    frames: list[Frame], seed: int, data: st.DataObject
) -> None:
    encoder, _ = pair()
    stream = bytearray(b"".join(encoder.encode(frame) for frame in frames))
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    whole, fault = outcome([bytes(stream)])
    parts, same_fault = outcome(cut(bytes(stream), seed, 20))
    assert same_fault == fault
    assert fault or parts == whole
    assert parts[: len(whole)] == whole


@given(st.binary(max_size=300), st.integers(0, 2**32))
@settings(deadline=None, max_examples=400)
def test_any_bytes_give_frames_or_one_named_fault(data: bytes, seed: int) -> None:
    _, fault = outcome([data])
    assert outcome(cut(data, seed, 10))[1] == fault


@given(st.lists(FRAMES, min_size=1, max_size=8), st.data())
@settings(deadline=None, max_examples=200)
def test_a_stream_that_is_accepted_is_the_only_form_of_its_frames(frames: list[Frame], data: st.DataObject) -> None:
    encoder, _ = pair()
    stream = bytearray(b"".join(encoder.encode(frame) for frame in frames))
    for _ in range(data.draw(st.integers(0, 3))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    decoder = FrameDecoder(REMOTE, LOCAL)
    again, _ = pair()
    try:
        accepted = decoder.feed(bytes(stream))
    except WireError:
        return
    if not any(isinstance(frame, Skipped) for frame in accepted):
        written = b"".join(again.encode(frame) for frame in accepted)
        assert written == bytes(stream[: len(written)])


@given(st.lists(KEYED, min_size=1, max_size=20))
@settings(deadline=None)
def test_no_key_is_sent_in_full_twice_while_the_table_holds_it(frames: list[Frame]) -> None:
    encoder, _ = pair()
    for frame in frames:
        encoder.encode(frame)
        first = len(encoder.encode(frame))
        assert first == len(encoder.encode(frame))


class LockStep(RuleBasedStateMachine):
    """Two tables fed by one sequence of keys, and a plain model of the rule."""

    def __init__(self) -> None:
        super().__init__()
        self.sender = KeyTable(LOCAL, REMOTE)
        self.receiver = KeyTable(LOCAL, REMOTE)
        self.literals: list[bytes] = []

    @rule(key=KEYS)
    def send(self, key: bytes) -> None:
        slot = self.sender.slot(key)
        if slot is None:
            self.sender.insert(key)
            self.receiver.insert(key)
            self.literals.append(key)
        else:
            assert self.receiver.key(slot) == key

    @rule(first=st.integers(2, 10_000), count=st.integers(1, 300))
    def send_many(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            self.send(number.to_bytes(32, "big"))

    @rule(frames=st.lists(FRAMES, max_size=5))
    def send_frames_over_a_fresh_link(self, frames: list[Frame]) -> None:
        encoder, decoder = pair()
        assert decoder.feed(b"".join(encoder.encode(frame) for frame in frames)) == frames

    @invariant()
    def both_ends_hold_the_last_254_literals(self) -> None:
        assert self.sender.key(0) == self.receiver.key(0) == LOCAL
        assert self.sender.key(1) == self.receiver.key(1) == REMOTE
        places = TABLE_SIZE - 2
        for back in range(1, min(len(self.literals), places) + 1):
            slot = 2 + (len(self.literals) - back) % places
            key = self.literals[-back]
            assert self.sender.key(slot) == self.receiver.key(slot) == key
            assert self.sender.slot(key) == self.receiver.slot(key) == slot


LockStep.TestCase.settings = settings(deadline=None, max_examples=40, stateful_step_count=25)
TestLockStep = LockStep.TestCase
