"""A node of the simulator: the core that ships, a store in memory, links, and a life of its own."""

from __future__ import annotations

import random
from collections import Counter
from time import process_time_ns
from typing import TYPE_CHECKING, Any

from cores import UNIX_AT_ZERO, MemoryStore
from qpq.crypto.identity import SecretIdentity
from qpq.errors import QpqError
from qpq.mesh import events
from qpq.mesh.core import Core
from qpq.mesh.effects import (
    CloseLink,
    Connect,
    Count,
    Deliver,
    InsideProof,
    NeighbourChanged,
    Notice,
    OutsideAnswered,
    Outward,
    Persist,
    ProbeDone,
    Recall,
    RecallTexts,
    SendEnvelope,
    SendFrame,
    SendRefused,
    SetTimer,
    StateChanged,
)
from qpq.wire.codec import FrameDecoder, FrameEncoder, codecs
from qpq.wire.envelope import decode_envelope
from qpq.wire.frames import CloseCode, Role, Transfer
from sim.kem import CheapKem
from sim.outside import HERE

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.effects import Effect
    from qpq.mesh.events import Event
    from qpq.mesh.limits import Limits
    from qpq.wire.envelope import Envelope
    from qpq.wire.frames import Frame
    from sim.lines import Lines
    from sim.outside import Relay
    from sim.record import Record
    from sim.transport import End
    from sim.world import World

STORE_MESSAGES = 1 << 30
_BLAME = frozenset({CloseCode.MALFORMED, CloseCode.UNKNOWN_CRITICAL, CloseCode.NOT_PERMITTED, CloseCode.VERSION})
"""Codes of who broke the rules, and is kept away. TOO_SLOW is none of them: over a link that loses 85 % of its packets
each way no HELLO may come in time, and nothing keeps the peer from dialling again."""


class Host:
    """What every node has: a number, an identity, links, counted bytes; ``awake`` False: it hears and does nothing."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.random = random.Random(f"{world.seed} node {number}")  # noqa: S311 (a seeded run)
        self.secret = SecretIdentity(self.random.randbytes(32))
        self.users = [SecretIdentity(self.random.randbytes(32))]
        self.address = f"10.{number + 1 >> 16}.{number + 1 >> 8 & 255}.{number + 1 & 255}:7000"
        self.awake = False
        self.lines: Lines
        self.tx_packets = self.tx_bytes = self.rx_bytes = 0
        self.tx_kinds: Counter[str] = Counter()
        """Bytes sent by what they were for."""
        self.cpu_ns = 0
        self.handled = 0
        self.starts: list[float] = []

    @property
    def identity(self) -> Identity:
        """The node's identity."""
        return self.secret.identity

    @property
    def user(self) -> Address:
        """The address of the node's first user."""
        return self.users[0].address

    def codecs(self, peer: Identity) -> tuple[FrameEncoder, FrameDecoder]:
        """Return what encodes and what decodes a link."""
        return codecs(self.identity, peer)

    # what the links tell

    def sent(self, kind: str, size: int) -> None:
        """Count a packet that is put on the wire (``owner.Owner``)."""
        self.tx_packets += 1
        self.tx_bytes += size
        self.tx_kinds[kind] += size

    def tell(self, event: Event) -> None:
        """Take an event of the links."""
        raise NotImplementedError

    def bytes_came(self, end: End, data: bytes) -> None:
        """Take the next bytes of a link's stream (``owner.Owner``)."""
        self.lines.bytes_came(end, data)

    def link_ended(self, end: End, reason: str) -> None:
        """Take the end of a link (``owner.Owner``)."""
        self.lines.link_ended(end, reason)

    def quality(self, link: int, rtt: float, loss: float) -> None:
        """Take what the transport has seen of a link (``owner.Owner``)."""
        self.tell(events.LinkQuality(link, rtt, loss))

    def end_turn(self) -> None:
        """Put on the wire what was queued."""
        self.lines.transmit()

    def keep(self, other: Host) -> None:
        """Dial another node from the start, and again whenever the link is lost."""
        raise NotImplementedError

    # the life of a node

    def start(self) -> None:
        """Come up."""
        self.awake = True
        self.starts.append(self.world.now)

    def stop(self, *, orderly: bool) -> None:
        """Go down, with a goodbye or without."""
        if orderly:
            self.lines.close_all()
        else:
            self.lines.vanish()
        self.awake = False

    def sleep(self) -> None:
        """Hear and do nothing until ``wake``, and keep everything."""
        self.awake = False

    def wake(self) -> None:
        """Go on."""
        self.awake = True
        self.starts.append(self.world.now)
        self.lines.wake()


