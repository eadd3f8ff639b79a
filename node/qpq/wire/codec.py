"""Frames to bytes and back, for each direction of a link.

A frame is its length (wire.varint) and a CBOR array ``[type, ...]``. Keys of 32 bytes travel in full
once and as references to the direction's table after that, so both classes hold state: every frame
that was encoded must be sent, in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from qpq.wire.cbor import Limits, array_head, byte_string, decode, encode, expect, read_head, uint
from qpq.wire.codec_mesh import KEY_ITEM, MESH_READERS, MESH_WRITERS, PROBE_HEAD
from qpq.wire.envelope import ADDRESS_SIZE, Mode, envelope_from_items
from qpq.wire.errors import (
    FieldError,
    FrameTooLongError,
    ShapeError,
    UnknownCriticalFrameError,
    UnknownVersionError,
    WireError,
)
from qpq.wire.frames import (
    FIRST_NON_CRITICAL,
    MAX_FRAME,
    MAX_PROOFS,
    SHORT_RECEIPTS,
    Bye,
    CloseCode,
    Custody,
    CustodyCode,
    Frame,
    FrameType,
    Hello,
    Receipt,
    Role,
    Skipped,
    Transfer,
)
from qpq.wire.frames_mesh import Probe
from qpq.wire.keytable import KeyTable
from qpq.wire.receipts import SECRET_SIZE, SentEnvelopes
from qpq.wire.varint import decode_varint, encode_varint

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import Identity

TRANSFER_OVERHEAD: Final = 184
"""Bytes that TRANSFER adds to a payload at most, without the length prefix."""

_ARRAY = 4
_UINT = 0
_ARRAY_1, _ARRAY_23 = 0x81, 0x97  # initial bytes of short arrays
_UINT_23 = 23
_MAX_ITEMS = 70  # of any known frame: PROBE with a path of 64 has 70, HELLO with 16 extensions 45
_HELLO_SHAPE = [int, int, int, int, int, int, bool, int, int, int, int, int, dict]
_TRANSFER_LENGTH = 13
_BYE_SHAPE = [int, int, int, str]
_SHORT_RECEIPT = 14
_ROLES = {role.value: role for role in Role}


def close_code(error: WireError) -> CloseCode:
    """Return the code to close a link with after ``error``."""
    if isinstance(error, UnknownCriticalFrameError):
        return CloseCode.UNKNOWN_CRITICAL
    return CloseCode.VERSION if isinstance(error, UnknownVersionError) else CloseCode.MALFORMED


def codecs(local_id: Identity, remote_id: Identity) -> tuple[FrameEncoder, FrameDecoder]:
    """Return both directions at one end of a link."""
    encoder = FrameEncoder(local_id, remote_id)
    return encoder, FrameDecoder(local_id, remote_id, encoder=encoder)


class FrameEncoder:
    """The sending end of one direction.

    ``max_frame`` is what the peer's HELLO stated (bytes); ``sent`` what SHORT_RECEIPT may answer, None where the
    peer knows no such frame, or has not greeted.
    """

    __slots__ = ("_table", "max_frame", "sent")

    def __init__(self, local_id: Identity, remote_id: Identity) -> None:
        self._table = KeyTable(local_id, remote_id)
        self.max_frame = MAX_FRAME
        self.sent: SentEnvelopes | None = None

    def greeted(self, hello: Hello) -> None:
        """Keep to what the peer can do."""
        self.max_frame = min(hello.max_frame, MAX_FRAME)
        self.sent = SentEnvelopes() if hello.features & SHORT_RECEIPTS else None

    def encode(self, frame: Frame) -> bytes:
        """Return the bytes of ``frame`` with its length in front.

        Raises FrameTooLongError for a TRANSFER or PROBE the peer would refuse; the table is unchanged then.
        """
        if type(frame) is Transfer:
            body = self._transfer(frame)
        elif (write := MESH_WRITERS.get(type(frame))) is not None:
            if type(frame) is Probe and PROBE_HEAD + len(frame.path) * KEY_ITEM > self.max_frame:
                raise FrameTooLongError(f"a probe with {len(frame.path)} nodes, frames end at {self.max_frame}")
            body = write(self._table, frame)
        elif type(frame) is Receipt and frame.answers and self.sent is not None:
            body = _short_receipt(frame)
        else:
            body = _encode_stateless(frame)
        return encode_varint(len(body)) + body

    def _transfer(self, frame: Transfer) -> bytes:
        envelope = frame.envelope
        payload = envelope.payload
        if len(payload) + TRANSFER_OVERHEAD > self.max_frame:
            raise FrameTooLongError(f"a payload of {len(payload)} bytes, frames end at {self.max_frame}")
        if self.sent is not None and envelope.mode is not Mode.CHANNEL:
            self.sent.add(envelope)
        recipient = envelope.recipient
        key = self._table.write
        return b"".join(
            (
                b"\x8d\x01",
                uint(frame.hops),
                uint(frame.copies),
                uint(frame.age),
                uint(envelope.element0),
                key(envelope.sender),
                key(recipient) if len(recipient) == ADDRESS_SIZE else byte_string(recipient),
                uint(envelope.ttl),
                uint(envelope.max_hops),
                uint(envelope.timestamp),
                b"\x50",
                envelope.commitment,
                byte_string(payload),
                b"\x58\x40",
                envelope.signature,
            )
        )


class FrameDecoder:
    """The receiving end of one direction; ``max_frame`` is what this end's HELLO states (bytes).

    It holds at most one unfinished frame: a length above ``max_frame`` is refused before its
    bytes are waited for. After a WireError it is dead and raises the same error for ever.
    ``encoder`` is the other direction at this end: it is told of HELLO, and knows what was sent.
    """

    __slots__ = ("_buffer", "_encoder", "_fault", "_limits", "_max_frame", "_table", "_wanted")

    def __init__(
        self,
        local_id: Identity,
        remote_id: Identity,
        max_frame: int = MAX_FRAME,
        *,
        encoder: FrameEncoder | None = None,
    ) -> None:
        self._table = KeyTable(remote_id, local_id)
        self._encoder = encoder or FrameEncoder(local_id, remote_id)
        self._max_frame = max_frame
        self._limits = Limits(depth=2, items=_MAX_ITEMS, length=max_frame)
        self._buffer = bytearray()
        self._wanted = 0
        self._fault: WireError | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that ``data`` completes, in order.

        Raises WireError; frames in front of the fault in the same ``data`` are lost with the link.
        """
        if self._fault is not None:
            raise self._fault
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._wanted:
                return []
            data = bytes(buffer)
            buffer.clear()
        try:
            return self._frames(data)
        except WireError as fault:
            self._fault = fault
            raise

    def _frames(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        position, end = 0, len(data)
        while position < end:
            prefix = decode_varint(data, position)
            if prefix is None:
                self._wanted = 0
                break
            length, start = prefix
            if length > self._max_frame:
                raise FrameTooLongError(f"a frame of {length} bytes, at most {self._max_frame} are allowed")
            if start + length > end:
                self._wanted = start + length - position
                break
            position = start + length
            frames.append(self._frame(data[start:position]))
        self._buffer += data[position:]
        return frames

    def _frame(self, body: bytes) -> Frame:
        kind = _frame_type(body)
        read = _READERS.get(kind)
        if read is None and kind != _SHORT_RECEIPT:
            if kind >= FIRST_NON_CRITICAL:
                return Skipped(kind)
            raise UnknownCriticalFrameError(f"frames of type {kind} are not known")
        items = cast("list[Any]", decode(body, self._limits))
        if read is None:
            return self._short_receipt(items[1:])
        frame = read(self._table, items)
        if type(frame) is Hello:
            self._encoder.greeted(frame)
        return frame

    def _short_receipt(self, secrets: list[Any]) -> Frame:
        """Return the receipt that these secrets stand for; of envelopes that are not remembered it is passed over."""
        if not 1 <= len(secrets) <= MAX_PROOFS:
            raise FieldError(f"SHORT_RECEIPT has 1 to {MAX_PROOFS} secrets, not {len(secrets)}")
        if any(type(secret) is not bytes or len(secret) != SECRET_SIZE for secret in secrets):
            raise ShapeError(f"SHORT_RECEIPT has secrets of {SECRET_SIZE} bytes")
        sent = self._encoder.sent
        proofs = sent.prove(secrets) if sent is not None else []
        return Receipt(tuple(proofs[:MAX_PROOFS])) if proofs else Skipped(_SHORT_RECEIPT)


def _encode_stateless(frame: Frame) -> bytes:
    if type(frame) is Hello:
        return encode(
            [
                FrameType.HELLO,
                frame.version_min,
                frame.version_max,
                frame.features,
                frame.boot,
                frame.time,
                frame.time_trusted,
                frame.load,
                frame.links,
                frame.role,
                frame.max_frame,
                frame.store_free,
                frame.extensions,
            ]
        )
    if type(frame) is Receipt:
        proofs = [b"\x50" + secret + b"\x58\x20" + envelope_hash for secret, envelope_hash in frame.proofs]
        return b"".join((array_head(1 + 2 * len(proofs)), b"\x02", *proofs))
    if type(frame) is Custody:
        return encode([FrameType.CUSTODY, *(part for answer in frame.answers for part in answer)])
    if type(frame) is Bye:
        return encode([FrameType.BYE, frame.code, frame.retry_after, frame.reason])
    raise ShapeError(f"{type(frame).__name__} is no frame that can be sent")


def _short_receipt(receipt: Receipt) -> bytes:
    secrets = [b"\x50" + secret for secret, _ in receipt.proofs]
    return b"".join((array_head(1 + len(secrets)), b"\x0e", *secrets))


def _frame_type(body: bytes) -> int:
    """Look at the first two items only: what follows in a frame that is skipped is nobody's business."""
    if len(body) > 1 and _ARRAY_1 <= body[0] <= _ARRAY_23 and body[1] <= _UINT_23:
        return body[1]
    major, count, position = read_head(body, 0)
    if major != _ARRAY or count == 0:
        raise ShapeError("a frame is an array that starts with its type")
    major, kind, _ = read_head(body, position)
    if major != _UINT:
        raise ShapeError("a frame's type is an unsigned integer")
    return kind


def _read_transfer(table: KeyTable, items: list[Any]) -> Transfer:
    if len(items) != _TRANSFER_LENGTH:
        raise ShapeError(f"TRANSFER has {_TRANSFER_LENGTH} elements, not {len(items)}")
    _, hops, copies, age, element0, sender, recipient = items[:7]
    if type(hops) is not int or type(copies) is not int or type(age) is not int or type(element0) is not int:
        raise ShapeError("TRANSFER starts with five unsigned integers")
    items[5] = table.read(sender)
    if element0 & 3 != Mode.CHANNEL:
        items[6] = table.read(recipient)
    return Transfer(hops, copies, age, envelope_from_items(items[4:]))


def _read_receipt(_table: KeyTable, items: list[Any]) -> Receipt:
    return Receipt(_pairs(items, bytes))


def _read_custody(_table: KeyTable, items: list[Any]) -> Custody:
    try:
        return Custody(tuple((envelope_id, CustodyCode(code)) for envelope_id, code in _pairs(items, int)))
    except ValueError:
        raise FieldError("CUSTODY has a code that does not exist") from None


def _pairs(items: list[Any], second: type) -> tuple[tuple[bytes, Any], ...]:
    firsts, seconds = items[1::2], items[2::2]
    if len(firsts) != len(seconds):
        raise ShapeError("the elements after the type come in pairs")
    if any(type(item) is not bytes for item in firsts) or any(type(item) is not second for item in seconds):
        raise ShapeError("an element has the wrong type")
    return tuple(zip(firsts, seconds, strict=True))


def _read_hello(_table: KeyTable, items: list[Any]) -> Hello:
    expect("HELLO", items, _HELLO_SHAPE)
    extensions = items[12]
    if any(type(value) is not bytes for value in extensions.values()):
        raise ShapeError("the value of a HELLO extension is a byte string")
    role = _ROLES.get(items[9])
    if role is None:
        raise FieldError(f"role {items[9]} does not exist")
    items[9] = role
    return Hello(*items[1:])


def _read_bye(_table: KeyTable, items: list[Any]) -> Bye:
    expect("BYE", items, _BYE_SHAPE)
    return Bye(*items[1:])


_READERS: Final[dict[int, Callable[[KeyTable, list[Any]], Frame]]] = {
    FrameType.HELLO: _read_hello,
    FrameType.TRANSFER: _read_transfer,
    FrameType.RECEIPT: _read_receipt,
    FrameType.CUSTODY: _read_custody,
    FrameType.BYE: _read_bye,
    **MESH_READERS,
}
