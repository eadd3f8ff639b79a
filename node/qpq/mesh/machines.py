"""The machines of a core, wired together; each has a module of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

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
from qpq.mesh.ingress import Trials
from qpq.mesh.intake import Intake, action_table
from qpq.mesh.keeping import Keeping
from qpq.mesh.limits import KIB, Room
from qpq.mesh.neighbours import Neighbours
from qpq.mesh.outbox import Outbox
from qpq.mesh.penalties import Penalties
from qpq.mesh.posting import Posting
from qpq.mesh.probing import Probing
from qpq.mesh.receiving import Receiving
from qpq.mesh.reconciling import Reconciling
from qpq.mesh.relaying import Relaying
from qpq.mesh.resealing import Resealing
from qpq.mesh.routing import Routing
from qpq.mesh.sending import Sending
from qpq.mesh.served import Served
from qpq.mesh.sessions import Sessions
from qpq.mesh.signing import Signing
from qpq.mesh.supplying import Supplying
from qpq.mesh.timers import Timers
from qpq.mesh.tombstones import Delivering, Tombstones
from qpq.mesh.undoing import Undoing
from qpq.mesh.users import Users
from qpq.wire.frames import FEATURES, MAX_FRAME, WIRE_VERSION, Hello, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import Identity, SecretIdentity
    from qpq.crypto.kem import Kem
    from qpq.mesh.events import RoomSet
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
        kem: Kem,
        listener: Listener,
    ) -> None:
        self._node = node
        self._boot = boot
        self._limits = limits = replace(limits, room=Room())
        self._role = role
        self._chance = Chance(random)
        self.effects = Effects()
        self.timers = Timers[Timer]()
        self.clock = Clock(limits)
        self.users = Users(node, boot=boot, cap=limits.max_users)
        self.served = Served(limits.max_users)
        self.inbox = Inbox(limits)
        self.custody = Custody()
        self.outbox = Outbox(limits, self.custody)
        self.tombstones = Tombstones(limits.tombstones)
        self.flooded = Flooded(limits)
        self._join_links(listener)
        self._join_routes()
        self._join_messages(kem)
        self._join_keys()
        self._join_deliveries()
        self._join_broadcasts()
        self._join_domains()
        self._join_frames()

    def _join_links(self, listener: Listener) -> None:
        """Links, and who is dialled."""
        self.dialling = Dialling(
            self._node.identity, limits=self._limits, chance=self._chance, effects=self.effects, waiting=self._waits_for
        )
        self.neighbours = Neighbours(
            self._node.identity,
            limits=self._limits,
            hello=self._hello,
            stretch=self._chance.stretch,
            dialling=self.dialling,
            penalties=Penalties(self._limits),
            timers=self.timers,
            effects=self.effects,
            listener=listener,
        )

    def _join_routes(self) -> None:
        """Where others are."""
        self.routing = Routing(
            self._node,
            boot=self._boot,
            limits=self._limits,
            chance=self._chance,
            timers=self.timers,
            effects=self.effects,
            users=self.users,
            served=self.served,
            leaf=self._role is Role.LEAF,
        )
        self.probing = Probing(
            self._node,
            limits=self._limits,
            timers=self.timers,
            effects=self.effects,
            users=self.users,
            routing=self.routing,
        )
        self.routing.listeners.append(self.probing)

    def _join_messages(self, kem: Kem) -> None:
        """Messages on their way: those of users here, and others' in custody."""
        self.deposits = Deposits(limits=self._limits, timers=self.timers, effects=self.effects)
        self.sending = Sending(
            limits=self._limits,
            clock=self.clock,
            chance=self._chance,
            timers=self.timers,
            effects=self.effects,
            served=self.served,
            custody=self.custody,
            deposits=self.deposits,
            routing=self.routing,
        )
        self.routing.listeners.append(self.sending)
        self.sessions = Sessions(
            limits=self._limits,
            clock=self.clock,
            chance=self._chance,
            timers=self.timers,
            effects=self.effects,
            kem=kem,
        )
        self._signing = Signing(self.clock, self.routing)
        self.posting = Posting(
            limits=self._limits,
            clock=self.clock,
            effects=self.effects,
            users=self.users,
            inbox=self.inbox,
            outbox=self.outbox,
            sending=self.sending,
            sessions=self.sessions,
            signing=self._signing,
        )
        self.relaying = self.sending.listener = Relaying(
            self._node.address,
            leaf=self._role is Role.LEAF,
            limits=self._limits,
            clock=self.clock,
            effects=self.effects,
            custody=self.custody,
            deposits=self.deposits,
            tombstones=self.tombstones,
            sending=self.sending,
            sessions=self.sessions,
            posting=self.posting,
        )

    def _join_keys(self) -> None:
        """Keys that users here and others give each other."""
        self.controls = Controls(
            limits=self._limits,
            clock=self.clock,
            effects=self.effects,
            custody=self.custody,
            sending=self.sending,
            relaying=self.relaying,
            signing=self._signing,
        )
        self.resealing = Resealing(
            clock=self.clock,
            chance=self._chance,
            effects=self.effects,
            outbox=self.outbox,
            sending=self.sending,
            relaying=self.relaying,
            sessions=self.sessions,
            signing=self._signing,
        )
        self.giving = Giving(
            limits=self._limits,
            chance=self._chance,
            timers=self.timers,
            effects=self.effects,
            users=self.users,
            routing=self.routing,
            sessions=self.sessions,
            controls=self.controls,
        )
        self.routing.listeners.append(self.giving)
        self.asking = self.posting.asking = Asking(
            limits=self._limits,
            clock=self.clock,
            chance=self._chance,
            timers=self.timers,
            effects=self.effects,
            users=self.users,
            custody=self.custody,
            routing=self.routing,
            sending=self.sending,
            sessions=self.sessions,
            controls=self.controls,
            resealing=self.resealing,
        )

    def _join_deliveries(self) -> None:
        """Messages for users here."""
        delivering = Delivering(self.clock, self.effects, self.inbox, self.tombstones, self.sessions)
        self.receiving = Receiving(
            clock=self.clock,
            effects=self.effects,
            users=self.users,
            inbox=self.inbox,
            tombstones=self.tombstones,
            custody=self.custody,
            relaying=self.relaying,
            sessions=self.sessions,
            asking=self.asking,
            giving=self.giving,
            delivering=delivering,
            trials=Trials(self._limits, self.inbox, self.outbox, self.sessions),
        )
        self.claiming = self.receiving.claiming = Claiming(
            timers=self.timers,
            effects=self.effects,
            custody=self.custody,
            deposits=self.deposits,
            tombstones=self.tombstones,
            receiving=self.receiving,
            relaying=self.relaying,
        )

    def _join_broadcasts(self) -> None:
        """Broadcasts, and what is compared with neighbours."""
        self.relaying.proofs.listener = self.flooded.proof_changed
        self.keeping = Keeping(
            leaf=self._role is Role.LEAF,
            limits=self._limits,
            clock=self.clock,
            timers=self.timers,
            effects=self.effects,
            flooded=self.flooded,
        )
        self.supplying = Supplying(
            limits=self._limits,
            clock=self.clock,
            timers=self.timers,
            effects=self.effects,
            flooded=self.flooded,
            proofs=self.relaying.proofs,
        )
        self.reconciling = Reconciling(
            limits=self._limits,
            clock=self.clock,
            chance=self._chance,
            timers=self.timers,
            effects=self.effects,
            flooded=self.flooded,
            supplying=self.supplying,
        )
        self.flooding = Flooding(
            leaf=self._role is Role.LEAF,
            limits=self._limits,
            clock=self.clock,
            timers=self.timers,
            effects=self.effects,
            flooded=self.flooded,
            keeping=self.keeping,
            supplying=self.supplying,
            reconciling=self.reconciling,
            cost=self.routing.link_cost,
        )
        self.routing.queries.tree = self.flooding
        self.channels = self.keeping.listener = self.flooding.listener = Channels(
            limits=self._limits,
            clock=self.clock,
            chance=self._chance,
            effects=self.effects,
            users=self.users,
            inbox=self.inbox,
            tombstones=self.tombstones,
            flooded=self.flooded,
            flooding=self.flooding,
            routing=self.routing,
        )

    def _join_domains(self) -> None:
        """Other domains, behind gateways."""
        self.crossings = Crossings(
            Parts(
                limits=self._limits,
                clock=self.clock,
                chance=self._chance,
                timers=self.timers,
                effects=self.effects,
                users=self.users,
                custody=self.custody,
                routing=self.routing,
                sessions=self.sessions,
                signing=self._signing,
                controls=self.controls,
                asking=self.asking,
                posting=self.posting,
                relaying=self.relaying,
                receiving=self.receiving,
                flooding=self.flooding,
                channels=self.channels,
            )
        )
        self.posting.crossings = self.receiving.crossings = self.crossings
        self.asking.crossings = self.giving.crossings = self.resealing.crossings = self.crossings
        self.routing.listeners.append(self.crossings)

    def _join_frames(self) -> None:
        """Frames from links, and what the store refused."""
        self.undoing = Undoing(
            effects=self.effects,
            neighbours=self.neighbours,
            custody=self.custody,
            posting=self.posting,
            receiving=self.receiving,
            relaying=self.relaying,
            keeping=self.keeping,
            channels=self.channels,
            sessions=self.sessions,
            resealing=self.resealing,
            crossings=self.crossings,
        )
        self.intake = Intake(
            effects=self.effects,
            neighbours=self.neighbours,
            served=self.served,
            sending=self.sending,
            receiving=self.receiving,
            relaying=self.relaying,
            routing=self.routing,
            flooding=self.flooding,
            machines=action_table(self),
        )

    def room_set(self, event: RoomSet, now: float) -> None:
        """Use so much of the caps from now on, and let go of what is too much; links stay."""
        room = self._limits.room
        room.percent, room.takes = event.percent, event.takes
        self.relaying.resize(now)
        self.keeping.shrink(now)
        self.routing.hearing.shrink(now)
        self.routing.queries.shrink()

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
