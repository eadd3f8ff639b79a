"""The RPC machine, level 1: calls and answers, pipelines, promises, references, embargoes, the end."""

from __future__ import annotations

import pytest

from qpq.wire import capnp_view
from qpq.wire.capnp_build import CAPABILITY_ROOT, EMPTY
from qpq.wire.rpc import RpcConnection
from qpq.wire.rpc_capabilities import ENDLESS, NULL, RELEASED
from qpq.wire.rpc_errors import CallFailed
from qpq.wire.rpc_events import (
    Broken,
    Called,
    Cancelled,
    Dropped,
    Ended,
    Failed,
    Own,
    Pipelined,
    Remote,
    Resolved,
    Returned,
)
from qpq.wire.rpc_messages import (
    CANCELED,
    NONE,
    RECEIVER_ANSWER,
    RECEIVER_HOSTED,
    SENDER_HOSTED,
    SENDER_PROMISE,
    SENT_ELSEWHERE,
    THIRD_PARTY,
    YOURSELF,
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
)
from rpc_kit import INTERFACE, METHOD, Alone, Pair, content_with

FAULT = Failure(0, "no")


def only(events: list[object], kind: type) -> object:
    found = [event for event in events if isinstance(event, kind)]
    assert len(found) == 1, events
    return found[0]


def call_of(events: list[object]) -> Called:
    found = only(events, Called)
    assert isinstance(found, Called)
    return found


def marks(events: list[object]) -> list[int]:
    """Return the number that each call among the events carries."""
    return [capnp_view.root(event.content, 1000, 64).uint(0, 8) for event in events if isinstance(event, Called)]


def call(pair: Pair, target: object, content: bytes = EMPTY, caps: tuple[object, ...] = (), **more: object) -> int:
    return pair.left.call(target, INTERFACE, METHOD, content, caps, **more)  # type: ignore[arg-type]


def booted() -> tuple[Pair, Remote]:
    """Return two ends of which the left one holds the right one's bootstrap object."""
    pair = Pair()
    question = pair.left.bootstrap()
    events, _ = pair.run()
    returned = only(events, Returned)
    assert isinstance(returned, Returned)
    pair.left.finish(question)
    (cap,) = returned.caps
    assert isinstance(cap, Remote)
    return pair, cap


# calls


def test_a_call_to_the_bootstrap_object_is_answered() -> None:
    pair, cap = booted()
    number = call(pair, cap, content_with(data=5))
    _, events = pair.run()
    called = call_of(events)
    assert (called.target, called.interface, called.method, called.caps) == ("right", INTERFACE, METHOD, ())
    pair.right.answer(called.answer, content_with(data=6))
    events, _ = pair.run()
    (returned,) = events
    assert isinstance(returned, Returned)
    assert (returned.question, returned.caps) == (number, ())
    assert pair.right.receive(b"") == []
    assert pair.run() == ([], [])


def test_calls_do_not_wait_for_the_bootstrap() -> None:
    pair = Pair()
    question = pair.left.bootstrap()
    number = call(pair, Pipelined(question))
    called = call_of(pair.right.receive(pair.left.data_to_send()))
    pair.right.answer(called.answer)
    events, _ = pair.run()
    assert [event.question for event in events if isinstance(event, Returned)] == [question, number]
    call(pair, Pipelined(question))
    assert call_of(pair.run()[1]).target == "right"


def test_a_call_can_fail() -> None:
    pair, cap = booted()
    number = call(pair, cap)
    pair.right.fail(call_of(pair.run()[1]).answer, Failure(1, "busy"))
    assert pair.run()[0] == [Failed(number, Failure(1, "busy"))]


def test_an_answer_that_nobody_waits_for_is_nothing() -> None:
    pair, cap = booted()
    call(pair, cap)
    answer = call_of(pair.run()[1]).answer
    pair.right.answer(answer)
    pair.right.answer(answer)
    pair.right.fail(answer, FAULT)
    assert len(pair.run()[0]) == 1


