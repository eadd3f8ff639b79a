"""Other domains in a simulation: what leaves the mesh through a gateway comes back into it through any of them.

So one mesh is both ends, which costs it what two would pay. The relays between are not simulated: what a gateway keeps
is carried after ``RELAY_S``, again and again until a gateway that runs has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.crypto.identity import SecretIdentity
from qpq.mesh import events

if TYPE_CHECKING:
    from qpq.mesh.effects import OutsideAnswered
    from qpq.mesh.records import FederationInsert
    from sim.hosts import CoreHost

HERE: Final = "here.example"
THERE: Final = "there.example"
"""The domain that messages are sent to, and seem to come from; its gateways are those of the mesh."""
RELAY_S: Final = 0.2
AGAIN_S: Final = 10.0
_MESSAGE = 0

Key = tuple[int, bytes]


class Relay:
    """A gateway's way out: carries what its store keeps for other domains."""

    def __init__(self, host: CoreHost) -> None:
        self.secret = SecretIdentity(host.random.randbytes(32))
        self._host = host
        self._under_way: dict[bytes, Key] = {}
        self._done: set[Key] = set()
        self._looking = False

    def look(self, wait: float = RELAY_S) -> None:
        """Carry what there is, soon."""
        if not self._looking:
            self._looking = True
            self._host.world.agenda.after(wait, self._carry, None)

    def answered(self, effect: OutsideAnswered) -> None:
        """Take a gateway's word about what was carried."""
        if not effect.retry:
            self._done.add(self._under_way.pop(effect.token))

    def _carry(self, _nothing: None) -> None:
        self._looking = False
        world = self._host.world
        waiting = [(key, row) for key, row in self._host.store.federation.items() if key not in self._done]
        there = [host for host in world.gateways if host.awake]
        if self._host.awake and there:
            for key, row in waiting:
                token = world.random.randbytes(16)
                self._under_way[token] = key
                other = world.random.choice(there)
                assert other.relay is not None
                other.relay.take(self, token, row)
        if waiting:
            self.look(AGAIN_S)

    def take(self, origin: Relay, token: bytes, row: FederationInsert) -> None:
        """Bring something into the mesh; ``origin`` is told what becomes of it."""
        host = self._host
        host.world.carried[token] = origin
        if row.kind == _MESSAGE:
            host.act(events.FromOutside(token, THERE, row.data, 1))
        else:
            host.act(events.OutsideProof(token, THERE, row.recipient, row.data[:16], row.data[16:]))
