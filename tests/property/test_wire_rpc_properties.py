"""The RPC machine against any sequence of messages, and two machines that use each other in any order."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from qpq.wire.capnp_build import CAPABILITY_ROOT, EMPTY, Builder
from qpq.wire.capnp_errors import CapnpError
from qpq.wire.capnp_layout import Message, check
from qpq.wire.capnp_segments import MessageSplitter, split
from qpq.wire.capnp_view import root
from qpq.wire.rpc import RpcConnection
from qpq.wire.rpc_codec import decode_message, encode_message
from qpq.wire.rpc_errors import RpcError, RpcProtocolError
from qpq.wire.rpc_events import Called, Cancelled, Ended, Failed, Own, Pipelined, Returned
from qpq.wire.rpc_limits import RpcLimits
from qpq.wire.rpc_messages import (
    Abort,
    Bootstrap,
    Call,
    Descriptor,
    Disembargo,
    Failure,
    Finish,
    ImportedCap,
    Payload,
    PromisedAnswer,
    Release,
    Resolve,
    Return,
    TakeFrom,
    Unimplemented,
)
from rpc_kit import content_with
from rpc_table import MESSAGES

if TYPE_CHECKING:
    from qpq.wire.rpc_events import Capability, RpcEvent

LIMITS = RpcLimits(calls=3, answers=6, questions=6, exports=4, imports=4, held=2000)

# Messages whose numbers are small, so that many of them speak of something that is there.
IDS = st.integers(0, 4)
PATHS = st.lists(st.integers(0, 1), max_size=2).map(tuple)
ANSWERS = st.builds(PromisedAnswer, IDS, PATHS)
TARGETS = st.one_of(st.builds(ImportedCap, IDS), ANSWERS)
DESCRIPTORS = st.one_of(
    st.builds(Descriptor, st.sampled_from([0, 1, 1, 2, 2, 3, 3]), IDS),
    ANSWERS.map(lambda answer: Descriptor(4, answer=answer)),
)
CONTENTS = st.sampled_from([EMPTY, CAPABILITY_ROOT, content_with(0), content_with(0, 1), content_with(1, 5, data=3)])
PAYLOADS = st.builds(Payload, CONTENTS, st.lists(DESCRIPTORS, max_size=3).map(tuple))
FAILURES = st.builds(Failure, st.integers(0, 4), st.just("no"))
OUTCOMES = st.one_of(PAYLOADS, FAILURES, st.builds(TakeFrom, IDS), st.sampled_from([2, 3, 5]))
ANY = st.one_of(
    st.builds(Bootstrap, IDS),
    st.builds(Call, IDS, TARGETS, st.just(1), st.integers(0, 4), PAYLOADS, st.sampled_from([0, 0, 0, 1, 2])),
    st.builds(Return, IDS, OUTCOMES, st.booleans(), st.booleans()),
    st.builds(Finish, IDS, st.booleans()),
    st.builds(Resolve, IDS, st.one_of(DESCRIPTORS, FAILURES)),
    st.builds(Release, IDS, st.integers(0, 2)),
    st.builds(Disembargo, TARGETS, st.integers(1, 3), st.booleans()),
    st.sampled_from([Unimplemented(encode_message(message)) for message, _ in MESSAGES]),
)
USES = ("answer", "echo", "fail", "promise", "resolve", "call", "bootstrap", "finish", "release", "tick")
STEPS = (*USES, "call", "carry", "carry", "carry")


class User:
    """Who uses an end: keeps what the events bring, and does something with it when asked."""

    def __init__(self, connection: RpcConnection) -> None:
        self.connection = connection
        self.calls: list[Called] = []
        self.caps: list[Capability] = [Own("mine")]
        self.open: set[int] = set()
        self.asked: set[int] = set()
        self.promises: list[Any] = []
        self.ended = False
        self.reason = ""

    def take(self, events: list[RpcEvent]) -> None:
        for event in events:
            assert not self.ended, self.reason
            match event:
                case Called():
                    self.calls.append(event)
                    self.caps += event.caps
                case Returned(question, _, caps):
                    self.open.remove(question)
                    self.caps += caps
                case Failed(question):
                    self.open.remove(question)
                case Cancelled(answer):
                    self.calls = [call for call in self.calls if call.answer != answer]
                case Ended():
                    self.ended = True
                    self.reason = event.reason
                case _:
                    pass

    def do(self, step: str, which: int) -> None:  # noqa: C901 (a row of things to do)
        connection = self.connection
        if step in {"answer", "echo", "fail", "promise"} and self.calls:
            call = self.calls.pop(which % len(self.calls))
            if step == "answer":
                connection.answer(call.answer, content_with(0), (self.caps[which % len(self.caps)],))
            elif step == "echo":
                connection.answer(call.answer, call.content, call.caps)
            elif step == "fail":
                connection.fail(call.answer, Failure(which % 4, "no"))
            else:
                self.promises.append(connection.promise())
                connection.answer(call.answer, content_with(0), (self.promises[-1],))
                self.caps.append(self.promises[-1])
        elif step == "resolve" and self.promises:
            connection.resolve(self.promises.pop(), self.caps[which % len(self.caps)])
        elif step == "call" and connection.is_open:
            self.call(which)
        elif step == "bootstrap" and connection.is_open:
            try:
                self.open.add(question := connection.bootstrap())
            except RpcError:
                return
            self.asked.add(question)
            self.caps.append(Pipelined(question))
        elif step == "finish" and self.open:
            question = sorted(self.open)[which % len(self.open)]
            connection.finish(question)
            self.open.remove(question)
        elif step == "release" and len(self.caps) > 1:
            connection.release(self.caps.pop(1 + which % (len(self.caps) - 1)))
        elif step == "tick":
            self.take(connection.tick(float(which)))
        self.take(connection.events())

    def call(self, which: int) -> None:
        target, gift = self.caps[which % len(self.caps)], self.caps[which * 7 % len(self.caps)]
        content = content_with(0, data=which)
        try:
            self.open.add(
                self.connection.call(target, 1, 1, content, (gift,), deadline=which * 2.0 + 1, keep=which % 2 == 0)
            )
        except RpcError:
            return
        self.asked |= self.open
        if which % 2 == 0:
            self.caps.append(Pipelined(max(self.open), (0,)))


def look_at(connection: RpcConnection, limits: RpcLimits) -> None:
    """Assert what must be so after every step."""
    caps, answers, questions = connection._caps, connection._answers, connection._questions
    assert len(caps.exports) <= limits.exports
    assert len(caps.imports) <= limits.imports
    assert len(answers._by_wire) <= limits.answers
    assert max(len(questions._all), len(questions._by_wire)) <= limits.questions
    assert answers._held == sum(answer.held for answer in answers._by_wire.values())
    assert all(export.references > 0 for export in caps.exports.values())
    assert all(entry.holds > 0 and entry.references > 0 for entry in caps.imports.values())
    assert set(questions._by_wire).isdisjoint(questions._free)


@given(st.lists(st.one_of(ANY, st.tuples(st.sampled_from(USES), st.integers(0, 9))), max_size=40))
def test_no_sequence_of_messages_breaks_an_end(steps: list[Any]) -> None:
    connection = RpcConnection(Own("boot"), LIMITS)
    user = User(connection)
    for step in steps:
        if isinstance(step, tuple):
            user.do(*step)
        else:
            user.take(connection.receive(encode_message(step)))
        sent = MessageSplitter().feed(connection.data_to_send())
        for data in sent:
            decode_message(data, LIMITS)
        if connection.is_open:
            look_at(connection, LIMITS)
    connection.end("over")
    user.take(connection.events())
    assert user.ended
    assert not user.open


def wind_up(users: tuple[User, User], rounds: int, *, give_up: bool) -> None:
    """Settle and answer everything, for as long as that brings more."""
    for _ in range(rounds):
        for here, there in (users, users[::-1]):
            there.take(there.connection.receive(here.connection.data_to_send()))
            for step, left in (("resolve", there.promises), ("fail", there.calls)):
                while left:
                    there.do(step, 0)
            for question in there.asked if give_up else there.asked - there.open:
                there.connection.finish(question)
                there.open.discard(question)
                there.take(there.connection.events())
            while len(there.caps) > 1:
                there.do("release", 0)


@settings(max_examples=100)
@given(st.integers(0, 1 << 32))
def test_two_ends_that_keep_the_protocol_never_abort_and_give_everything_back(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 (a choice of examples)
    users = User(RpcConnection(Own("left"))), User(RpcConnection(Own("right")))
    for user in users:
        user.do("bootstrap", 0)
    for _ in range(60):
        (here, there), step = chance.choice((users, users[::-1])), chance.choice(STEPS)
        if step == "carry":
            there.take(there.connection.receive(here.connection.data_to_send()))
        else:
            here.do(step, chance.randrange(10))
        for user in users:
            look_at(user.connection, user.connection.limits)
    wind_up(users, 20, give_up=False)
    wind_up(users, 20, give_up=True)  # promises that were made to wait for themselves
    for user in users:
        assert not user.ended, user.reason
        end = user.connection
        assert not end._caps.imports
        assert not end._caps.exports
        assert not end._answers._by_wire
        assert not end._questions._by_wire


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_any_bytes_are_a_message_or_an_error(data: bytes, cuts: list[int]) -> None:
    whole = bytes([0, 0, 0, 0, len(data) // 8, 0, 0, 0]) + data[: len(data) // 8 * 8]
    for one in (data, whole):
        try:
            view = root(one, 4096, 8)
        except CapnpError:
            continue
        for number in range(3):
            check(Message(split(view.tree(number))))
        with suppress(CapnpError, RpcProtocolError):
            decode_message(one, LIMITS)
    end = RpcConnection(limits=LIMITS)
    for at in cuts:
        end.receive(data[at : at + 50])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.text(max_size=20)), max_size=5))
def test_whatever_is_built_is_sound(structs: list[tuple[int, int, str]]) -> None:
    builder = Builder()
    at = builder.struct(0, 1, 5)
    for number, (data, pointers, text) in enumerate(structs):
        start = builder.struct(at + 1 + number, data, pointers + 1)
        builder.text(start + data, text)
    view = root(builder.finish(), 4096, 8)
    for number, (_, _, text) in enumerate(structs):
        assert view.struct(number).text(0) == text


def test_an_abort_is_the_last_thing_that_is_sent() -> None:
    end = RpcConnection(limits=LIMITS)
    end.receive(encode_message(Finish(0)))
    last = decode_message(MessageSplitter().feed(end.data_to_send())[-1], LIMITS)
    assert isinstance(last, Abort)
    assert end.receive(encode_message(Bootstrap(0))) == []
    assert end.data_to_send() == b""
