"""The RPC machine against peers that break the protocol, ask for too much, or speak of levels that are not there."""

from __future__ import annotations

import pytest

from qpq.wire.capnp_build import CAPABILITY_ROOT, EMPTY, Builder
from qpq.wire.capnp_segments import join
from qpq.wire.rpc import RpcConnection
from qpq.wire.rpc_codec import encode_message
from qpq.wire.rpc_errors import CallDisconnected, CallOverloaded, failure
from qpq.wire.rpc_events import Called, Cancelled, Ended, Failed, Own, Pipelined, Remote, Returned
from qpq.wire.rpc_limits import RpcLimits
from qpq.wire.rpc_messages import (
    CANCELED,
    ELSEWHERE,
    NONE,
    RECEIVER_ANSWER,
    RECEIVER_HOSTED,
    SENDER_HOSTED,
    SENDER_PROMISE,
    Abort,
    Bootstrap,
    Call,
    Descriptor,
    Disembargo,
    Failure,
    Finish,
    Foreign,
    ImportedCap,
    Payload,
    PromisedAnswer,
    Release,
    Resolve,
    Return,
    RpcMessage,
    TakeFrom,
    Unimplemented,
)
from rpc_kit import Alone, content_with, far_pointer, struct_pointer, words

BOOT = Bootstrap(0)
HOSTED = Payload(CAPABILITY_ROOT, (Descriptor(SENDER_HOSTED, 5),))
PROMISED = Payload(CAPABILITY_ROOT, (Descriptor(SENDER_PROMISE, 5),))


def ended(events: list[object]) -> str:
    (last,) = events[-1:]
    assert isinstance(last, Ended), events
    return last.reason


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([BOOT, BOOT], "question 0 is asked twice"),
        ([Call(1, ImportedCap(9), 1, 1, Payload())], "there is no capability 9"),
        ([Call(1, PromisedAnswer(9), 1, 1, Payload())], "question 9 was not asked"),
        (
            [BOOT, Call(1, PromisedAnswer(0), 1, 1, Payload(EMPTY, (Descriptor(RECEIVER_HOSTED, 3),)))],
            "no capability 3",
        ),
        (
            [
                BOOT,
                Call(
                    1, PromisedAnswer(0), 1, 1, Payload(EMPTY, (Descriptor(RECEIVER_ANSWER, answer=PromisedAnswer(7)),))
                ),
            ],
            "question 7 was not asked",
        ),
        ([Finish(4)], "question 4 is finished and was not asked"),
        ([BOOT, Finish(0), Finish(0)], "question 0 is finished and was not asked"),
        ([Return(4, Payload())], "question 4 is answered and was not asked"),
        ([Release(0, 1)], "capability 0 released more often"),
        ([BOOT, Release(0, 2)], "capability 0 released more often"),
        ([Disembargo(ImportedCap(0), 1, reply=False)], "there is no capability 0"),
        ([Disembargo(PromisedAnswer(0), 1, reply=False)], "question 0 has no answer yet"),
        ([BOOT, Disembargo(PromisedAnswer(0), 1, reply=False)], "none of the sender's"),
        ([BOOT, Disembargo(ImportedCap(0), 1, reply=False)], "none of the sender's"),
        ([Disembargo(ImportedCap(0), 1, reply=True)], "there is no embargo 1"),
        ([Unimplemented(encode_message(Call(3, ImportedCap(0), 1, 1, Payload())))], "question 3 is refused"),
        ([Unimplemented(encode_message(Finish(0)))], "lacks a message that level 1 needs"),
        ([Unimplemented(encode_message(Resolve(0, Failure(0, ""))))], "lacks a message that level 1 needs"),
        ([Abort(Failure(0, "tired"))], "the peer gave up: tired"),
    ],
)
def test_who_breaks_the_protocol_is_aborted(messages: list[RpcMessage], reason: str) -> None:
    alone = Alone()
    assert reason in ended(alone.send(*messages))
    assert not alone.end.is_open
    if not isinstance(messages[0], Abort):
        last = alone.sent()[-1]
        assert isinstance(last, Abort)
        assert reason in last.failure.reason
    assert alone.send(BOOT) == []
    assert alone.sent() == []


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([Return(0, CANCELED)], "a return of kind 2"),
        ([Return(0, 5)], "a return of kind 5"),
        ([Return(0, TakeFrom(3))], "question 3 keeps no results"),
        ([Return(0, HOSTED), Resolve(5, Failure(0, ""))], "capability 5 is no promise that waits"),
        ([Return(0, PROMISED), Resolve(5, Failure(0, "")), Resolve(5, Failure(0, ""))], "no promise that waits"),
        ([Return(0, HOSTED), Return(0, HOSTED)], "question 0 is answered and was not asked"),
    ],
)
def test_who_answers_wrongly_is_aborted(messages: list[RpcMessage], reason: str) -> None:
    alone = Alone()
    alone.end.bootstrap()
    assert reason in ended(alone.send(*messages))