def test_a_call_that_is_finished_early_is_cancelled_and_answered_once() -> None:
    pair, cap = booted()
    number = call(pair, cap)
    answer = call_of(pair.run()[1]).answer
    pair.left.finish(number)
    pair.left.finish(number)
    assert pair.run() == ([], [Cancelled(answer)])
    pair.right.answer(answer)
    assert pair.run() == ([], [])
    call(pair, cap)
    assert call_of(pair.run()[1]).answer > answer


def test_what_an_answer_brings_after_the_finish_is_the_peers_to_take_back() -> None:
    pair, cap = booted()
    number = call(pair, cap)
    answer = call_of(pair.run()[1]).answer
    pair.right.answer(answer, CAPABILITY_ROOT, (Own("more"),))
    pair.left.finish(number)
    lefts, rights = pair.run()
    assert lefts == []
    assert rights == [Dropped("more")]


def test_a_deadline_gives_a_call_up() -> None:
    pair, cap = booted()
    assert pair.left.next_deadline() is None
    late, later = call(pair, cap, deadline=5.0), call(pair, cap, deadline=9.0)
    assert pair.left.next_deadline() == 5.0
    assert pair.left.tick(4.9) == []
    assert pair.left.tick(5.0) == [Failed(late, Failure(0, "no answer in time"), timed_out=True)]
    assert pair.left.next_deadline() == 9.0
    _, rights = pair.run()
    assert sum(isinstance(event, Cancelled) for event in rights) == 1
    for event in rights:
        if isinstance(event, Called):
            pair.right.answer(event.answer)
    assert [event.question for event in pair.run()[0] if isinstance(event, Returned)] == [later]


def test_an_end_without_a_bootstrap_object_says_so() -> None:
    pair = Pair()
    pair.right = RpcConnection()
    question = pair.left.bootstrap()
    number = call(pair, Pipelined(question))
    failure = Failure(0, "there is no bootstrap object here")
    assert pair.run()[0] == [Failed(question, failure), Failed(number, failure)]
    number = call(pair, Pipelined(question))
    assert pair.left.events() == [Failed(number, failure)]


def test_a_null_capability_cannot_be_called() -> None:
    pair, cap = booted()
    call(pair, cap, keep=True)
    pair.right.answer(call_of(pair.run()[1]).answer, content_with(0, 5), (NULL,))
    (returned,) = pair.run()[0]
    assert isinstance(returned, Returned)
    for target in (
        returned.caps[0],
        *[Pipelined(returned.question, path) for path in ((0,), (1,), (2,), ())],
        Pipelined(99),
    ):
        number = call(pair, target)
        assert pair.left.events() == [Failed(number, NULL.failure)]


def test_calls_and_results_beyond_the_limit_of_a_message_are_refused_here() -> None:
    pair, cap = booted()
    big = EMPTY + bytes(8 << 20)
    with pytest.raises(CallFailed, match="more than a message may have"):
        call(pair, cap, big)
    call(pair, cap)
    pair.right.answer(call_of(pair.run()[1]).answer, big)
    (failed,) = pair.run()[0]
    assert isinstance(failed, Failed)
    assert "more than a message may have" in failed.failure.reason


# capabilities in parameters and results


def test_capabilities_travel_both_ways_and_are_released() -> None:
    pair, cap = booted()
    number = call(pair, cap, content_with(0, 1), (Own("mine"), cap))
    called = call_of(pair.run()[1])
    theirs, back = called.caps
    assert isinstance(theirs, Remote)
    assert back == Own("right")
    pair.right.answer(called.answer, content_with(0, 1, 2), (theirs, Own("new"), NULL))
    pair.right.release(theirs)
    returned, dropped = pair.run()[0]
    assert isinstance(returned, Returned)
    assert dropped == Dropped("mine")
    assert returned.question == number
    assert returned.caps[0] == Own("mine")
    assert isinstance(returned.caps[1], Remote)
    assert returned.caps[2] == NULL
    lefts, rights = pair.run()
    assert (lefts, rights) == ([], [])
    call(pair, returned.caps[1])
    assert call_of(pair.run()[1]).target == "new"
    for one in (*returned.caps, *returned.caps):
        pair.left.release(one)
    assert pair.run()[1] == [Dropped("new")]
    number = call(pair, returned.caps[1])
    assert pair.left.events() == [Failed(number, RELEASED.failure)]


