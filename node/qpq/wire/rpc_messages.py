"""The messages of Cap'n Proto RPC, level 1, as dataclasses; schemas/rpc.capnp has their names and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from qpq.wire.capnp_build import EMPTY


@dataclass(frozen=True, slots=True)
class PromisedAnswer:
    """The capability that an answer holds at the end of a path of pointer numbers."""

    question: int
    path: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportedCap:
    """A capability that the receiver exported under this number."""

    number: int


Target: TypeAlias = ImportedCap | PromisedAnswer

NONE, SENDER_HOSTED, SENDER_PROMISE, RECEIVER_HOSTED, RECEIVER_ANSWER, THIRD_PARTY = range(6)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """An entry of a table of capabilities: ``number`` is an export's or import's, ``answer`` for RECEIVER_ANSWER.

    Of THIRD_PARTY ``number`` is the vine: a capability of the sender's that stands in for the other's.
    """

    kind: int
    number: int = 0
    answer: PromisedAnswer | None = None


@dataclass(frozen=True, slots=True)
class Payload:
    """Parameters or results: ``content`` is a message of its own, whose capabilities are indexes of ``table``."""

    content: bytes = EMPTY
    table: tuple[Descriptor, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception: type and text."""

    kind: int
    reason: str


@dataclass(frozen=True, slots=True)
class Unimplemented:
    """The peer does not know the message that this holds."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Abort:
    """The peer gives up the connection."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Ask for the peer's first capability."""

    question: int


CALLER, YOURSELF, ELSEWHERE = range(3)


@dataclass(frozen=True, slots=True)
class Call:
    """Call a method; ``results_to`` is CALLER, YOURSELF (keep them for another question) or ELSEWHERE (level 3)."""

    question: int
    target: Target
    interface: int
    method: int
    params: Payload
    results_to: int = CALLER


CANCELED, SENT_ELSEWHERE = 2, 3


@dataclass(frozen=True, slots=True)
class TakeFrom:
    """The results are those of a call that the receiver was asked to keep the results of."""

    question: int


@dataclass(frozen=True, slots=True)
class Return:
    """The end of a call: results, an exception, CANCELED, SENT_ELSEWHERE, or another answer's results."""

    answer: int
    outcome: Payload | Failure | TakeFrom | int
    release_params: bool = True
    no_finish: bool = False


@dataclass(frozen=True, slots=True)
class Finish:
    """The caller needs the answer no longer; without a return yet, the call may be given up."""

    question: int
    release_results: bool = True


@dataclass(frozen=True, slots=True)
class Resolve:
    """A promise that the sender exported has become a capability or an exception."""

    promise: int
    outcome: Descriptor | Failure


@dataclass(frozen=True, slots=True)
class Release:
    """The sender holds ``count`` references less to a capability that the receiver exported."""

    number: int
    count: int


@dataclass(frozen=True, slots=True)
class Disembargo:
    """A message that follows the calls before it through a promise and back; ``reply`` on the way back."""

    target: Target
    embargo: int
    reply: bool


@dataclass(frozen=True, slots=True)
class Foreign:
    """A message of another level; ``message`` is the whole of it, to be sent back as unimplemented."""

    kind: int
    message: bytes


RpcMessage: TypeAlias = (
    Unimplemented | Abort | Bootstrap | Call | Return | Finish | Resolve | Release | Disembargo | Foreign
)
