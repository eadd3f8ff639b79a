"""Cap'n Proto RPC between two parties, level 1, without I/O: bytes in, events out, bytes out.

Use::

    connection = RpcConnection(Own("service"))
    question = connection.bootstrap()
    connection.call(Pipelined(question), interface, method, content)
    stream.write(connection.data_to_send())
    for event in connection.receive(data): ...         # Called: answer or fail it; Returned, Failed, ...

What a peer can make it keep is bounded by ``RpcLimits``; a peer that breaks the protocol or a limit gets an abort and
the event Ended. Source: the standard's rpc.capnp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.wire.capnp_build import EMPTY
from qpq.wire.capnp_errors import CapnpError
from qpq.wire.capnp_segments import MessageSplitter
from qpq.wire.rpc_answers import Answers, Params
from qpq.wire.rpc_capabilities import Capabilities
from qpq.wire.rpc_codec import decode_message, encode_message
from qpq.wire.rpc_errors import CallDisconnected, RpcProtocolError
from qpq.wire.rpc_events import Broken, Ended, Own, Promise, Remote, Resolved
from qpq.wire.rpc_limits import RpcLimits
from qpq.wire.rpc_messages import (
    Abort,
    Bootstrap,
    Call,
    Disembargo,
    Failure,
    Finish,
    Foreign,
    ImportedCap,
    Release,
    Resolve,
    Return,
    Unimplemented,
)
from qpq.wire.rpc_questions import Questions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpq.wire.rpc_events import Capability, RpcEvent
    from qpq.wire.rpc_messages import PromisedAnswer, RpcMessage


class RpcConnection:
    """One end of a connection; ``bootstrap`` is the object that the peer gets when it asks for one."""

    def __init__(self, bootstrap: Own | None = None, limits: RpcLimits | None = None) -> None:
        self.limits = limits or RpcLimits()
        self._events: list[RpcEvent] = []
        self._out: list[bytes] = []
        self._splitter = MessageSplitter(self.limits.message)
        self._caps = Capabilities(self.limits, self._send, self._events.append)
        self._answers = Answers(self.limits, self._caps, self._send, self._events.append, bootstrap)
        self._questions = Questions(self.limits, self._caps, self._send, self._events.append, self._answers)
        self._answers.questions = self._questions
        self._caps.answer_of = self._answers.capability_of
        self._caps.settle = self._questions.settle
        self._caps.where = self._questions.where
        self.is_open = True

    # bytes

    def receive(self, data: bytes) -> list[RpcEvent]:
        """Take bytes of the stream, return what they mean and what was due before."""
        try:
            for message in self._splitter.feed(data) if self.is_open else ():
                self._handle(decode_message(message, self.limits))
                if not self.is_open:  # whoever gave up has nothing more to say, whatever came with it
                    break
        except (CapnpError, RpcProtocolError) as fault:
            self.abort(str(fault))
        return self.events()

    @property
    def max_message(self) -> int:
        """Bytes of one message that is taken: as in the limits, unless it was set for peers that are to prove more."""
        return self._splitter.max_bytes

    @max_message.setter
    def max_message(self, most: int) -> None:
        self._splitter.max_bytes = most

    def events(self) -> list[RpcEvent]:
        """Return what has happened, for instance by a call to an object of this side."""
        events = self._events[:]
        self._events.clear()
        return events

    def data_to_send(self) -> bytes:
        """Return the bytes for the stream."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def _send(self, message: RpcMessage) -> None:
        if self.is_open:
            self._out.append(encode_message(message))

    # calls of this side

    def bootstrap(self) -> int:
        """Ask for the peer's bootstrap object; ``Pipelined`` of the question can be called at once.

        The question is kept until ``finish``. Raises CallOverloaded and CallDisconnected.
        """
        self._need_open()
        return self._questions.bootstrap()

    def call(
        self,
        target: Capability,
        interface: int,
        method: int,
        content: bytes = EMPTY,
        caps: Sequence[Capability] = (),
        *,
        deadline: float | None = None,
        keep: bool = False,
    ) -> int:
        """Call a method; Returned or Failed with the returned number follows.

        ``content`` is a message whose root are the parameters, ``caps`` what its capabilities' indexes mean.
        ``deadline`` (seconds of the caller's clock): when ``tick`` gives up. With ``keep`` the answer's capabilities
        can be called as ``Pipelined`` until ``finish``. Raises CallOverloaded, CallDisconnected, CallFailed.
        """
        self._need_open()
        params = Params(interface, method, content, tuple(caps))
        return self._questions.call(target, params, deadline=deadline, keep=keep)

    def finish(self, question: int) -> None:
        """Need an answer no longer; before it came, this cancels the call, and no event follows."""
        self._questions.finish(question)

    # answers to the peer

    def answer(self, answer: int, content: bytes = EMPTY, caps: Sequence[Capability] = ()) -> None:
        """Answer a Called; nothing happens when it was cancelled. Capabilities remain the caller's to release."""
        self._answers.complete(answer, content, tuple(caps))

    def fail(self, answer: int, failure: Failure) -> None:
        """Answer a Called with an exception."""
        self._answers.fail(answer, failure)

    # capabilities

    def release(self, capability: Capability) -> None:
        """Use a Remote that an event brought no longer."""
        self._caps.release(capability)

    def promise(self) -> Promise:
        """Return a capability that can be handed out before it is known."""
        return Promise()

    def resolve(self, promise: Promise, outcome: Capability) -> None:
        """Settle a promise, once: who holds it is told, calls that wait for it go on."""
        self._answers.resolve(promise, outcome)

    # time

    def tick(self, now: float) -> list[RpcEvent]:
        """Give up the calls whose deadline has come."""
        self._questions.expire(now)
        return self.events()

    def next_deadline(self) -> float | None:
        """Return when ``tick`` has something to do; None: never."""
        return self._questions.next_deadline()

    # the end

    def abort(self, reason: str) -> None:
        """Tell the peer that this end gives up, and end."""
        self._send(Abort(Failure(0, reason)))
        self.end(reason)

    def end(self, reason: str) -> None:
        """The stream is gone: fail and cancel what is outstanding."""
        if self.is_open:
            self.is_open = False
            failure = Failure(CallDisconnected.kind, reason)
            self._questions.end(failure)
            self._answers.end()
            self._events.append(Ended(reason))

    def _need_open(self) -> None:
        if not self.is_open:
            raise CallDisconnected("the connection has ended")

    # messages

    def _handle(self, message: RpcMessage) -> None:
        match message:
            case Call():
                self._answers.called(message)
            case Return():
                self._questions.returned(message)
            case Finish(question, release):
                self._answers.finished(question, release=release)
            case Bootstrap(question):
                self._answers.bootstrap(question)
            case Release(number, count):
                self._caps.drop(number, count)
            case _:
                self._handle_rare(message)

    def _handle_rare(self, message: Resolve | Disembargo | Unimplemented | Foreign | Abort) -> None:
        match message:
            case Resolve():
                self._resolved(message)
            case Disembargo(_, embargo, True):
                self._questions.lift(embargo)
            case Disembargo(target, embargo):
                self._loop_back(target, embargo)
            case Unimplemented(inner):
                self._unimplemented(decode_message(inner, self.limits))
            case Foreign():
                self._send(Unimplemented(message.message))
            case _:
                self.end(f"the peer gave up: {message.failure.reason}")

    def _resolved(self, message: Resolve) -> None:
        outcome = message.outcome
        capability = Broken(outcome) if isinstance(outcome, Failure) else self._caps.take(outcome)
        entry = self._caps.imports.get(message.promise)
        if entry is None:  # released meanwhile
            self._caps.release(capability)
            return
        if not entry.is_promise or entry.outcome is not None:
            raise RpcProtocolError(f"capability {message.promise} is no promise that waits")
        entry.outcome = capability
        if entry.called:
            self._questions.embargo(capability, ImportedCap(message.promise))
        self._events.append(Resolved(Remote(message.promise), capability))

    def _loop_back(self, target: ImportedCap | PromisedAnswer, embargo: int) -> None:
        """Send a disembargo on to where the calls before it went: back to the peer."""
        found = self._caps.exported(target.number) if isinstance(target, ImportedCap) else self._answers.done_at(target)
        capability = self._caps.settled(found)
        if not isinstance(capability, Remote):
            raise RpcProtocolError("a disembargo for a capability that is none of the sender's")
        self._send(Disembargo(ImportedCap(capability.number), embargo, reply=True))

    def _unimplemented(self, message: RpcMessage) -> None:
        """The peer does not know what this end has sent."""
        match message:
            case Call(question=question) | Bootstrap(question):
                self._questions.refused(question)
            case Resolve(outcome=outcome) if not isinstance(outcome, Failure):
                self._caps.take_back((outcome,))
            case _:
                raise RpcProtocolError("the peer lacks a message that level 1 needs")
