"""A node without a core that greets, answers each message with a receipt and writes down delays: links alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.mesh import events
from qpq.wire.envelope import Envelope, Mode
from qpq.wire.frames import FEATURES, Bye, Hello, Receipt, Role, Transfer
from sim.hosts import Host

if TYPE_CHECKING:
    from qpq.mesh.events import Event
    from qpq.wire.frames import Frame
    from sim.world import World

_RECEIPT = Receipt(((bytes(16), bytes(32)),))
RETRY_S = 1.0


class EchoHost(Host):
    """Sends numbered messages over its one link, again after a link's end, as a node would."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(world, number)
        self.dials = ""
        self.ups = 0
        self.link = 0
        self.waiting: dict[int, tuple[float, bytes]] = {}
        self.arrived: dict[int, float] = {}
        self._sent = 0

    def start(self) -> None:
        """Come up; dial if there is whom."""
        super().start()
        self._dial(None)

    def _dial(self, _argument: None) -> None:
        if self.dials and self.awake:
            self.lines.connect(self.dials, None)
            self.end_turn()

    def send(self, size: int) -> None:
        """Send a message of ``size`` bytes of text; 100 are added for the seal."""
        self._sent += 1
        payload = self._sent.to_bytes(4, "big") + bytes(size + 96)
        self.waiting[self._sent] = (self.world.now, payload)
        if self.link:
            self.lines.queue(self.link, self._transfer(payload))
            self.end_turn()

    def _transfer(self, payload: bytes) -> Transfer:
        other = self.world.hosts[1 - self.number]
        envelope = Envelope(
            Mode.UNICAST, False, self.user, other.user, 86_400, 5, 1_800_000_000, bytes(16), payload, bytes(64)
        )
        return Transfer(0, 1, 0, envelope)

    def tell(self, event: Event) -> None:
        """Take an event of the links."""
        if isinstance(event, events.LinkUp):
            self.ups += 1
            self.link = event.link
            self.lines.queue(event.link, Hello(1, 1, FEATURES, 1, 0, False, 0, 0, Role.RELAY, 33_024, 0, {}))
            for _, payload in self.waiting.values():
                self.lines.queue(event.link, self._transfer(payload))
        elif isinstance(event, events.LinkDown):
            self.link = 0
            self.world.agenda.after(RETRY_S, self._dial)
        elif isinstance(event, events.DialFailed):
            self.world.agenda.after(RETRY_S, self._dial)
        elif isinstance(event, events.FramesReceived):
            for frame in event.frames:
                self._frame(event.link, frame)
        elif isinstance(event, events.FrameReceived):
            self._frame(event.link, event.frame)

    def _frame(self, link: int, frame: Frame) -> None:
        if type(frame) is Transfer:
            number = int.from_bytes(frame.envelope.payload[:4], "big")
            self.arrived.setdefault(number, self.world.now)
            self.lines.queue(link, _RECEIPT)
        elif type(frame) is Receipt:
            self.waiting.pop(next(iter(self.waiting), 0), None)
        elif type(frame) is Bye:
            self.lines.close(link, 0, "goodbye")
