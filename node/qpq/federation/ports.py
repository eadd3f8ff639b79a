"""What this room asks of the daemon that it runs in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.parcel import Parcel
    from qpq.wire.outside import Outside


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of something for the own mesh: taken (no ``reason``), or not; with ``retry`` it may be later."""

    reason: str = ""
    retry: bool = False


class Queue(Protocol):
    """What waits for other domains, durable; times are seconds of life."""

    def hold(self, item: Outside, recipient: Address, *, ttl: int, age: int, hops: int, home: str = "") -> int:
        """Keep something for another domain and return its number; raises QpqError when there is no room.

        ``home``: the domain that a broadcast is from, empty: this one.
        """
        ...

    def note(self, item: Outside, recipient: Address, *, ttl: int, age: int) -> int:
        """Remember that something has arrived here, and return its number."""
        ...

    def known(self, item: Outside) -> int | None:
        """Return the number of what was taken not long ago."""
        ...

    def due(self, domain: str, most: int) -> list[Parcel]:
        """Return what is to be sent now, oldest first."""
        ...

    def next_due(self, domain: str) -> float | None:
        """Return in how many seconds the next is due; None: nothing waits."""
        ...

    def done(self, numbers: Iterable[int]) -> None:
        """Note that these were handed on."""
        ...

    def later(self, when: Iterable[tuple[int, float]]) -> None:
        """Have each tried anew in so many seconds."""
        ...

    def left(self, parcel: Parcel) -> int:
        """Return how many seconds a parcel has left to live."""
        ...


class Mesh(Protocol):
    """The own mesh."""

    async def take(self, item: Outside, recipient: Address, age: int) -> Answer:
        """Hand over what came for a user of it."""
        ...

    async def give_up(self, parcel: Parcel, reason: str) -> Answer:
        """Tell the sender of a parcel, who is of this mesh, that it will not be delivered."""
        ...

    def resolve(self, name: str) -> Identity | None:
        """Return the key of a user by name."""
        ...

    async def keys(self, user: Address, *, single: bool) -> bytes | None:
        """Return the signed bundle by which sessions (``single``: one) with a user begin; empty: none, None: later."""
        ...


class Dialler(Protocol):
    """Opens connections to other relays."""

    def open(self, address: str, domain: str, failed: Callable[[str], None]) -> None:
        """Call a relay of ``domain``; the federation is told of the connection, or ``failed`` of why there is none."""
        ...


class Meter(Protocol):
    """Counts for people."""

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, seconds: float) -> None:
        """Note how long something took."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What this room works with; ``chance`` gives a random number from 0 to 1."""

    queue: Queue
    mesh: Mesh
    meter: Meter
    dialler: Dialler
    chance: Callable[[], float]
