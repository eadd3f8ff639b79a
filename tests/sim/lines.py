"""The links of one node over the link model: frames to bytes and back, dials, goodbyes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qpq.link.aioquic_private_recovery import Leaning
from qpq.mesh import events
from qpq.wire.codec import FrameDecoder, FrameEncoder, close_code
from qpq.wire.errors import FrameTooLongError, WireError
from qpq.wire.frames import LEANING, Hello

if TYPE_CHECKING:
    from qpq.crypto.identity import Identity
    from qpq.wire.frames import Frame
    from sim.hosts import Host
    from sim.transport import End
    from sim.world import World


class Lines(Protocol):
    """The links of one node, as its host sees them."""

    def queue(self, number: int, frame: Frame) -> None:
        """Queue a frame."""
        ...

    def connect(self, address: str, identity: Identity | None) -> None:
        """Dial; LinkUp or DialFailed follows."""
        ...

    def close(self, number: int, code: int, reason: str) -> None:
        """End a link; LinkDown follows."""
        ...

    def transmit(self) -> None:
        """Put what is queued on the wire."""
        ...

    def close_all(self) -> None:
        """End all links with a goodbye."""
        ...

    def vanish(self) -> None:
        """Lose all links without a word."""
        ...

    def wake(self) -> None:
        """Go on after a sleep."""
        ...

    def bytes_came(self, end: End, data: bytes) -> None:
        """Take the next bytes of a link's stream."""
        ...

    def link_ended(self, end: End, reason: str) -> None:
        """Take the end of a link."""
        ...

    @property
    def numbers(self) -> tuple[int, ...]:
        """The links that are up."""
        ...

    def peer(self, number: int) -> Identity | None:
        """Return who is at the other end of a link."""
        ...


class Line:
    """A link that is up."""

    __slots__ = ("decoder", "encoder", "end", "peer", "queued")

    def __init__(self, end: End, peer: Identity, encoder: FrameEncoder, decoder: FrameDecoder) -> None:
        self.end = end
        self.peer = peer
        self.encoder = encoder
        self.decoder = decoder
        self.queued: list[bytes] = []


class ModelLines:
    """Links over ``transport.End``; the owner that the ends talk to."""

    def __init__(self, host: Host, world: World) -> None:
        self._host = host
        self._world = world
        self._lines: dict[int, Line] = {}
        self._dirty: list[Line] = []

    # --- what the host wants -------------------------------------------------------------------------

    def queue(self, number: int, frame: Frame) -> None:
        """Queue a frame; one that is longer than the peer takes is left out, as in the daemon."""
        line = self._lines.get(number)
        if line is None:
            return
        try:
            data = line.encoder.encode(frame)
        except FrameTooLongError:
            return
        self._world.record.frame_bytes[type(frame).__name__] += len(data)
        self.write(line, data)

    def write(self, line: Line, data: bytes) -> None:
        """Queue bytes, as a peer that lies would."""
        if not line.queued:
            self._dirty.append(line)
        line.queued.append(data)

    def line(self, number: int) -> Line | None:
        """Return a link that is up."""
        return self._lines.get(number)

    def transmit(self) -> None:
        """Put what is queued on the wire: the frames of one turn share packets."""
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for line in dirty:
                data = b"".join(line.queued)
                line.queued.clear()
                line.end.write(data)
                line.end.flush()

    def connect(self, address: str, identity: Identity | None) -> None:
        """Dial."""
        self._world.dial(self._host, address, identity)

    def close(self, number: int, _code: int, reason: str) -> None:
        """End a link after what was queued."""
        line = self._lines.get(number)
        if line is not None:
            if line.queued:
                line.end.write(b"".join(line.queued))
                line.queued.clear()
            line.end.close(reason)

    def close_all(self) -> None:
        """End all links with a goodbye."""
        for number in list(self._lines):
            self.close(number, 0, "the node stops")
        self._dirty.clear()

    def vanish(self) -> None:
        """Lose all links."""
        for line in self._lines.values():
            line.end.vanish()
        self._lines.clear()
        self._dirty.clear()

    def wake(self) -> None:
        """Set the timers of all links anew."""
        for line in list(self._lines.values()):
            line.end.rearm()

    # --- what the ends tell ----------------------------------------------------------------------------

    def peer(self, number: int) -> Identity | None:
        """Return who is at the other end of a link."""
        line = self._lines.get(number)
        return None if line is None else line.peer

    @property
    def numbers(self) -> tuple[int, ...]:
        """The links that are up."""
        return tuple(self._lines)

    def add(self, end: End, peer: Identity) -> None:
        """Take in a link that has come up."""
        self._lines[end.number] = Line(end, peer, *self._host.codecs(peer))

    def bytes_came(self, end: End, data: bytes) -> None:
        """Decode what came and hand it to the host."""
        line = self._lines.get(end.number)
        if line is None:
            return
        try:
            frames = line.decoder.feed(data)
        except WireError as fault:
            self._host.tell(events.LinkFault(end.number, close_code(fault), str(fault)))
            return
        for frame in frames:
            if type(frame) is Hello and frame.features & LEANING:
                end.leaning = Leaning()
        if frames:
            self._host.tell(events.FramesReceived(end.number, tuple(frames)))

    def link_ended(self, end: End, reason: str) -> None:
        """Tell the host."""
        line = self._lines.pop(end.number, None)
        if line is not None:
            if line in self._dirty:
                self._dirty.remove(line)
            self._host.tell(events.LinkDown(end.number, reason))
