"""Questions that the peer asks on an RPC connection, from the call to the finish."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from qpq.wire.capnp_build import CAPABILITY_ROOT, EMPTY
from qpq.wire.capnp_view import capability_at
from qpq.wire.rpc_capabilities import NULL
from qpq.wire.rpc_errors import CallOverloaded, CallUnimplemented, RpcError, RpcProtocolError
from qpq.wire.rpc_events import Broken, Called, Cancelled, Own, Pipelined, Promise, Remote
from qpq.wire.rpc_messages import (
    CANCELED,
    ELSEWHERE,
    SENT_ELSEWHERE,
    YOURSELF,
    Call,
    Failure,
    ImportedCap,
    Payload,
    Return,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.wire.rpc_capabilities import Capabilities
    from qpq.wire.rpc_events import Capability, RpcEvent
    from qpq.wire.rpc_limits import RpcLimits
    from qpq.wire.rpc_messages import Descriptor, PromisedAnswer, RpcMessage
    from qpq.wire.rpc_questions import Question, Questions

NOWHERE: Final = -1
"""The number on the wire of what is not there, or not there any more."""
ROOM: Final = 16 << 10
"""Bytes of a message that are left for what is around parameters and results."""


@dataclass(frozen=True, slots=True)
class Params:
    """What a method is called with."""

    interface: int
    method: int
    content: bytes
    caps: tuple[Capability, ...]


@dataclass(eq=False, slots=True)
class Answer:
    """An answer in the making or kept: ``wire`` is the peer's number, NOWHERE for a call of this side to itself.

    ``params`` until the call is delivered, ``forward`` the question that was asked of the peer for it; when ``done``,
    ``content`` and ``caps`` or ``failure``, and ``table`` is what the peer got. ``keeps``: for another question.
    """

    number: int
    wire: int
    params: Params | None
    question: Question | None = None
    keeps: bool = False
    is_running: bool = False
    is_finished: bool = False
    forward: int | None = None
    done: bool = False
    content: bytes = EMPTY
    caps: tuple[Capability, ...] = ()
    failure: Failure | None = None
    table: tuple[Descriptor, ...] = ()
    promises: dict[tuple[int, ...], Promise] = field(default_factory=dict)
    takers: list[Question] = field(default_factory=list)
    held: int = 0


class Answers:
    """All answers of one connection, and the way of a call to the object that it is for."""

    questions: Questions

    def __init__(
        self,
        limits: RpcLimits,
        caps: Capabilities,
        send: Callable[[RpcMessage], None],
        tell: Callable[[RpcEvent], None],
        bootstrap: Own | None,
    ) -> None:
        self._limits = limits
        self._caps = caps
        self._send = send
        self._tell = tell
        self._bootstrap = bootstrap
        self._by_wire: dict[int, Answer] = {}
        self._open: dict[int, Answer] = {}
        self._last = 0
        self._held = 0
        self.embargoed: dict[Capability, list[Answer]] = {}
        """What local calls must wait for, behind those that are on their way through the peer."""

    # calls

    def bootstrap(self, wire: int) -> None:
        """Give the peer the object it asks for."""
        answer = self._new(wire, None)
        if self._bootstrap is None:
            self.fail(answer.number, Failure(0, "there is no bootstrap object here"))
        else:
            self.complete(answer.number, CAPABILITY_ROOT, (self._bootstrap,))

    def called(self, call: Call) -> None:
        """Take a call of the peer's; raises RpcProtocolError."""
        caps = tuple([self._caps.take(descriptor) for descriptor in call.params.table])
        params = Params(call.interface, call.method, call.params.content, caps)
        target = call.target
        capability = (
            self._caps.exported(target.number) if isinstance(target, ImportedCap) else self.capability_of(target)
        )
        answer = self._new(call.question, params)
        answer.keeps = call.results_to == YOURSELF
        running = len(self._open)
        if call.results_to >= ELSEWHERE:
            self._refuse(answer, CallUnimplemented("results go to the caller only"))
        elif running > self._limits.calls or self._held > self._limits.held:
            self._refuse(answer, CallOverloaded(f"{running - 1} calls are running, at most {self._limits.calls} may"))
        else:
            self.deliver(answer, capability)

    def call_own(self, question: Question, capability: Capability, params: Params) -> None:
        """Take a call of this side to an object or promise of its own."""
        caps = tuple([self._caps.hold(cap) for cap in params.caps])
        answer = self._new(NOWHERE, Params(params.interface, params.method, params.content, caps))
        answer.question = question
        question.local = answer
        self.deliver(answer, capability)

    def _new(self, wire: int, params: Params | None) -> Answer:
        self._last += 1
        answer = Answer(self._last, wire, params)
        if wire != NOWHERE:
            if wire in self._by_wire:
                raise RpcProtocolError(f"question {wire} is asked twice")
            if len(self._by_wire) >= self._limits.answers:
                raise RpcProtocolError(f"{len(self._by_wire)} answers were not finished, more are not allowed")
            self._by_wire[wire] = answer
            answer.held = len(params.content) if params is not None else 0
            self._held += answer.held
        self._open[answer.number] = answer
        return answer

    def _refuse(self, answer: Answer, error: RpcError) -> None:
        self._drop_params(answer)
        self.fail(answer.number, Failure(error.kind, str(error)))

    def _drop_params(self, answer: Answer) -> None:
        if answer.params is not None:
            for cap in answer.params.caps:
                self._caps.release(cap)
            answer.params = None

    def deliver(self, answer: Answer, capability: Capability) -> None:
        """Bring a call to its object, to the peer that has it, or to the queue before it."""
        params = answer.params
        if params is None:  # given up while it waited
            return
        found = self._caps.settled(capability)
        if answer.question is not None and found in self.embargoed:
            self.embargoed[found].append(answer)
            return
        match found:
            case Own(key):
                answer.params = None
                answer.is_running = True
                self._tell(Called(answer.number, key, params.interface, params.method, params.content, params.caps))
            case Promise():
                found.waiting.append(partial(self.deliver, answer))
            case Broken(failure):
                self._drop_params(answer)
                self.fail(answer.number, failure)
            case _:
                self._forward(answer, found, params)

    def _forward(self, answer: Answer, target: Remote | Pipelined, params: Params) -> None:
        try:
            answer.forward = self.questions.forward(answer, target, params)
        except RpcError as error:
            self._refuse(answer, error)
        else:
            self._drop_params(answer)

    # results

    def complete(self, number: int, content: bytes, caps: tuple[Capability, ...]) -> None:
        """Answer with results."""
        answer = self._open.get(number)
        if answer is None:
            return
        if len(content) > self._limits.message - ROOM:
            self.fail(number, Failure(0, f"results of {len(content)} bytes are more than a message may have"))
            return
        answer.content = content if caps or answer.keeps else EMPTY
        answer.caps = tuple([self._caps.hold(self._lasting(cap)) for cap in caps])
        self._close(answer, Payload(content))

    def fail(self, number: int, failure: Failure) -> None:
        """Answer with an exception."""
        answer = self._open.get(number)
        if answer is not None:
            answer.failure = failure
            self._close(answer, failure)

    def _close(self, answer: Answer, outcome: Payload | Failure) -> None:
        del self._open[answer.number]
        answer.done = True
        held = len(answer.content) if answer.wire != NOWHERE and answer.caps else 0
        self._held, answer.held = self._held + held - answer.held, held
        if answer.question is not None:
            self.questions.settle_local(answer.question, outcome, answer.caps)
        else:
            self._send(Return(answer.wire, self._outcome(answer, outcome), release_params=False))
        for taker in answer.takers:
            self.questions.settle_local(taker, outcome, answer.caps)
        promises, answer.promises = answer.promises, {}
        for path, promise in promises.items():
            self.resolve(promise, self._pick(answer, path))
        if answer.question is not None or answer.is_finished:
            self._remove(answer)

    def _outcome(self, answer: Answer, outcome: Payload | Failure) -> Payload | Failure | int:
        """Return what the peer is told."""
        if answer.is_finished:
            return CANCELED
        if answer.keeps:
            return SENT_ELSEWHERE
        if isinstance(outcome, Payload):
            answer.table = tuple([self._caps.describe(cap) for cap in answer.caps])
            return Payload(outcome.content, answer.table)
        return outcome

    def _remove(self, answer: Answer) -> None:
        if answer.wire != NOWHERE:
            del self._by_wire[answer.wire]
            self._held -= answer.held
        for cap in answer.caps:
            self._caps.release(cap)

    def finished(self, wire: int, *, release: bool) -> None:
        """The peer needs an answer no longer; raises RpcProtocolError."""
        answer = self._by_wire.get(wire)
        if answer is None or answer.is_finished:
            raise RpcProtocolError(f"question {wire} is finished and was not asked")
        answer.is_finished = True
        if answer.done:
            if release:
                self._caps.take_back(answer.table)
            self._remove(answer)
        elif not answer.promises and not answer.takers:  # nothing else waits for it
            self.cancel(answer)

    def cancel(self, answer: Answer) -> None:
        """Stop the work on an answer that nobody waits for."""
        if answer.is_running:
            self._tell(Cancelled(answer.number))
        if answer.forward is not None:
            self.questions.finish(answer.forward)
        self._drop_params(answer)
        self.fail(answer.number, Failure(0, "cancelled"))

    # capabilities of answers

    def capability_of(self, target: PromisedAnswer) -> Capability:
        """Return what the peer names, a promise while it is not known; raises RpcProtocolError."""
        answer = self._by_wire.get(target.question)
        if answer is None:
            raise RpcProtocolError(f"question {target.question} was not asked")
        return self.capability_in(answer, target.path)

    def capability_in(self, answer: Answer, path: tuple[int, ...]) -> Capability:
        """Return a capability of an answer, a promise while it is not known."""
        return self._pick(answer, path) if answer.done else answer.promises.setdefault(path, Promise())

    def done_at(self, target: PromisedAnswer) -> Capability:
        """Return a capability of an answer that was given; raises RpcProtocolError."""
        answer = self._by_wire.get(target.question)
        if answer is None or not answer.done:
            raise RpcProtocolError(f"question {target.question} has no answer yet")
        return self._pick(answer, target.path)

    def take_from(self, wire: int, question: Question) -> None:
        """Give a question the results that were kept for it; raises RpcProtocolError."""
        answer = self._by_wire.get(wire)
        if answer is None or not answer.keeps:
            raise RpcProtocolError(f"question {wire} keeps no results")
        if answer.done:
            self.questions.settle_local(question, answer.failure or Payload(answer.content), answer.caps)
        else:
            answer.takers.append(question)

    def _pick(self, answer: Answer, path: tuple[int, ...]) -> Capability:
        return pick(answer.failure, answer.content, answer.caps, path)

    def _lasting(self, capability: Capability) -> Capability:
        """Return what a capability has become; one that a question is to bring is a promise of our own meanwhile."""
        found = self._caps.settled(capability)
        if isinstance(found, Pipelined):
            promise = Promise()
            self.questions.follow(found, promise)
            return promise
        return found

    def resolve(self, promise: Promise, outcome: Capability) -> None:
        """Settle a promise, now or with the question that is to bring it, and send on what waited for it."""
        found = self._caps.settled(outcome)
        if isinstance(found, Pipelined):
            self.questions.follow(found, promise)
            return
        self._caps.resolve(promise, found)
        waiting, promise.waiting = promise.waiting, []
        for go_on in waiting:
            go_on(promise)

    def end(self) -> None:
        """The connection is over."""
        for answer in self._open.values():
            if answer.is_running:
                self._tell(Cancelled(answer.number))
            answer.params = None  # a promise that is settled afterwards brings no call any more
        self._open.clear()


def pick(failure: Failure | None, content: bytes, caps: tuple[Capability, ...], path: tuple[int, ...]) -> Capability:
    """Return the capability at the end of a path in results."""
    if failure is not None:
        return Broken(failure)
    index = capability_at(content, path)
    return caps[index] if index is not None and index < len(caps) else NULL
