"""The machines of a core, wired together; each has a module of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qpq.crypto.identity import address_of
from qpq.mesh.asking import Asking
from qpq.mesh.chance import Chance
from qpq.mesh.channels import Channels
from qpq.mesh.claiming import Claiming
from qpq.mesh.clock import Clock
from qpq.mesh.collecting import Effects
from qpq.mesh.controls import Controls
from qpq.mesh.crossings import Crossings, Parts
from qpq.mesh.custody import Custody
from qpq.mesh.deposits import Deposits
from qpq.mesh.dialling import Dialling
from qpq.mesh.due import Timer
from qpq.mesh.flooded import Flooded
from qpq.mesh.flooding import Flooding
from qpq.mesh.giving import Giving
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
from qpq.mesh.records import (
    BundlePut,
    Checkpoint,
    Kept,
    KnownInsert,
    PrekeyPut,
    ProofInsert,
    Queued,
    Relayed,
    SessionPut,
    TombstoneInsert,
)
from qpq.mesh.relaying import Relaying
from qpq.mesh.resealing import Resealing
from qpq.mesh.room import Room
from qpq.mesh.routing import Routing
from qpq.mesh.sending import Sending
from qpq.mesh.served import Served
from qpq.mesh.sessions import Sessions
from qpq.mesh.signing import Signing
from qpq.mesh.supplying import Supplying
from qpq.mesh.timers import Timers
from qpq.mesh.tombstones import Tombstones
from qpq.mesh.undoing import Undoing
from qpq.mesh.users import Users
from qpq.wire.envelope import CHANNEL_TAG_SIZE
from qpq.wire.frames import FEATURES, MAX_FRAME, WIRE_VERSION, Hello, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import Identity, SecretIdentity
    from qpq.crypto.kem import Kem
    from qpq.mesh.events import RoomSet
    from qpq.mesh.limits import Limits
    from qpq.mesh.neighbours import Listener
    from qpq.mesh.records import Row


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
        kem: Kem,
        listener: Listener,
    ) -> None:
        self._boot = boot
        self._limits = limits = replace(limits, room=Room())
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
        self.deposits = deposits = Deposits(limits=limits, timers=timers, effects=effects)
        self.sending = sending = Sending(
            limits=limits,
            clock=clock,
            chance=chance,
            timers=timers,
            effects=effects,
            served=served,
            custody=custody,
            deposits=deposits,
            routing=routing,
        )
        routing.listeners.append(sending)
        self.sessions = sessions = Sessions(
            limits=limits, clock=clock, chance=chance, timers=timers, effects=effects, kem=kem
        )
        signing = Signing(clock, routing)
        self.posting = Posting(
            limits=limits,
            clock=clock,
            effects=effects,
            users=users,
            inbox=inbox,
            outbox=outbox,
            sending=sending,
            sessions=sessions,
            signing=signing,
        )
        self.relaying = sending.listener = Relaying(
            node.address,
            leaf=role is Role.LEAF,
            limits=limits,
            clock=clock,
            effects=effects,
            custody=custody,
            deposits=deposits,
            tombstones=tombstones,
            sending=sending,
            sessions=sessions,
            posting=self.posting,
        )
        self.controls = controls = Controls(
            limits=limits,
            clock=clock,
            effects=effects,
            custody=custody,
            sending=sending,
            relaying=self.relaying,
            signing=signing,
        )
        self.resealing = Resealing(
            clock=clock,
            chance=chance,
            effects=effects,
            outbox=outbox,
            sending=sending,
            relaying=self.relaying,
            sessions=sessions,
            signing=signing,
        )
        self.giving = Giving(
            limits=limits,
            chance=chance,
            timers=timers,
            effects=effects,
            users=users,
            routing=routing,
            sessions=sessions,
            controls=controls,
        )
        routing.listeners.append(self.giving)
        self.asking = self.posting.asking = Asking(
            limits=limits,
            clock=clock,
            chance=chance,
            timers=timers,
            effects=effects,
            users=users,
            custody=custody,
            routing=routing,
            sending=sending,
            sessions=sessions,
            controls=controls,
            resealing=self.resealing,
        )
        self.receiving = Receiving(
            clock=clock,
            effects=effects,
            users=users,
            inbox=inbox,
            tombstones=tombstones,
            custody=custody,
            relaying=self.relaying,
            sessions=sessions,
            asking=self.asking,
            giving=self.giving,
        )
        self.claiming = self.receiving.claiming = Claiming(
            timers=timers,
            effects=effects,
            custody=custody,
            deposits=deposits,
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
        self.crossings = crossings = Crossings(
            Parts(
                limits=limits,
                clock=clock,
                chance=chance,
                timers=timers,
                effects=effects,
                users=users,
                custody=custody,
                routing=routing,
                sessions=sessions,
                signing=signing,
                controls=controls,
                asking=self.asking,
                posting=self.posting,
                relaying=self.relaying,
                receiving=self.receiving,
                flooding=flooding,
                channels=self.channels,
            )
        )
        self.posting.crossings = self.receiving.crossings = crossings
        self.asking.crossings = self.giving.crossings = self.resealing.crossings = crossings
        routing.listeners.append(crossings)
        self.undoing = Undoing(
            effects=effects,
            neighbours=self.neighbours,
            custody=custody,
            posting=self.posting,
            receiving=self.receiving,
            relaying=self.relaying,
            keeping=keeping,
            channels=self.channels,
            sessions=sessions,
            resealing=self.resealing,
            crossings=crossings,
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

    def room_set(self, event: RoomSet, now: float) -> None:
        """Use so much of the caps from now on, and let go of what is too much; links stay."""
        room = self._limits.room
        room.percent, room.takes = event.percent, event.takes
        self.relaying.resize(now)
        self.keeping.shrink(now)
        self.routing.hearing.shrink(now)
        self.routing.queries.shrink()

    def takers(self) -> dict[type[Row], Callable[[Any], object]]:
        """Return who takes which row of the store's after a restart."""
        return {
            Queued: self._take_queued,
            Kept: self.inbox.add,
            Checkpoint: self.clock.restore,
            Relayed: self._take_relayed,
            KnownInsert: self.keeping.restore_known,
            ProofInsert: self.relaying.restore_proof,
            SessionPut: self.sessions.restore,
            PrekeyPut: self.sessions.prekeys.restore,
            BundlePut: self.asking.restore,
            TombstoneInsert: self.tombstones.add,
        }

    def _take_queued(self, row: Queued) -> None:
        message = self.outbox.add(row)
        if message.domain:
            self.crossings.restored(message)

    def _take_relayed(self, row: Relayed) -> None:
        if len(row.recipient) == CHANNEL_TAG_SIZE:
            self.keeping.restore(row)
        elif row.via is None:
            self.controls.restore(row)
        else:
            self.relaying.restore(row)

    def _hello(self, others: int, now: float) -> Hello:
        limits = self._limits
        return Hello(
            version_min=WIRE_VERSION,
            version_max=WIRE_VERSION,
            features=FEATURES,
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
