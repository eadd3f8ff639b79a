"""Questions that this side asks on an RPC connection, from the call to the return, and the embargoes between."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qpq.wire.capnp_build import EMPTY
from qpq.wire.rpc_answers import NOWHERE, ROOM, Params, pick
from qpq.wire.rpc_capabilities import NULL
from qpq.wire.rpc_errors import CallFailed, CallOverloaded, CallUnimplemented, RpcProtocolError
from qpq.wire.rpc_events import Broken, Failed, Own, Pipelined, Promise, Remote, Returned
from qpq.wire.rpc_messages import (
    Bootstrap,
    Call,
    Disembargo,
    Failure,
    Finish,
    ImportedCap,
    Payload,
    PromisedAnswer,
    Return,
    TakeFrom,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.wire.rpc_answers import Answer, Answers
    from qpq.wire.rpc_capabilities import Capabilities
    from qpq.wire.rpc_events import Capability, RpcEvent
    from qpq.wire.rpc_limits import RpcLimits
    from qpq.wire.rpc_messages import Descriptor, RpcMessage, Target


@dataclass(eq=False, slots=True)
class Question:
    """A question: ``wire`` is its number on the wire until it was returned, NOWHERE for a call to this side's own.

    ``table`` is what the peer got with it, ``forward`` the answer that it is asked for, ``paths`` where calls were
    pipelined to, ``local`` the answer of a call to an own object, ``followers`` promises that it is to settle.
    """

    number: int
    wire: int
    keep: bool = False
    deadline: float | None = None
    table: tuple[Descriptor, ...] = ()
    forward: Answer | None = None
    local: Answer | None = None
    is_finished: bool = False
    is_returned: bool = False
    content: bytes = EMPTY
    caps: tuple[Capability, ...] = ()
    failure: Failure | None = None
    paths: set[tuple[int, ...]] = field(default_factory=set)
    followers: list[tuple[tuple[int, ...], Promise]] = field(default_factory=list)


class Questions:
    """All questions of one connection."""

    def __init__(
        self,
        limits: RpcLimits,
        caps: Capabilities,
        send: Callable[[RpcMessage], None],
        tell: Callable[[RpcEvent], None],
        answers: Answers,
    ) -> None:
        self._limits = limits
        self._caps = caps
        self._send = send
        self._tell = tell
        self._answers = answers
        self._all: dict[int, Question] = {}
        self._by_wire: dict[int, Question] = {}
        self._free: list[int] = []
        self._last = 0
        self._embargoes: dict[int, Capability] = {}
        self._last_embargo = 0

    # asking

    def bootstrap(self) -> int:
        """Ask for the peer's bootstrap object."""
        question = self._new(on_wire=True)
        question.keep = True
        self._send(Bootstrap(question.wire))
        return question.number

    def call(
        self,
        target: Capability,
        params: Params,
        *,
        deadline: float | None,
        keep: bool,
    ) -> int:
        """Call a capability, wherever it is."""
        if len(params.content) > self._limits.message - ROOM:
            raise CallFailed(f"parameters of {len(params.content)} bytes are more than a message may have")
        found = self._caps.settled(target)
        question = self._new(on_wire=isinstance(found, (Remote, Pipelined)))
        question.keep, question.deadline = keep, deadline
        if isinstance(found, (Remote, Pipelined)):
            self._ask(question, found, params)
        else:
            self._answers.call_own(question, found, params)
        return question.number

    def forward(self, answer: Answer, target: Remote | Pipelined, params: Params) -> int:
        """Call the peer for an answer that the peer waits for."""
        question = self._new(on_wire=True)
        question.forward = answer
        self._ask(question, target, params)
        return question.number

    def _new(self, *, on_wire: bool) -> Question:
        if max(len(self._all), len(self._by_wire)) >= self._limits.questions:
            raise CallOverloaded(f"{self._limits.questions} questions are open, more are not allowed")
        self._last += 1
        question = Question(self._last, NOWHERE)
        self._all[question.number] = question
        if on_wire:
            question.wire = self._free.pop() if self._free else len(self._by_wire)
            self._by_wire[question.wire] = question
        return question

    def _ask(self, question: Question, target: Remote | Pipelined, params: Params) -> None:
        where: Target
        if isinstance(target, Remote):
            where = ImportedCap(target.number)
            self._caps.imports[target.number].called = True
        else:
            self._all[target.question].paths.add(target.path)
            where = self.where(target)
        question.table = tuple([self._caps.describe(cap) for cap in params.caps])
        payload = Payload(params.content, question.table)
        self._send(Call(question.wire, where, params.interface, params.method, payload))

    def _free_wire(self, question: Question) -> None:
        del self._by_wire[question.wire]
        self._free.append(question.wire)
        question.wire = NOWHERE

    def where(self, target: Pipelined) -> PromisedAnswer:
        """Return how the peer knows what the answer to an open question will hold."""
        return PromisedAnswer(self._all[target.question].wire, target.path)

    def settle(self, pipelined: Pipelined) -> Capability | None:
        """Return what a Pipelined has become; None while the peer knows it only."""
        question = self._all.get(pipelined.question)
        if question is None:
            return NULL
        if question.is_returned:
            return pick(question.failure, question.content, question.caps, pipelined.path)
        if question.local is not None:
            return self._answers.capability_in(question.local, pipelined.path)
        return None

    def follow(self, pipelined: Pipelined, promise: Promise) -> None:
        """Let an open question settle a promise."""
        self._all[pipelined.question].followers.append((pipelined.path, promise))

    # answers

    def returned(self, message: Return) -> None:
        """Take the peer's answer; raises RpcProtocolError."""
        question = self._by_wire.get(message.answer)
        if question is None:
            raise RpcProtocolError(f"question {message.answer} is answered and was not asked")
        if message.release_params:
            self._caps.take_back(question.table)
        if question.is_finished:  # the peer takes back by itself what it sent
            self._free_wire(question)
            return
        match message.outcome:
            case Payload() as results:
                caps = tuple([self._caps.take(descriptor) for descriptor in results.table])
                for path in sorted(question.paths):
                    where = PromisedAnswer(question.wire, path)
                    self.embargo(pick(None, results.content, caps, path), where)
                self._finish_wire(question)
                self._settled(question, results, caps)
            case Failure() as failure:
                self._finish_wire(question)
                self._settled(question, failure, ())
            case TakeFrom(wire):
                self._finish_wire(question)
                self._answers.take_from(wire, question)
            case kind:
                raise RpcProtocolError(f"a return of kind {kind}, which was not asked for")

    def _finish_wire(self, question: Question) -> None:
        """Let the peer forget its answer."""
        self._send(Finish(question.wire, release_results=False))
        self._free_wire(question)

    def settle_local(self, question: Question, outcome: Payload | Failure, caps: tuple[Capability, ...]) -> None:
        """Answer a question with what this side has itself."""
        if not question.is_finished:
            for cap in caps:
                self._caps.hold(cap)
            self._settled(question, outcome, caps)

    def _settled(self, question: Question, outcome: Payload | Failure, caps: tuple[Capability, ...]) -> None:
        question.is_returned = True
        question.deadline = question.local = None
        if not question.keep:
            del self._all[question.number]
        for path, promise in question.followers:
            self._answers.resolve(promise, pick(*_parts(outcome), caps, path))
        if question.forward is not None:
            answer = question.forward
            answer.forward = None
            if isinstance(outcome, Failure):
                self._answers.fail(answer.number, outcome)
            else:
                self._answers.complete(answer.number, outcome.content, caps)
            for cap in caps:
                self._caps.release(cap)
        elif isinstance(outcome, Failure):
            question.failure = outcome
            self._tell(Failed(question.number, outcome))
        else:
            if question.keep:
                question.content, question.caps = outcome.content, tuple([self._caps.hold(cap) for cap in caps])
            self._tell(Returned(question.number, outcome.content, caps))

    def refused(self, wire: int) -> None:
        """The peer does not know the message that asked."""
        question = self._by_wire.get(wire)
        if question is None:
            raise RpcProtocolError(f"question {wire} is refused and was not asked")
        self._caps.take_back(question.table)
        self._free_wire(question)
        if not question.is_finished:
            self._settled(question, Failure(CallUnimplemented.kind, "the peer does not know this message"), ())

    # giving up

    def finish(self, number: int) -> None:
        """Need an answer no longer."""
        question = self._all.pop(number, None)
        if question is None:
            return
        if question.is_returned:
            for cap in question.caps:
                self._caps.release(cap)
            return
        question.is_finished = True
        for _, promise in question.followers:
            self._answers.resolve(promise, Broken(Failure(0, "the call that was to bring it was given up")))
        if question.wire != NOWHERE:
            self._send(Finish(question.wire))
        elif question.local is not None:
            self._answers.cancel(question.local)

    def expire(self, now: float) -> None:
        """Give up what is due."""
        for question in list(self._all.values()):  # one that ends can end others with it
            if question.deadline is not None and question.deadline <= now:
                self.finish(question.number)
                self._tell(Failed(question.number, Failure(0, "no answer in time"), timed_out=True))

    def next_deadline(self) -> float | None:
        """Return the earliest deadline."""
        return min((found.deadline for found in self._all.values() if found.deadline is not None), default=None)

    def end(self, failure: Failure) -> None:
        """The connection is over."""
        for question in self._all.values():
            if not question.is_returned and question.forward is None:
                self._tell(Failed(question.number, failure))
        self._all.clear()

    # embargoes

    def embargo(self, capability: Capability, target: Target) -> None:
        """Hold calls to an own object back until those that are on their way through the peer have come."""
        found = self._caps.settled(capability)
        if isinstance(found, (Own, Promise)):
            self._last_embargo += 1
            self._embargoes[self._last_embargo] = found
            self._answers.embargoed.setdefault(found, [])
            self._send(Disembargo(target, self._last_embargo, reply=False))

    def lift(self, number: int) -> None:
        """The calls that were on their way have come; raises RpcProtocolError."""
        if number not in self._embargoes:
            raise RpcProtocolError(f"there is no embargo {number}")
        capability = self._embargoes.pop(number)
        if capability not in self._embargoes.values():
            for answer in self._answers.embargoed.pop(capability):
                self._answers.deliver(answer, capability)


def _parts(outcome: Payload | Failure) -> tuple[Failure | None, bytes]:
    return (outcome, EMPTY) if isinstance(outcome, Failure) else (None, outcome.content)
