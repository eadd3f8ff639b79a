"""The frames that tell routes, spread flooded envelopes and probe, as values (docs/protocol.md, section Frames).

As with those of ``wire.frames``, a value that exists fits the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from qpq.wire.fields import KEY, U8, U16, U32, exactly, within

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, Identity

MAX_RETRACTED: Final = 16
MAX_SHORT_IDS: Final = 32
SHORT_ID_SIZE: Final = 16
"""Bytes of an envelope id that IHAVE, GRAFT and RECONCILE name it by: its first."""
MAX_RANGES: Final = 900
"""Bytes of one RECONCILE's ranges: a packet's worth."""
MAX_PATH: Final = 64
TOKEN_SIZE: Final = 8
KEM_HASH_SIZE: Final = 12

_SIGNATURE = 64


@dataclass(frozen=True, slots=True)
class Announce:
    """A user says, signed with the address key, which node serves it (wire.announce).

    ``boot`` and ``counter`` order announces; ``kem_hash`` is the first 12 bytes of the hash of
    the KEM key or empty; ``hops`` is outside the signature.
    """

    hops: int
    address: Address
    node: Identity
    boot: int
    counter: int
    capabilities: int
    kem_hash: bytes
    signature: bytes

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        within("hops", self.hops, 0, U8)
        exactly("address", self.address, KEY)
        exactly("node", self.node, KEY)
        within("boot", self.boot, 0, U32)
        within("counter", self.counter, 0, U32)
        within("capabilities", self.capabilities, 0, U32)
        if self.kem_hash:
            exactly("kem_hash", self.kem_hash, KEM_HASH_SIZE)
        exactly("signature", self.signature, _SIGNATURE)


@dataclass(frozen=True, slots=True)
class Route:
    """A neighbour's route to an announced address.

    ``hops`` links (1 or more) and ``cost`` (sixteenths of a perfect link, 65535: unusable) are the
    neighbour's own word, nobody signs them; ``announce`` is what the owner signed, its ``hops`` 0.
    """

    hops: int
    cost: int
    announce: Announce

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        within("hops", self.hops, 1, U8)
        within("cost", self.cost, 0, U16)
        within("hops of the announce", self.announce.hops, 0, 0)


@dataclass(frozen=True, slots=True)
class Retract:
    """The sender's routes to 1 to 16 addresses are gone."""

    addresses: tuple[Address, ...]

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        within("number of addresses", len(self.addresses), 1, MAX_RETRACTED)
        for address in self.addresses:
            exactly("address", address, KEY)


@dataclass(frozen=True, slots=True)
class Query:
    """A node asks the mesh for a route to ``target``; signed by the asking node (wire.query).

    ``boot`` and ``counter`` order one asker's queries; ``hops`` is outside the signature.
    """

    hops: int
    target: Address
    asker: Identity
    boot: int
    counter: int
    signature: bytes

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        within("hops", self.hops, 0, U8)
        exactly("target", self.target, KEY)
        exactly("asker", self.asker, KEY)
        within("boot", self.boot, 0, U32)
        within("counter", self.counter, 0, U32)
        exactly("signature", self.signature, _SIGNATURE)


@dataclass(frozen=True, slots=True)
class IHave:
    """Short ids (16 bytes, 1 to 32) of flooded envelopes that the sender holds."""

    short_ids: tuple[bytes, ...]

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _short_ids(self.short_ids)


@dataclass(frozen=True, slots=True)
class Graft:
    """The sender wants these flooded envelopes (1 to 32 short ids); ``eager``: and new ones from now on."""

    eager: bool
    short_ids: tuple[bytes, ...]

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _short_ids(self.short_ids)


@dataclass(frozen=True, slots=True)
class Prune:
    """The sender gets new flooded envelopes elsewhere: only their ids from now on (PlumTree)."""


@dataclass(frozen=True, slots=True)
class Reconcile:
    """One step of range-based set reconciliation; ``ranges`` is read by wire.reconcile (1 to 900 bytes)."""

    ranges: bytes

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        within("length of the ranges", len(self.ranges), 1, MAX_RANGES)


class ProbeKind(IntEnum):
    """Which way a probe goes."""

    REQUEST = 0
    ANSWER = 1
    UNREACHABLE = 2


@dataclass(frozen=True, slots=True)
class Probe:
    """A ping (``trace`` False) or a trace on its way to ``target``, or back.

    ``token`` is 8 random bytes of the asker; ``hops`` links crossed this way; with ``trace`` each
    node a REQUEST crosses adds its id to ``path`` (at most 64), and the answer carries it back.
    """

    kind: ProbeKind
    hops: int
    trace: bool
    token: bytes
    target: Address
    path: tuple[Identity, ...]

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        within("hops", self.hops, 0, U8)
        exactly("token", self.token, TOKEN_SIZE)
        exactly("target", self.target, KEY)
        within("length of the path", len(self.path), 0, MAX_PATH)
        for node in self.path:
            exactly("node", node, KEY)


def _short_ids(short_ids: tuple[bytes, ...]) -> None:
    within("number of ids", len(short_ids), 1, MAX_SHORT_IDS)
    for short_id in short_ids:
        exactly("short id", short_id, SHORT_ID_SIZE)