def test_what_is_sent_twice_is_released_once_and_whole() -> None:
    pair, cap = booted()
    remotes = []
    for _ in range(2):
        call(pair, cap, content_with(0), (Own("mine"),))
        called = call_of(pair.run()[1])
        remotes += called.caps
        pair.right.answer(called.answer)
        pair.run()
    assert remotes[0] == remotes[1]
    pair.right.release(remotes[0])
    assert pair.right.data_to_send() == b""
    pair.right.release(remotes[1])
    assert pair.run() == ([Dropped("mine")], [])


def test_the_peer_can_call_back() -> None:
    pair, cap = booted()
    call(pair, cap, content_with(0), (Own("mine"),))
    called = call_of(pair.run()[1])
    back = pair.right.call(called.caps[0], 5, 6)
    mine = call_of(pair.run()[0])
    assert (mine.target, mine.interface, mine.method) == ("mine", 5, 6)
    pair.left.answer(mine.answer)
    assert pair.run()[1] == [Returned(back, EMPTY, ())]


def test_parameters_that_the_answer_releases_are_dropped() -> None:
    alone = Alone()
    alone.send(Bootstrap(0))
    alone.end.bootstrap()
    alone.sent()
    alone.send(Return(0, Payload(CAPABILITY_ROOT, (Descriptor(SENDER_HOSTED, 3),))))
    alone.end.call(Remote(3), 1, 1, content_with(0, 1), (Own("a"), Remote(3)))
    alone.sent()
    assert alone.send(Return(0, Payload(), release_params=True)) == [Dropped("a"), Returned(2, EMPTY, ())]


def test_a_vine_stands_in_for_a_third_partys_capability() -> None:
    alone = Alone()
    alone.end.bootstrap()
    alone.end._handle(Return(0, Payload(CAPABILITY_ROOT, (Descriptor(THIRD_PARTY, 9),))))
    assert alone.end.events() == [Returned(1, CAPABILITY_ROOT, (Remote(9),))]


# pipelines


def test_calls_are_pipelined_to_what_a_call_will_return() -> None:
    pair, cap = booted()
    first = call(pair, cap, keep=True)
    second = call(pair, Pipelined(first, (0,)))
    _, rights = pair.run()
    answer = call_of(rights).answer
    pair.right.answer(answer, content_with(0), (Own("inner"),))
    inner = call_of(pair.right.events())
    assert inner.target == "inner"
    pair.right.answer(inner.answer)
    assert [event.question for event in pair.run()[0] if isinstance(event, Returned)] == [first, second]


def test_a_pipelined_call_fails_with_the_call_before_it() -> None:
    pair, cap = booted()
    first = call(pair, cap, keep=True)
    second = call(pair, Pipelined(first, (0,)), content_with(0), (Own("mine"),))
    pair.right.fail(call_of(pair.run()[1]).answer, FAULT)
    events, _ = pair.run()
    assert [event for event in events if isinstance(event, Failed)] == [Failed(first, FAULT), Failed(second, FAULT)]
    assert Dropped("mine") in events


def test_a_call_that_others_wait_for_goes_on_when_it_is_finished() -> None:
    pair, cap = booted()
    first = call(pair, cap, keep=True)
    second = call(pair, Pipelined(first, (0,)))
    answer = call_of(pair.run()[1]).answer
    pair.left.finish(first)
    assert pair.run() == ([], [])
    pair.right.answer(answer, content_with(0), (Own("inner"),))
    inner = call_of(pair.run()[1])
    pair.right.answer(inner.answer)
    assert [event for event in pair.run()[0] if isinstance(event, Returned)] == [Returned(second, EMPTY, ())]


