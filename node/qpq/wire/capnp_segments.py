"""Cap'n Proto messages as bytes: the table of segments in front, and a stream of messages cut into single ones.

Source: Cap'n Proto's encoding, "Serialization over a stream", not packed.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from qpq.wire.capnp_errors import FramingError

if TYPE_CHECKING:
    from collections.abc import Sequence

WORD: Final = 8
MAX_SEGMENTS: Final = 512
"""As in the C++ library: what a table may ask for."""
MAX_BYTES: Final = 8 << 20

_U32 = Struct("<I")


def join(segments: Sequence[bytes | bytearray]) -> bytes:
    """Return the message of these segments (each whole words) with its table."""
    sizes = [len(segment) // WORD for segment in segments]
    head = b"".join(_U32.pack(number) for number in (len(segments) - 1, *sizes))
    return b"".join((head, b"" if len(segments) & 1 else bytes(4), *segments))


def split(data: bytes, max_bytes: int = MAX_BYTES) -> list[bytes]:
    """Return the segments of one whole message; raises FramingError."""
    if len(data) < WORD:
        raise FramingError(f"{len(data)} bytes are not one message")
    sizes, head = _table(data, max_bytes)
    if not sizes or head + sum(sizes) != len(data):
        raise FramingError(f"{len(data)} bytes are not one message")
    segments = []
    for size in sizes:
        segments.append(data[head : head + size])
        head += size
    return segments


def _table(data: bytes | bytearray, max_bytes: int) -> tuple[list[int], int]:
    """Return the bytes of each segment and of the table; no segments while the table is not whole."""
    count = _U32.unpack_from(data)[0] + 1
    if count > MAX_SEGMENTS:
        raise FramingError(f"{count} segments, at most {MAX_SEGMENTS} are allowed")
    head = (count // 2 + 1) * WORD
    if head > len(data):
        return [], head
    if count == 1:  # as nearly all have
        sizes = [_U32.unpack_from(data, _U32.size)[0] * WORD]
    else:
        sizes = [_U32.unpack_from(data, _U32.size * number)[0] * WORD for number in range(1, count + 1)]
    if not sizes[0]:
        raise FramingError("the first segment has no room for a root")
    if head + sum(sizes) > max_bytes:
        raise FramingError(f"a message of {head + sum(sizes)} bytes, at most {max_bytes} are allowed")
    return sizes, head


class MessageSplitter:
    """Cuts a stream of bytes into messages of at most ``max_bytes``, table included; it may be changed meanwhile."""

    __slots__ = ("_buffer", "_wanted", "max_bytes")

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._buffer = bytearray()
        self.max_bytes = max_bytes
        self._wanted = WORD

    @property
    def pending(self) -> int:
        """Bytes of a message that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that became whole; raises FramingError as soon as a table asks for too much."""
        buffer = self._buffer
        buffer += data
        messages = []
        while len(buffer) >= self._wanted:
            sizes, head = _table(buffer, self.max_bytes)
            self._wanted = head + sum(sizes)
            if sizes and len(buffer) >= self._wanted:
                messages.append(bytes(buffer[: self._wanted]))
                del buffer[: self._wanted]
                self._wanted = WORD
        return messages
