"""The machines of a core, wired together; each has a module of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.crypto.identity import address_of
from qpq.mesh.chance import Chance
from qpq.mesh.channels import Channels
from qpq.mesh.claiming import Claiming
from qpq.mesh.clock import Clock
from qpq.mesh.custody import Custody
from qpq.mesh.dialling import Dialling
from qpq.mesh.due import Timer
from qpq.mesh.effects import Effects
from qpq.mesh.flooded import Flooded
from qpq.mesh.flooding import Flooding
from qpq.mesh.inbox import Inbox
from qpq.mesh.intake import Intake
from qpq.mesh.keeping import Keeping
from qpq.mesh.limits import KIB
from qpq.mesh.links import Action
from qpq.mesh.neighbours import Neighbours
from qpq.mesh.outbox import Outbox
from qpq.mesh.penalties import Penalties
from qpq.mesh.posting import Posting
from qpq.mesh.probing import Probing
from qpq.mesh.receiving import Receiving
from qpq.mesh.reconciling import Reconciling
from qpq.mesh.relaying import Relaying
from qpq.mesh.routing import Routing
from qpq.mesh.sending import Sending
from qpq.mesh.served import Served
from qpq.mesh.supplying import Supplying
from qpq.mesh.timers import Timers
from qpq.mesh.tombstones import Tombstones
from qpq.mesh.undoing import Undoing
from qpq.mesh.users import Users
from qpq.wire.frames import MAX_FRAME, WIRE_VERSION, Hello, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import Identity, SecretIdentity
    from qpq.mesh.limits import Limits
    from qpq.mesh.neighbours import Listener


_FULL_LOAD = 255
_MAX_U32 = 0xFFFF_FFFF
_MAX_U16 = 0xFFFF


class Machines:
    """All machines of one node; ``listener`` hears of links that become usable and of those that end."""

    def __init__(
        self,
        node: SecretIdentity,
        *,
        boot: int,
        random: Callable[[int], bytes],
        limits: Limits,
        role: Role,
        listener: Listener,
    ) -> None:
        self._boot = boot
        self._limits = limits
        self._role = role
        self.effects = effects = Effects()
        self.timers = timers = Timers[Timer]()
        self.clock = clock = Clock(limits)
        chance = Chance(random)
        penalties = Penalties(limits)
        self.users = users = Users(node, boot=boot, cap=limits.max_users)
        self.served = served = Served(limits.max_users)
        self.inbox = inbox = Inbox(limits)
        self.custody = custody = Custody()
        self.outbox = outbox = Outbox(limits, custody)
        self.tombstones = tombstones = Tombstones(limits.tombstones)
        self.dialling = Dialling(node.identity, limits=limits, chance=chance, effects=effects, waiting=self._waits_for)
        self.neighbours = Neighbours(
            node.identity,
            limits=limits,
            hello=self._hello,
            stretch=chance.stretch,
            dialling=self.dialling,
            penalties=penalties,
            timers=timers,
            effects=effects,
            listener=listener,
        )
        self.routing = routing = Routing(
            node,
            boot=boot,
            limits=limits,
            chance=chance,
            timers=timers,
            effects=effects,
            users=users,
            served=served,
            leaf=role is Role.LEAF,
        )
        self.probing = Probing(node, limits=limits, timers=timers, effects=effects, users=users, routing=routing)
        routing.listeners.append(self.probing)
        self.sending = sending = Sending(
            limits=limits,
            clock=clock,
            chance=chance,
            timers=timers,
            effects=effects,
            served=served,
            custody=custody,
            routing=routing,
        )
        routing.listeners.append(sending)
        self.posting = Posting(
            limits=limits,
            clock=clock,
            chance=chance,
            effects=effects,
            users=users,
            routing=routing,
            inbox=inbox,
            outbox=outbox,
            sending=sending,
        )
        self.relaying = sending.listener = Relaying(
            node.address,
            leaf=role is Role.LEAF,
            limits=limits,
            clock=clock,
            effects=effects,
            custody=custody,
            tombstones=tombstones,
            sending=sending,
            posting=self.posting,
        )
        self.receiving = Receiving(
            clock=clock,
            effects=effects,
            users=users,
            inbox=inbox,
            tombstones=tombstones,
            custody=custody,
            relaying=self.relaying,
        )
        self.claiming = self.receiving.claiming = Claiming(
            timers=timers,
            effects=effects,
            custody=custody,
            tombstones=tombstones,
            receiving=self.receiving,
            relaying=self.relaying,
        )
        self.flooded = flooded = Flooded(limits)
        self.relaying.proofs.listener = flooded.proof_changed
        self.keeping = keeping = Keeping(
            leaf=role is Role.LEAF, limits=limits, clock=clock, timers=timers, effects=effects, flooded=flooded
        )
        self.supplying = supplying = Supplying(
            limits=limits, clock=clock, timers=timers, effects=effects, flooded=flooded, proofs=self.relaying.proofs
        )
        self.reconciling = reconciling = Reconciling(
            limits=limits,
            clock=clock,
            chance=chance,
            timers=timers,
            effects=effects,
            flooded=flooded,
            supplying=supplying,
        )
        self.flooding = flooding = Flooding(
            leaf=role is Role.LEAF,
            limits=limits,
            clock=clock,
            timers=timers,
            effects=effects,
            flooded=flooded,
            keeping=keeping,
            supplying=supplying,
            reconciling=reconciling,
            cost=routing.link_cost,
        )
        routing.queries.tree = flooding
        self.channels = keeping.listener = flooding.listener = Channels(
            limits=limits,
            clock=clock,
            chance=chance,
            effects=effects,
            users=users,
            inbox=inbox,
            tombstones=tombstones,
            flooded=flooded,
            flooding=flooding,
        )
        self.undoing = Undoing(
            effects=effects,
            neighbours=self.neighbours,
            custody=custody,
            tombstones=tombstones,
            posting=self.posting,
            receiving=self.receiving,
            relaying=self.relaying,
            keeping=keeping,
            channels=self.channels,
        )
        self.intake = Intake(
            effects=effects,
            neighbours=self.neighbours,
            served=served,
            sending=self.sending,
            receiving=self.receiving,
            relaying=self.relaying,
            routing=routing,
            flooding=flooding,
            machines={
                Action.TRANSFER: flooding.transfer,
                Action.IHAVE: flooding.ihave,
                Action.GRAFT: flooding.graft,
                Action.PRUNE: flooding.prune,
                Action.RECONCILE: reconciling.reconcile,
                Action.ROUTE: routing.hearing.route,
                Action.RETRACT: routing.hearing.retract,
                Action.QUERY: routing.queries.query,
                Action.PROBE: self.probing.probe,
            },
        )

    def _hello(self, others: int, now: float) -> Hello:
        limits = self._limits
        return Hello(
            version_min=WIRE_VERSION,
            version_max=WIRE_VERSION,
            features=0,
            boot=self._boot,
            time=self.clock.stamp(now),
            time_trusted=self.clock.trusted,
            load=min(_FULL_LOAD, self.neighbours.count * _FULL_LOAD // limits.max_links),
            links=min(others, _MAX_U16),
            role=self._role,
            max_frame=MAX_FRAME,
            store_free=min(self.relaying.free // KIB, _MAX_U32),
        )

    def _waits_for(self, peer: Identity) -> bool:
        return self.custody.destination(address_of(peer)) is not None