def test_a_pipelined_call_that_is_cancelled_while_it_waits_is_not_delivered() -> None:
    pair, cap = booted()
    first = call(pair, cap, keep=True)
    second = call(pair, Pipelined(first, (0,)))
    answer = call_of(pair.run()[1]).answer
    pair.left.finish(second)
    assert pair.run() == ([], [])
    pair.right.answer(answer, content_with(0), (Own("inner"),))
    assert pair.run()[1] == []


def test_a_capability_of_an_open_question_can_be_handed_back() -> None:
    pair, cap = booted()
    first = call(pair, cap, keep=True)
    call(pair, cap, content_with(0), (Pipelined(first, (0,)),))
    calls = [event for event in pair.run()[1] if isinstance(event, Called)]
    (promised,) = calls[1].caps
    pair.right.call(promised, 8, 8)
    pair.right.answer(calls[0].answer, content_with(0), (Own("inner"),))
    assert call_of(pair.right.events()).target == "inner"


def test_a_call_to_what_the_peer_returns_of_ours_is_sent_back_to_us() -> None:
    pair, cap = booted()
    first = call(pair, cap, content_with(0), (Own("mine"),), keep=True)
    second = call(pair, Pipelined(first, (0,)), content_with(0, data=3), (cap,))
    called = call_of(pair.run()[1])
    pair.right.answer(called.answer, content_with(0), called.caps)
    pair.right.release(called.caps[0])
    lefts, _ = pair.run()
    mine = call_of(lefts)
    assert (mine.target, mine.caps) == ("mine", (cap,))
    pair.left.answer(mine.answer, content_with(0), (Own("other"),))
    lefts, _ = pair.run()
    (returned,) = [event for event in lefts if isinstance(event, Returned) and event.question == second]
    assert returned.caps == (Own("other"),)


def test_a_call_that_was_sent_back_can_be_cancelled_and_can_fail() -> None:
    pair, cap = booted()
    first = call(pair, cap, content_with(0), (Own("mine"),), keep=True)
    second, third = call(pair, Pipelined(first, (0,))), call(pair, Pipelined(first, (0,)))
    called = call_of(pair.run()[1])
    pair.right.answer(called.answer, content_with(0), called.caps)
    calls = [event for event in pair.run()[0] if isinstance(event, Called)]
    pair.left.finish(second)
    assert pair.run()[0] == [Cancelled(calls[0].answer)]
    pair.left.fail(calls[1].answer, FAULT)
    assert pair.run()[0] == [Failed(third, FAULT)]


# embargoes


def test_calls_here_wait_for_those_that_come_back_through_the_peer() -> None:
    pair, cap = booted()
    first = call(pair, cap, content_with(0), (Own("mine"),), keep=True)
    early = call(pair, Pipelined(first, (0,)), content_with(data=1))
    called = call_of(pair.right.receive(pair.left.data_to_send()))
    pair.right.answer(called.answer, content_with(0), called.caps)
    to_left = pair.right.data_to_send()
    came = pair.left.receive(to_left)  # the call that came back, and the answer: now an embargo is on
    late = call(pair, Pipelined(first, (0,)), content_with(data=2))
    direct = call(pair, Own("mine"), content_with(data=3))
    assert pair.left.events() == []
    lefts, _ = pair.run()
    assert (marks(came), marks(lefts)) == ([1], [2, 3])
    for event in lefts:
        if isinstance(event, Called):
            pair.left.answer(event.answer, content_with(data=9))
    assert {event.question for event in pair.left.events() if isinstance(event, Returned)} == {late, direct}
    assert early