def test_what_comes_behind_an_abort_is_not_read() -> None:
    for behind in (Return(0, HOSTED), Return(0, TakeFrom(1)), Call(1, PromisedAnswer(0), 1, 1, Payload()), BOOT):
        alone = Alone()
        question = alone.end.bootstrap()
        alone.send(BOOT)
        alone.sent()
        gone = Failure(CallDisconnected.kind, "the peer gave up: tired")
        sent = encode_message(Abort(Failure(0, "tired"))) + encode_message(behind)
        assert alone.end.receive(sent) == [Failed(question, gone), Ended(gone.reason)]
        assert alone.sent() == []


def test_what_waited_for_a_promise_at_the_end_is_not_called_when_that_is_settled_afterwards() -> None:
    alone = Alone()
    (called,) = alone.send(BOOT, Call(1, PromisedAnswer(0), 1, 1, Payload()))
    assert isinstance(called, Called)
    promise = alone.end.promise()
    alone.end.answer(called.answer, content_with(0), (promise,))
    assert alone.send(Call(2, PromisedAnswer(1, (0,)), 1, 1, Payload())) == []
    alone.end.end("gone")
    assert alone.end.events() == [Ended("gone")]
    alone.end.resolve(promise, Own("late"))
    assert alone.end.events() == []


def test_the_end_of_the_stream_fails_and_cancels_what_is_open() -> None:
    alone = Alone()
    alone.send(BOOT, Call(1, PromisedAnswer(0), 1, 1, Payload()), Call(2, PromisedAnswer(1, (0,)), 1, 1, Payload()))
    question = alone.end.bootstrap()
    alone.end.call(Own("end"), 1, 1, deadline=1.0)
    numbers = alone.end._answers._last
    alone.end.events()
    alone.end.end("gone")
    failure_ = Failure(2, "gone")
    assert alone.end.events() == [
        Failed(question, failure_),
        Failed(question + 1, failure_),
        Cancelled(numbers - 2),
        Cancelled(numbers),
        Ended("gone"),
    ]
    alone.end.end("again")
    alone.end.abort("again")
    assert alone.end.events() == []
    assert alone.end.tick(9.0) == []
    for ask in (alone.end.bootstrap, lambda: alone.end.call(Own("end"), 1, 1)):
        with pytest.raises(CallDisconnected, match="has ended"):
            ask()
    alone.end.answer(numbers)
    alone.end.release(Remote(0))
    alone.end.finish(question)


def test_messages_of_other_levels_are_answered_unimplemented() -> None:
    alone = Alone()
    for kind in (7, 9, 10, 11, 12, 77):
        builder = Builder()
        builder.put("H", builder.struct(0, 1, 1), 0, kind)
        data = builder.finish()
        assert alone.send(Foreign(kind, data)) == []
        (answer,) = alone.sent()
        assert isinstance(answer, Unimplemented)


def test_results_for_somebody_else_are_answered_unimplemented() -> None:
    alone = Alone()
    mine = Payload(content_with(0), (Descriptor(SENDER_HOSTED, 1),))
    alone.send(BOOT, Call(1, PromisedAnswer(0), 1, 1, mine, ELSEWHERE))
    assert alone.sent()[1:] == [
        Release(1, 1),
        Return(1, Failure(3, "results go to the caller only"), release_params=False),
    ]


def test_what_the_peer_does_not_know_fails() -> None:
    alone = Alone()
    question = alone.end.bootstrap()
    number = alone.end.call(Pipelined(question), 1, 1, content_with(0), (Own("a"), alone.end.promise()))
    gone = alone.end.call(Pipelined(question), 1, 1)
    alone.end.finish(gone)
    unknown = Failure(3, "the peer does not know this message")
    sent = alone.sent()
    events = alone.send(*[Unimplemented(encode_message(message)) for message in sent[1:3]])
    assert [event for event in events if isinstance(event, Failed)] == [Failed(number, unknown)]
    assert alone.send(Unimplemented(encode_message(sent[0]))) == [Failed(question, unknown)]


def test_a_peer_without_resolve_keeps_its_promise() -> None:
    alone = Alone()
    alone.end.bootstrap()
    promise = alone.end.promise()
    alone.send(Return(0, HOSTED))
    alone.end.call(Remote(5), 1, 1, content_with(0), (promise,))
    alone.end.resolve(promise, Own("found"))
    resolve = alone.sent()[-1]
    assert isinstance(resolve, Resolve)
    assert len(alone.send(Unimplemented(encode_message(resolve)))) == 1  # dropped
    assert alone.end.is_open


# limits


def test_calls_beyond_the_limit_are_answered_overloaded() -> None:
    alone = Alone(RpcLimits(calls=2))
    mine = Payload(content_with(0), (Descriptor(SENDER_HOSTED, 1),))
    events = alone.send(BOOT, *[Call(number, PromisedAnswer(0), 1, 1, mine) for number in (1, 2, 3)])
    assert [event.answer for event in events if isinstance(event, Called)] == [2, 3]
    (refusal,) = [message for message in alone.sent() if isinstance(message, Return) and message.answer == 3]
    assert refusal.outcome == Failure(1, "2 calls are running, at most 2 may")
    alone.end.answer(2)
    assert len(alone.send(Call(4, PromisedAnswer(0), 1, 1, mine))) == 1


