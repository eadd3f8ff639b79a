"""The tables of capabilities of one RPC connection: what the peer holds of ours, what we hold of the peer's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpq.wire.rpc_errors import RpcProtocolError
from qpq.wire.rpc_events import Broken, Dropped, Own, Pipelined, Promise, Remote
from qpq.wire.rpc_messages import (
    NONE,
    RECEIVER_ANSWER,
    RECEIVER_HOSTED,
    SENDER_HOSTED,
    SENDER_PROMISE,
    Descriptor,
    Failure,
    Release,
    Resolve,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.wire.rpc_events import Capability, RpcEvent
    from qpq.wire.rpc_limits import RpcLimits
    from qpq.wire.rpc_messages import PromisedAnswer, RpcMessage

NULL: Final = Broken(Failure(0, "called a null capability"))
ENDLESS: Final = Broken(Failure(0, "the capability is a promise of itself"))
RELEASED: Final = Broken(Failure(0, "the capability was released"))
MAX_CHAIN: Final = 32
"""Promises that became promises, one after the other; a longer way is taken for a circle."""


@dataclass(slots=True)
class Export:
    """A capability of ours under a number; ``references`` is how often the peer holds it."""

    capability: Own | Promise
    references: int = 0


@dataclass(slots=True)
class Import:
    """A capability of the peer's: how often it was sent, how often it is in use here, what a promise became.

    ``called``: calls went to it, which may come back.
    """

    is_promise: bool
    references: int = 0
    holds: int = 0
    outcome: Capability | None = None
    called: bool = False


class Capabilities:
    """Turns capabilities into descriptors and back, and counts references.

    Set by who puts the tables together: ``answer_of`` gives the capability of an answer of ours that the peer names,
    ``settle`` what a pipelined one has become (None: not known yet), ``where`` how the peer knows it until then.
    """

    answer_of: Callable[[PromisedAnswer], Capability]
    settle: Callable[[Pipelined], Capability | None]
    where: Callable[[Pipelined], PromisedAnswer]

    def __init__(self, limits: RpcLimits, send: Callable[[RpcMessage], None], tell: Callable[[RpcEvent], None]) -> None:
        self._limits = limits
        self._send = send
        self._tell = tell
        self.exports: dict[int, Export] = {}
        self.imports: dict[int, Import] = {}
        self._numbers: dict[Own | Promise, int] = {}
        self._free: list[int] = []

    # ours

    def describe(self, capability: Capability) -> Descriptor:
        """Return the descriptor of a capability that is about to be sent, and count it as sent."""
        match self.settled(capability):
            case Own() | Promise() as ours if ours in self._numbers or len(self.exports) < self._limits.exports:
                return Descriptor(SENDER_HOSTED if isinstance(ours, Own) else SENDER_PROMISE, self._export(ours))
            case Remote(number):
                return Descriptor(RECEIVER_HOSTED, number)
            case Pipelined() as pipelined:
                return Descriptor(RECEIVER_ANSWER, answer=self.where(pipelined))
        return Descriptor(NONE)

    def settled(self, capability: Capability) -> Capability:
        """Follow promises that are known to what they became."""
        for _ in range(MAX_CHAIN):
            found: Capability | None = None
            if isinstance(capability, Promise):
                found = capability.outcome
            elif isinstance(capability, Pipelined):
                found = self.settle(capability)
            elif isinstance(capability, Remote):
                found = self.imports[capability.number].outcome if capability.number in self.imports else RELEASED
            if found is None:
                return capability
            capability = found
        return ENDLESS

    def _export(self, capability: Own | Promise) -> int:
        number = self._numbers.get(capability)
        if number is None:
            number = self._free.pop() if self._free else len(self.exports)
            self.exports[number] = Export(capability)
            self._numbers[capability] = number
        self.exports[number].references += 1
        return number

    def exported(self, number: int) -> Own | Promise:
        """Return what the peer has under a number; raises RpcProtocolError."""
        if number not in self.exports:
            raise RpcProtocolError(f"there is no capability {number}")
        return self.exports[number].capability

    def drop(self, number: int, count: int) -> None:
        """The peer holds ``count`` references less; raises RpcProtocolError when it never had them."""
        export = self.exports.get(number)
        if export is None or count > export.references:
            raise RpcProtocolError(f"capability {number} released more often than it was sent")
        export.references -= count
        if not export.references:
            del self.exports[number]
            self._free.append(number)
            if self._numbers.get(export.capability) == number:
                del self._numbers[export.capability]
            if isinstance(export.capability, Own):
                self._tell(Dropped(export.capability.key))

    def take_back(self, descriptors: tuple[Descriptor, ...]) -> None:
        """Uncount what was sent: the peer has let go of it by the message that says so."""
        for descriptor in descriptors:
            if descriptor.kind in (SENDER_HOSTED, SENDER_PROMISE):
                self.drop(descriptor.number, 1)

    def resolve(self, promise: Promise, outcome: Capability) -> None:
        """Let a promise become something, and tell the peer if it holds it."""
        number = self._numbers.pop(promise, None)
        promise.outcome, promise.let_go = self.hold(outcome), self.release
        if number is not None:
            found = self.settled(promise)
            self._send(Resolve(number, found.failure if isinstance(found, Broken) else self.describe(found)))

    # the peer's

    def take(self, descriptor: Descriptor) -> Capability:
        """Return the capability that came, and count it; raises RpcProtocolError."""
        kind, number = descriptor.kind, descriptor.number
        if kind == NONE:
            return NULL
        if kind == RECEIVER_HOSTED:
            return self.exported(number)
        if descriptor.answer is not None:
            return self.hold(self.answer_of(descriptor.answer))
        if number not in self.imports:
            if len(self.imports) >= self._limits.imports:
                raise RpcProtocolError(f"{len(self.imports)} capabilities were sent, more are not allowed")
            self.imports[number] = Import(kind == SENDER_PROMISE)
        self.imports[number].references += 1
        self.imports[number].holds += 1
        return Remote(number)

    def hold(self, capability: Capability) -> Capability:
        """Use a capability of the peer's once more; return it, or what stands for one that was released."""
        if isinstance(capability, Remote):
            if capability.number not in self.imports:
                return RELEASED
            self.imports[capability.number].holds += 1
        return capability

    def release(self, capability: Capability) -> None:
        """Use a capability of the peer's no longer; the last use gives it back."""
        if not isinstance(capability, Remote) or capability.number not in self.imports:
            return
        entry = self.imports[capability.number]
        entry.holds -= 1
        if not entry.holds:
            del self.imports[capability.number]
            self._send(Release(capability.number, entry.references))
            if entry.outcome is not None:
                self.release(entry.outcome)