def test_an_embargo_ends_with_the_last_disembargo() -> None:
    alone = Alone()
    question = alone.end.bootstrap()
    for path in ((0,), (1,)):
        alone.end.call(Pipelined(question, path), 1, 1, content_with(0), (Own("mine"),))
    alone.sent()
    alone.send(Return(0, Payload(content_with(0, 1), (Descriptor(RECEIVER_HOSTED, 0),) * 2)))
    asked = [message for message in alone.sent() if isinstance(message, Disembargo)]
    assert asked == [
        Disembargo(PromisedAnswer(0, (0,)), 1, reply=False),
        Disembargo(PromisedAnswer(0, (1,)), 2, reply=False),
    ]
    number = alone.end.call(Own("mine"), 1, 1)
    assert alone.send(Disembargo(ImportedCap(0), 1, reply=True)) == []
    assert call_of(alone.send(Disembargo(ImportedCap(0), 2, reply=True))).target == "mine"
    assert number
    assert only(alone.send(Disembargo(ImportedCap(0), 2, reply=True)), Ended) == Ended("there is no embargo 2")


# promises


def test_a_promise_of_ours_holds_calls_until_it_is_resolved() -> None:
    pair, cap = booted()
    promise = pair.left.promise()
    call(pair, cap, content_with(0), (promise,))
    called = call_of(pair.run()[1])
    (theirs,) = called.caps
    early = pair.right.call(theirs, 1, 1, content_with(data=1))
    assert pair.run() == ([], [])
    pair.left.resolve(promise, Own("found"))
    lefts, rights = pair.run()
    assert call_of(lefts).target == "found"
    (resolved,) = rights
    assert isinstance(resolved, Resolved)
    assert resolved.promise == theirs
    pair.right.call(theirs, 1, 1, content_with(data=2))
    assert call_of(pair.run()[0]).target == "found"
    pair.right.release(theirs)
    assert early
    assert pair.run() == ([Dropped("found")], [])


def test_a_promise_can_break() -> None:
    pair, cap = booted()
    promise = pair.left.promise()
    call(pair, cap, content_with(0), (promise,))
    (theirs,) = call_of(pair.run()[1]).caps
    early = pair.right.call(theirs, 1, 1)
    pair.run()
    pair.left.resolve(promise, Broken(FAULT))
    _, rights = pair.run()
    assert rights == [Failed(early, FAULT), Resolved(theirs, Broken(FAULT))] or rights == [
        Resolved(theirs, Broken(FAULT)),
        Failed(early, FAULT),
    ]
    late = pair.right.call(theirs, 1, 1)
    assert pair.right.events() == [Failed(late, FAULT)]


def test_a_promise_that_becomes_the_peers_own_is_embargoed() -> None:
    pair, cap = booted()
    promise = pair.left.promise()
    call(pair, cap, content_with(0), (promise,))
    (theirs,) = call_of(pair.run()[1]).caps
    pair.right.call(theirs, 1, 1, content_with(data=1))
    pair.run()
    pair.left.resolve(promise, cap)
    came = pair.right.receive(pair.left.data_to_send())
    pair.right.call(theirs, 1, 1, content_with(data=2))
    lefts, rights = pair.run()
    assert lefts == []
    assert (marks(came), marks(rights)) == ([1], [2])


def test_a_promise_of_itself_is_broken() -> None:
    pair = Pair()
    promise = pair.left.promise()
    pair.left.resolve(promise, promise)
    number = call(pair, promise)
    assert pair.left.events() == [Failed(number, ENDLESS.failure)]


def test_calls_to_objects_of_this_side_need_no_peer() -> None:
    pair = Pair()
    promise = pair.left.promise()
    first = call(pair, promise, keep=True)
    second = call(pair, Pipelined(first, (0,)))
    given_up = call(pair, Own("here"))
    answer = call_of(pair.left.events()).answer
    pair.left.finish(given_up)
    assert pair.left.events() == [Cancelled(answer)]
    pair.left.resolve(promise, Own("one"))
    one = call_of(pair.left.events())
    assert one.target == "one"
    pair.left.answer(one.answer, content_with(0), (Own("two"),))
    events = pair.left.events()
    assert call_of(events).target == "two"
    assert Returned(first, content_with(0), (Own("two"),)) in events
    pair.left.fail(call_of(events).answer, FAULT)
    assert pair.left.events() == [Failed(second, FAULT)]
    assert pair.left.data_to_send() == b""


