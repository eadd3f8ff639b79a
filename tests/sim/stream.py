"""The one stream of a link: what is still to be sent, what came out of order; as aioquic's stream does it."""

from __future__ import annotations

from bisect import insort


class Spans:
    """Sorted, disjoint, half-open ranges of numbers; nearly always none or one."""

    __slots__ = ("spans",)

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []

    def add(self, start: int, stop: int) -> None:
        """Add a range; ranges that touch become one."""
        spans = self.spans
        if not spans or start > spans[-1][1]:
            spans.append((start, stop))
        elif start == spans[-1][1]:
            spans[-1] = (spans[-1][0], stop)
        else:
            insort(spans, (start, stop))
            merged = [spans[0]]
            for low, high in spans[1:]:
                if low <= merged[-1][1]:
                    merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
                else:
                    merged.append((low, high))
            self.spans = merged

    def cut_below(self, limit: int) -> None:
        """Forget every number below ``limit``."""
        self.spans = [(max(low, limit), high) for low, high in self.spans if high > limit]

    def __contains__(self, number: int) -> bool:
        return any(low <= number < high for low, high in self.spans)


class Outgoing:
    """Bytes of the stream that the peer has not acknowledged, and which of them wait to be sent (again)."""

    __slots__ = ("_acked", "_buffer", "base", "pending", "stop")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._acked = Spans()
        self.base = self.stop = 0
        self.pending: list[tuple[int, int]] = []

    @property
    def backlog(self) -> int:
        """Bytes without acknowledgement, sent or not."""
        return self.stop - self.base

    def write(self, data: bytes) -> None:
        """Append to the stream."""
        start, self.stop = self.stop, self.stop + len(data)
        self._buffer += data
        self._want(start, self.stop)

    def next(self, room: int, limit: int) -> tuple[int, bytes]:
        """Take the first bytes that wait: as many as ``room``, none from offset ``limit`` on."""
        start, stop = self.pending[0]
        end = min(stop, start + room, limit)
        if end <= start:
            return start, b""
        if end == stop:
            del self.pending[0]
        else:
            self.pending[0] = (end, stop)
        return start, bytes(self._buffer[start - self.base : end - self.base])

    def acknowledged(self, start: int, stop: int) -> None:
        """Forget bytes that the peer has."""
        if start > self.base:
            self._acked.add(start, stop)
            return
        spans = self._acked.spans
        while spans and spans[0][0] <= stop:
            stop = max(stop, spans.pop(0)[1])
        if stop > self.base:
            del self._buffer[: stop - self.base]
            self.base = stop

    def lost(self, start: int, stop: int) -> None:
        """Have bytes sent again."""
        self._want(start, stop)

    def _want(self, start: int, stop: int) -> None:
        pending = self.pending
        if pending and pending[-1][1] == start:
            pending[-1] = (pending[-1][0], stop)
        elif not pending or pending[-1][1] < start:
            pending.append((start, stop))
        else:
            spans = Spans()
            for low, high in sorted([*pending, (start, stop)]):
                spans.add(low, high)
            self.pending = spans.spans


class Incoming:
    """Puts the peer's bytes in order."""

    __slots__ = ("_early", "_high", "offset")

    def __init__(self) -> None:
        self.offset = 0
        self._early: list[tuple[int, bytes]] = []

    def take(self, start: int, data: bytes) -> bytes:
        """Return what is next in the stream now that ``data`` has come; empty: a gap is before it."""
        if start > self.offset:
            insort(self._early, (start, data))
            return b""
        if not self._early:
            if start < self.offset:
                data = data[self.offset - start :]
            self.offset += len(data)
            return data
        insort(self._early, (start, data))
        parts = []
        while self._early and self._early[0][0] <= self.offset:
            low, chunk = self._early.pop(0)
            fresh = chunk[self.offset - low :]
            self.offset += len(fresh)
            parts.append(fresh)
        return b"".join(parts)
