"""The gateways of the mesh as this node sees them: itself, then those to which there is a route, the nearest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qpq.crypto.identity import Address
    from qpq.mesh.crossings import Parts
    from qpq.mesh.users import LocalUser

_TIRED = 64
"""Gateways remembered as silent; of more the one that was silent first is forgotten."""


class Gateways:
    """Chooses one; those that sent no receipt are the last for a while."""

    __slots__ = ("_parts", "_tired")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._tired: dict[Address, float] = {}

    def all(self) -> tuple[Address, ...]:
        """Return all that are known, the nearest first."""
        here = self._parts.users.gateway
        found = self._parts.routing.gateways()
        return found if here is None else (here.secret.address, *found)

    def here(self, gateway: Address) -> LocalUser | None:
        """Return the gateway if it is this very node."""
        here = self._parts.users.gateway
        return here if here is not None and here.secret.address == gateway else None

    def choose(self, refused: tuple[Address, ...], now: float) -> Address | None:
        """Return the nearest that is not ``refused``, one that is not tired if there is any; None: none is known."""
        left = [gateway for gateway in self.all() if gateway not in refused]
        fresh = [gateway for gateway in left if self._tired.get(gateway, now) <= now]
        return next(iter(fresh or left), None)

    def tire(self, gateway: Address, now: float) -> None:
        """Note that a gateway was silent."""
        self._tired.pop(gateway, None)
        if len(self._tired) >= _TIRED:
            del self._tired[next(iter(self._tired))]
        self._tired[gateway] = now + self._parts.limits.gateway_tired_s

    def good(self, gateway: Address) -> None:
        """Note that a gateway answers, or has come back."""
        self._tired.pop(gateway, None)
