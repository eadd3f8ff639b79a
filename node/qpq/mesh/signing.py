"""Envelopes of local users: signed, dated, and with as many hops as they may need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.wire.envelope import sign_envelope
from qpq.wire.receipts import commitment

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.mesh.clock import Clock
    from qpq.mesh.routing import Routing
    from qpq.wire.envelope import Envelope

MADE_HERE: Final = 255
"""What is made here has crossed no link: its own limit is for others to keep."""

_SPARE_HOPS = 4
_MAX_HOPS = 64
_LEAST_HOPS = 32
_UNKNOWN_HOPS = 64
"""``max_hops``: twice the route's length and four, 32 to 64, for nobody signs a length; 64 without a route."""


class Signing:
    """Makes envelopes; raises WireError for what the wire cannot carry."""

    __slots__ = ("_clock", "_routing")

    def __init__(self, clock: Clock, routing: Routing) -> None:
        self._clock = clock
        self._routing = routing

    def envelope(
        self,
        own: SecretIdentity,
        recipient: Address,
        payload: bytes,
        now: float,
        *,
        secret: bytes,
        ttl: int,
        urgent: bool = False,
        age: int = 0,
    ) -> Envelope:
        """Sign an envelope with this receipt secret; ``age``: its message is so many seconds old already."""
        distance = self._routing.distance(recipient)
        stamp = self._clock.stamp(now)
        return sign_envelope(
            own,
            recipient=recipient,
            payload=payload,
            commitment=commitment(secret),
            ttl=ttl,
            max_hops=min(max(2 * distance + _SPARE_HOPS, _LEAST_HOPS), _MAX_HOPS) if distance else _UNKNOWN_HOPS,
            timestamp=max(1, stamp - age) if stamp else 0,
            urgent=urgent,
        )