def test_a_call_here_can_carry_the_peers_capability() -> None:
    pair, cap = booted()
    call(pair, Own("here"), content_with(0), (cap,))
    called = call_of(pair.left.events())
    pair.left.release(cap)
    assert pair.left.data_to_send() == b""
    pair.left.release(called.caps[0])
    assert pair.run()[1] == [Dropped("right")]


def test_results_kept_for_another_question_answer_it() -> None:
    alone = Alone()
    alone.send(Bootstrap(0), Call(1, PromisedAnswer(0), 1, 1, Payload(), YOURSELF))
    alone.end.bootstrap()
    answer = alone.end.call(Pipelined(1), 2, 2)
    other = alone.end.call(Pipelined(1), 2, 2)
    called = alone.end._answers._last
    alone.sent()
    assert alone.send(Return(1, TakeFrom(1))) == []
    alone.end.answer(called, content_with(0, data=8), (Own("x"),))
    assert alone.end.events() == [Returned(answer, content_with(0, data=8), (Own("x"),))]
    assert Return(1, SENT_ELSEWHERE, release_params=False) in alone.sent()
    assert alone.send(Return(2, TakeFrom(1))) == [Returned(other, content_with(0, data=8), (Own("x"),))]
    assert alone.send(Finish(1)) == []
    assert only(alone.send(Return(0, TakeFrom(1))), Ended) == Ended("question 1 keeps no results")


def test_an_exception_can_be_kept_for_another_question() -> None:
    alone = Alone()
    alone.send(Bootstrap(0), Call(1, PromisedAnswer(0), 1, 1, Payload(), YOURSELF))
    alone.end.fail(alone.end._answers._last, FAULT)
    question = alone.end.bootstrap()
    assert alone.send(Return(0, TakeFrom(1))) == [Failed(question, FAULT)]


def test_a_call_that_another_question_waits_for_goes_on_when_it_is_finished() -> None:
    alone = Alone()
    alone.send(Bootstrap(0), Call(1, PromisedAnswer(0), 1, 1, Payload(), YOURSELF))
    question = alone.end.bootstrap()
    gone = alone.end.call(Pipelined(question), 1, 1)
    assert alone.send(Return(0, TakeFrom(1)), Return(1, TakeFrom(1)), Finish(1)) == []
    alone.end.finish(gone)
    alone.end.answer(alone.end._answers._last)
    assert alone.end.events() == [Returned(question, EMPTY, ())]
    assert Return(1, CANCELED, release_params=False) in alone.sent()


# the peer's promises


def importing(kind: int, *, called: bool = False) -> tuple[Alone, Remote]:
    """Return an end that holds the peer's capability 5."""
    alone = Alone()
    alone.send(Bootstrap(0))  # the own bootstrap object is export 0
    alone.end.bootstrap()
    alone.send(Return(0, Payload(CAPABILITY_ROOT, (Descriptor(kind, 5),))))
    alone.end.finish(1)
    if called:
        alone.end.call(Remote(5), 1, 1)
    alone.sent()
    return alone, Remote(5)


def test_calls_follow_a_promise_of_the_peers() -> None:
    alone, promise = importing(SENDER_PROMISE, called=True)
    events = alone.send(Resolve(5, Descriptor(SENDER_HOSTED, 6)))
    assert events == [Resolved(promise, Remote(6))]
    alone.end.call(promise, 1, 1)
    (sent,) = alone.sent()
    assert isinstance(sent, Call)
    assert sent.target == ImportedCap(6)
    alone.end.release(promise)
    assert alone.sent() == [Release(5, 1), Release(6, 1)]


def test_a_promise_that_becomes_ours_is_embargoed_only_when_it_was_called() -> None:
    for called in (True, False):
        alone, promise = importing(SENDER_PROMISE, called=called)
        assert alone.send(Resolve(5, Descriptor(RECEIVER_HOSTED, 0))) == [Resolved(promise, Own("end"))]
        assert alone.sent() == ([Disembargo(ImportedCap(5), 1, reply=False)] if called else [])