SAMPLED = 16
"""One event in so many is timed, for all: asking for the processor time costs as much as a small event."""


class CoreHost(Host):
    """A node that runs the core."""

    def __init__(self, world: World, number: int, limits: Limits, role: Role = Role.RELAY) -> None:
        super().__init__(world, number)
        self.limits = limits
        self.role = role
        self.clock: tuple[float, bool] | None = (float(UNIX_AT_ZERO), True)
        self.store = MemoryStore(STORE_MESSAGES)
        self.boot = 0
        self.core: Core | None = None
        self.static: list[tuple[str, Identity]] = []
        self.channels: dict[bytes, events.ChannelJoined] = {}
        self.relay: Relay | None = None
        self.counts: Counter[str] = Counter()
        self._acting = b""
        self._timer_at = self._armed = float("inf")

    @property
    def record(self) -> Record:
        """Where what happens is written down."""
        return self.world.record

    def keep(self, other: Host) -> None:
        """Dial another node from the start, as the configuration of a node would have it."""
        self.static.append((other.address, other.identity))

    # --- life ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Come up from what the store kept."""
        super().start()
        self.boot += 1
        self._timer_at = self._armed = float("inf")
        draw = self.random.randbytes
        self.core = Core(
            self.secret, boot=self.boot, random=draw, limits=self.limits, role=self.role, kem=CheapKem(draw)
        )
        self.core.restore(self.store.restore())
        for user in self.users:
            self.tell(events.UserAdded(user.seed))
        if self.relay is not None:
            self.tell(events.UserAdded(self.relay.secret.seed, gateway=HERE))
            self.relay.look()
        for joined in self.channels.values():
            self.tell(joined)
        if self.clock is not None:
            self.tell(events.ClockSet(*self.clock))
        for address, identity in self.static:
            self.tell(events.Dial(address, identity=identity))
        self.end_turn()

    def stop(self, *, orderly: bool) -> None:
        """Go down; a crash loses what was not persisted."""
        if self.core is None:
            return
        if orderly:
            self.tell(events.Shutdown())
        super().stop(orderly=orderly)
        self.core = None

    def wake(self) -> None:
        """Go on after a sleep: timers that have passed are due now."""
        super().wake()
        if self.core is not None:
            self._armed = float("inf")
            self.tell(events.Tick())
            self.end_turn()

    # --- events in, effects out ------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """Hand an event to the core and carry out its effects."""
        core = self.core
        if core is None or not self.awake:
            return
        if type(event) is events.FramesReceived:
            self._note(event.frames)
        elif type(event) is events.FrameReceived:
            self._note((event.frame,))
        self.handled += 1
        if self.handled % SAMPLED:
            effects = core.handle(event, self.world.agenda.now)
        else:
            started = process_time_ns()
            effects = core.handle(event, self.world.agenda.now)
            self.cpu_ns += SAMPLED * (process_time_ns() - started)
        self._carry_out(effects)

    def act(self, event: Event, message_id: bytes = b"") -> None:
        """Let a user of this node do something; effects leave at once. The envelope made is that of ``message_id``."""
        self._acting = message_id
        self.tell(event)
        self._acting = b""
        self.end_turn()

    def _carry_out(self, effects: list[Effect]) -> None:
        if self._acting:
            self.record.made(
                self._acting, [one for effect in effects if type(effect) is Persist for one in effect.operations]
            )
        for effect in effects:
            if type(effect) is Persist:
                if self.limits.sessions:
                    self.record.resealed(effect.operations)
                try:
                    self.store.apply(effect.operations)
                except QpqError as fault:
                    self.tell(events.PersistFailed(effect.operations, str(fault)))
                    return
            else:
                _EFFECTS[type(effect)](self, effect)

    def _note(self, frames: tuple[Frame, ...]) -> None:
        for frame in frames:
            if type(frame) is Transfer:
                self.record.received(self, frame)

    def send_frame(self, number: int, frame: Frame) -> None:
        """Queue a frame on a link."""
        self.record.frame(self, frame)
        self.lines.queue(number, frame)

    def _send_frame(self, effect: SendFrame) -> None:
        self.send_frame(effect.link, effect.frame)

    def _send_envelope(self, effect: SendEnvelope) -> None:
        data = self.store.envelope(effect.envelope_id)
        if data is not None:
            self.send_frame(effect.link, Transfer(effect.hops, effect.copies, effect.age, decode_envelope(data)))

    def _recall(self, effect: Recall) -> None:
        found = [self.store.envelope(envelope_id) for envelope_id in effect.envelope_ids]
        self.world.agenda.after(0.0, self._recalled, tuple(decode_envelope(data) for data in found if data is not None))

    def _recalled(self, envelopes: tuple[Envelope, ...]) -> None:
        self.act(events.Recalled(envelopes))

    def _recall_texts(self, effect: RecallTexts) -> None:
        found = [(message, self.store.sent(*message)) for message in effect.messages]
        texts = [(*message, sent[1], decode_envelope(sent[0])) for message, sent in found if sent is not None]
        self.world.agenda.after(0.0, self._texts_recalled, tuple(events.SentText(*text) for text in texts))

    def _texts_recalled(self, texts: tuple[events.SentText, ...]) -> None:
        self.act(events.TextsRecalled(texts))

    def _close_link(self, effect: CloseLink) -> None:
        peer = self.lines.peer(effect.link)
        if effect.code in _BLAME and peer is not None:
            self.record.punished[self.number, self.world.by_identity(peer).number] += 1
        self.lines.close(effect.link, effect.code, effect.reason)

    def _connect(self, effect: Connect) -> None:
        self.lines.connect(effect.address, effect.identity)

    def _set_timer(self, effect: SetTimer) -> None:
        self._timer_at = effect.at
        if effect.at < self._armed:
            self._armed = effect.at
            self.world.agenda.at(effect.at, self._due, (self.core, effect.at))

    def _due(self, armed: tuple[Core, float]) -> None:
        core, at = armed
        if self.core is not core or at != self._armed:
            return
        self._armed = float("inf")
        if not self.awake:
            return
        if self.world.agenda.now < self._timer_at:
            self._set_timer(SetTimer(self._timer_at))
            return
        self._timer_at = float("inf")
        self.tell(events.Tick())
        self.end_turn()

    def _count(self, effect: Count) -> None:
        self.counts[effect.name] += effect.amount

    def _deliver(self, effect: Deliver) -> None:
        self.record.delivered(self, effect)

    def _state(self, effect: StateChanged) -> None:
        self.record.state(self, effect)

    def _refused(self, effect: SendRefused) -> None:
        self.record.refused(self, effect)

    def _probe(self, effect: ProbeDone) -> None:
        self.record.probed(self, effect)

    def _leaves(self, _effect: object) -> None:
        if self.relay is not None:
            self.relay.look()

    def _answered(self, effect: OutsideAnswered) -> None:
        self.world.carried.pop(effect.token).answered(effect)

    def _nothing(self, _effect: object) -> None:
        """Leave out what is only for people."""


_EFFECTS: dict[type, Callable[[CoreHost, Any], None]] = {
    SendFrame: CoreHost._send_frame,
    SendEnvelope: CoreHost._send_envelope,
    Recall: CoreHost._recall,
    RecallTexts: CoreHost._recall_texts,
    CloseLink: CoreHost._close_link,
    Connect: CoreHost._connect,
    SetTimer: CoreHost._set_timer,
    Count: CoreHost._count,
    Deliver: CoreHost._deliver,
    StateChanged: CoreHost._state,
    SendRefused: CoreHost._refused,
    ProbeDone: CoreHost._probe,
    Notice: CoreHost._nothing,
    NeighbourChanged: CoreHost._nothing,
    Outward: CoreHost._leaves,
    InsideProof: CoreHost._leaves,
    OutsideAnswered: CoreHost._answered,
}
