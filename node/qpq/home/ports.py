"""What the client port needs of the rest of the node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Queues(Protocol):
    """The durable inboxes and endpoints. All raise QpqError where the store cannot do it.

    ``arrived`` is set by the home server, and called with an inbox as soon as a new message can be seen in it, also
    when nobody waits for ``post`` any more: who sent it may have gone, and who reads must hear of it all the same.
    """

    arrived: Callable[[bytes], None]

    async def post(self, recipient: bytes, payload: bytes, ttl: int) -> int:
        """Keep a message for ``ttl`` seconds, durably, and return its number; CallOverloaded: there is no room."""
        ...

    def waiting(self, recipient: bytes, most: int, room: int) -> Sequence[tuple[int, bytes]]:
        """Return the oldest messages with their numbers, ``most`` of them and ``room`` bytes, but at least one."""
        ...

    def last(self, recipient: bytes) -> int:
        """Return the number of the newest message that was ever there; 0: none."""
        ...

    def acknowledge(self, recipient: bytes, up_to: int) -> int:
        """Delete messages up to a number; return how many."""
        ...

    def publish(self, identity: bytes, address: bytes, seconds: int) -> None:
        """Keep an endpoint for so long; an empty one takes it away."""
        ...

    def endpoint(self, identity: bytes) -> bytes:
        """Return an endpoint; empty: unknown."""
        ...