def test_bytes_beyond_the_limit_are_answered_overloaded() -> None:
    alone = Alone(RpcLimits(held=1000))
    big = Payload(join([words(struct_pointer(0, 60, 0)) + bytes(480)]))
    events = alone.send(BOOT, *[Call(number, PromisedAnswer(0), 1, 1, big) for number in (1, 2, 3)])
    assert len(events) == 1
    alone.end.answer(events[0].answer, content_with(0), (Own("kept"),))  # type: ignore[union-attr]
    assert alone.end._answers._held < 1000
    assert alone.send(*[Finish(number) for number in range(4)]) != []
    assert alone.end._answers._held == 0


@pytest.mark.parametrize(
    ("limits", "messages", "reason"),
    [
        (RpcLimits(answers=2), [Bootstrap(1), Bootstrap(2), Bootstrap(3)], "2 answers were not finished"),
        (
            RpcLimits(imports=1),
            [Bootstrap(0), Call(1, PromisedAnswer(0), 1, 1, Payload(EMPTY, (Descriptor(1, 1), Descriptor(1, 2))))],
            "1 capabilities were sent",
        ),
        (RpcLimits(message=100), [Abort(Failure(0, "x" * 99))], "at most 100 are allowed"),
        (RpcLimits(nesting=2), [Release(0, 0), Abort(Failure(0, ""))], "deeper than 2"),
    ],
)
def test_who_asks_for_more_than_there_is_is_aborted(limits: RpcLimits, messages: list[RpcMessage], reason: str) -> None:
    alone = Alone(limits)
    if reason.startswith("deeper"):
        alone.send(BOOT)
    assert reason in ended(alone.send(*messages))


def test_a_peer_holds_only_so_many_of_our_capabilities() -> None:
    alone = Alone(RpcLimits(exports=1))
    alone.send(BOOT, Call(1, PromisedAnswer(0), 1, 1, Payload()))
    alone.end.answer(alone.end._answers._last, content_with(0), (Own("second"),))
    (last,) = alone.sent()[-1:]
    assert isinstance(last, Return)
    assert isinstance(last.outcome, Payload)
    assert last.outcome.table == (Descriptor(NONE),)


def test_questions_of_ours_are_limited() -> None:
    alone = Alone(RpcLimits(questions=2))
    question = alone.end.bootstrap()
    given_up = alone.end.call(Pipelined(question), 1, 1)
    alone.end.finish(given_up)
    with pytest.raises(CallOverloaded, match="2 questions are open"):
        alone.end.call(Pipelined(question), 1, 1)
    assert isinstance(alone.send(Return(1, CANCELED), Return(0, HOSTED))[0], Returned)
    alone.end.call(Pipelined(question), 1, 1)


def test_a_call_that_cannot_be_sent_back_is_answered_overloaded() -> None:
    alone = Alone(RpcLimits(questions=1))
    alone.end.bootstrap()
    alone.send(BOOT, Return(0, HOSTED), Call(1, PromisedAnswer(0), 1, 1, Payload()))
    alone.end.finish(1)
    answer = alone.end._answers._last
    alone.end.call(Remote(5), 1, 1)
    alone.end.answer(answer, content_with(0), (Remote(5),))
    alone.sent()
    alone.send(Call(2, PromisedAnswer(1, (0,)), 1, 1, Payload()))
    assert alone.sent() == [Return(2, Failure(1, "1 questions are open, more are not allowed"), release_params=False)]


@pytest.mark.parametrize(
    "data",
    [
        join([words(far_pointer(0, 1), far_pointer(0, 0))]),
        join([words(struct_pointer(-1, 1, 1))]),
        join([words(struct_pointer(0, 1, 1), 2, struct_pointer(-3, 3, 3))]),
        b"\xff" * 8,
    ],
)
def test_pointers_that_lie_cost_the_connection(data: bytes) -> None:
    connection = RpcConnection()
    assert isinstance(connection.receive(data)[-1], Ended)


def test_exceptions_have_their_class() -> None:
    assert [type(failure(kind, "x")).__name__ for kind in range(5)] == [
        "CallFailed",
        "CallOverloaded",
        "CallDisconnected",
        "CallUnimplemented",
        "CallFailed",
    ]
    assert failure(1, "busy").reason == "busy"


def test_a_peer_that_has_to_prove_more_gets_shorter_messages_until_then() -> None:
    connection = RpcConnection(Own("boot"))
    assert connection.max_message == connection.limits.message
    connection.max_message = 200
    assert connection.max_message == 200
    assert connection.receive(encode_message(BOOT) + encode_message(Bootstrap(1))) == []
    assert connection.is_open
    assert "at most 200 are allowed" in ended(connection.receive(encode_message(Abort(Failure(0, "x" * 900)))))
