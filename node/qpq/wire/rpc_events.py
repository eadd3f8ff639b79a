"""What a connection of Cap'n Proto RPC tells its user, and the capabilities that both speak of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from qpq.wire.rpc_messages import Failure


@dataclass(frozen=True, slots=True)
class Own:
    """An object of this side; ``key`` is whatever its user knows it by."""

    key: Hashable


@dataclass(frozen=True, slots=True)
class Remote:
    """An object or promise of the peer's, by the number that the peer gave it."""

    number: int


@dataclass(frozen=True, slots=True)
class Pipelined:
    """What the answer to a question of ours will hold at the end of a path of pointer numbers."""

    question: int
    path: tuple[int, ...] = ()


@dataclass(eq=False, slots=True)
class Promise:
    """A capability of this side that is not known yet; ``RpcConnection.resolve`` settles it.

    What it became is used as long as somebody has the promise: ``let_go`` gives it back.
    """

    outcome: Capability | None = None
    let_go: Callable[[Capability], None] | None = None
    waiting: list[Callable[[Capability], None]] = field(default_factory=list)

    def __del__(self) -> None:
        """Give back what it became."""
        if self.let_go is not None and self.outcome is not None:
            self.let_go(self.outcome)


@dataclass(frozen=True, slots=True)
class Broken:
    """A capability that turned out to be none: every call to it fails this way."""

    failure: Failure


Capability: TypeAlias = Own | Remote | Pipelined | Promise | Broken


@dataclass(frozen=True, slots=True)
class Called:
    """The peer (or this side itself) calls ``target``; ``answer`` or ``fail`` has to follow.

    ``caps`` are the capabilities that ``content`` refers to by index; each Remote among them is to be released.
    """

    answer: int
    target: Hashable
    interface: int
    method: int
    content: bytes
    caps: tuple[Capability, ...]


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nobody waits for this answer any more: the work may stop."""

    answer: int


@dataclass(frozen=True, slots=True)
class Returned:
    """A question was answered; each Remote of ``caps`` is to be released."""

    question: int
    content: bytes
    caps: tuple[Capability, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """A question was not answered but with an exception, or not at all (``timed_out``, the connection's end)."""

    question: int
    failure: Failure
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Resolved:
    """A promise of the peer's has become known; calls to the promise go there by themselves."""

    promise: Remote
    outcome: Capability


@dataclass(frozen=True, slots=True)
class Dropped:
    """The peer holds no reference to this object any more."""

    key: Hashable


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is over, and why; everything outstanding was failed and cancelled before."""

    reason: str


RpcEvent: TypeAlias = Called | Cancelled | Returned | Failed | Resolved | Dropped | Ended