def test_a_promise_can_become_what_an_answer_of_ours_holds() -> None:
    alone, promise = importing(SENDER_PROMISE)
    answer = Descriptor(RECEIVER_ANSWER, answer=PromisedAnswer(0))
    assert alone.send(Resolve(5, answer)) == [Resolved(promise, Own("end"))]


def test_what_a_released_promise_becomes_is_released() -> None:
    alone, promise = importing(SENDER_PROMISE)
    alone.end.release(promise)
    alone.sent()
    assert alone.send(Resolve(5, Descriptor(SENDER_HOSTED, 6))) == []
    assert alone.sent() == [Release(6, 1)]
    assert alone.send(Resolve(5, FAULT)) == []


def test_a_capability_of_ours_behind_the_peers_promise_goes_back_as_ours() -> None:
    alone, promise = importing(SENDER_PROMISE)
    alone.send(Resolve(5, Descriptor(NONE)))
    alone.send(Call(9, PromisedAnswer(0), 1, 1, Payload()))
    alone.end.answer(alone.end._answers._last, content_with(0), (promise,))
    (sent,) = alone.sent()
    assert isinstance(sent, Return)
    assert isinstance(sent.outcome, Payload)
    assert sent.outcome.table == (Descriptor(NONE),)


def test_a_disembargo_goes_back_to_whose_the_capability_is() -> None:
    alone, cap = importing(SENDER_HOSTED)
    alone.send(Call(1, PromisedAnswer(0), 1, 1, Payload()))
    alone.end.answer(alone.end._answers._last, content_with(0), (cap,))
    alone.sent()
    assert alone.send(Disembargo(PromisedAnswer(1, (0,)), 7, reply=False)) == []
    assert alone.sent() == [Disembargo(ImportedCap(5), 7, reply=True)]


@pytest.mark.parametrize("works", [True, False])
def test_what_an_open_question_is_to_bring_is_handed_out_as_a_promise(works: bool) -> None:
    own = Payload(content_with(0), (Descriptor(RECEIVER_HOSTED, 0),))
    outcome, settled = (own, Descriptor(SENDER_HOSTED, 0)) if works else (FAULT, FAULT)
    alone, cap = importing(SENDER_HOSTED)
    alone.send(Call(1, PromisedAnswer(0), 1, 1, Payload()))
    question = alone.end.call(cap, 1, 1)
    alone.end.answer(alone.end._answers._last, content_with(0), (Pipelined(question, (0,)),))
    (returned,) = [message for message in alone.sent() if isinstance(message, Return)]
    assert isinstance(returned.outcome, Payload)
    assert returned.outcome.table == (Descriptor(SENDER_PROMISE, 1),)
    alone.send(Return(0, outcome))
    assert Resolve(1, settled) in alone.sent()


def test_a_question_that_is_given_up_breaks_what_it_was_to_bring() -> None:
    alone, cap = importing(SENDER_HOSTED)
    question = alone.end.call(cap, 1, 1)
    promise = alone.end.promise()
    alone.end.resolve(promise, Pipelined(question, (0,)))
    waiting = alone.end.call(promise, 1, 1)
    assert alone.end.events() == []
    alone.end.finish(question)
    (failed,) = alone.end.events()
    assert isinstance(failed, Failed)
    assert (failed.question, failed.failure.reason) == (waiting, "the call that was to bring it was given up")


def test_what_was_released_is_broken_wherever_it_is_used() -> None:
    alone, cap = importing(SENDER_HOSTED)
    alone.end.release(cap)
    promise = alone.end.promise()
    alone.end.resolve(promise, cap)
    numbers = [alone.end.call(target, 1, 1) for target in (cap, promise)]
    assert alone.end.events() == [Failed(number, RELEASED.failure) for number in numbers]
    alone.end.call(Own("end"), 1, 1, content_with(0), (cap,))
    assert call_of(alone.end.events()).caps == (RELEASED,)
