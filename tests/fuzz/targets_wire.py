"""What links and datagrams bring. Whatever is accepted must be the only form of its value."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qpq.crypto.identity import Identity
from qpq.wire import cbor
from qpq.wire.announce import verify_announce
from qpq.wire.beacon import decode_beacon, encode_beacon
from qpq.wire.body import PADDING_STEP, decode_body, encode_body
from qpq.wire.codec import FrameDecoder, FrameEncoder
from qpq.wire.envelope import decode_envelope, encode_envelope, envelope_id, verify_envelope
from qpq.wire.errors import WireError
from qpq.wire.frames import Receipt, Skipped, Transfer
from qpq.wire.frames_mesh import MAX_RANGES, Announce, Query, Reconcile, Route
from qpq.wire.query import verify_query
from qpq.wire.receipts import receipt_id
from qpq.wire.reconcile import Items, respond
from qpq.wire.varint import decode_varint, encode_varint

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.wire.frames import Frame

NEAR, FAR = Identity(b"n" * 32), Identity(b"f" * 32)
MAX_FRAME = 4000
SETS = [Items(b"%016d" % (number * 7919 % 10_007) for number in range(count)) for count in (0, 3, 400)]
"""What the ends of a reconciliation hold: nothing, less than is listed, and more than one message tells."""


def one_cbor(data: bytes) -> None:
    with contextlib.suppress(WireError):
        assert cbor.encode(cbor.decode(data)) == data


def one_length(data: bytes) -> None:
    with contextlib.suppress(WireError):
        found = decode_varint(data, 0)
        assert found is None or encode_varint(found[0]) == data[: found[1]]


def one_envelope(data: bytes) -> None:
    with contextlib.suppress(WireError):
        envelope = decode_envelope(data)
        assert encode_envelope(envelope) == data
        verify_envelope(envelope, envelope_id(envelope))


def one_body(data: bytes) -> None:
    with contextlib.suppress(WireError):
        body = decode_body(data)
        assert data in (encode_body(body), encode_body(body, PADDING_STEP))


def one_beacon(data: bytes) -> None:
    with contextlib.suppress(WireError):
        assert encode_beacon(decode_beacon(data)) == data


def stream(data: bytes) -> None:
    """Read a link's bytes whole and in two pieces; the first byte says where the cut is."""
    data, at = data[1:], data[0] if data else 0
    whole, fault = _read([data])
    pieces, same = _read([data[:at], data[at:]])
    assert type(fault) is type(same)
    assert pieces[: len(whole)] == whole
    if fault is None:
        assert pieces == whole
        _check(whole, data)


def one_frame(data: bytes) -> None:
    """Read one frame; its length is put in front here."""
    framed = encode_varint(len(data)) + data
    frames, fault = _read([framed])
    if fault is None:
        _check(frames, framed)


def one_announce(data: bytes) -> None:
    one_frame(b"\x89\x04" + data)


def one_receipt(data: bytes) -> None:
    one_frame(b"\x83\x02" + data)


def one_route(data: bytes) -> None:
    one_frame(b"\x8a\x06" + data)


def one_query(data: bytes) -> None:
    one_frame(b"\x87\x08" + data)


def one_probe(data: bytes) -> None:
    one_frame(b"\x89\x0d" + data)


def ranges(data: bytes) -> None:
    """Answer a step of reconciliation, and answer the answers."""
    for items in SETS:
        with contextlib.suppress(WireError):
            step = respond(items, data)
            assert len(step.reply) <= MAX_RANGES
            assert all(short_id in items for short_id in step.have)
            assert not any(short_id in items for short_id in step.need)
            for others in SETS:
                assert not step.reply or len(respond(others, step.reply).reply) <= MAX_RANGES


def _read(chunks: list[bytes]) -> tuple[list[Frame], WireError | None]:
    decoder = FrameDecoder(NEAR, FAR, MAX_FRAME)
    frames: list[Frame] = []
    try:
        for chunk in chunks:
            frames += decoder.feed(chunk)
    except WireError as fault:
        return frames, fault
    return frames, None


def _check(frames: list[Frame], data: bytes) -> None:
    for frame in frames:
        if isinstance(frame, Announce):
            verify_announce(frame)
        elif isinstance(frame, Receipt):
            assert all(len(receipt_id(secret, envelope_hash)) == 32 for secret, envelope_hash in frame.proofs)
        elif isinstance(frame, Transfer):
            verify_envelope(frame.envelope)
        elif isinstance(frame, Route):
            verify_announce(frame.announce)
        elif isinstance(frame, Query):
            verify_query(frame)
        elif isinstance(frame, Reconcile):
            ranges(frame.ranges)
    if not any(isinstance(frame, Skipped) for frame in frames):
        encoder = FrameEncoder(FAR, NEAR)
        assert data.startswith(b"".join([encoder.encode(frame) for frame in frames]))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "announce": one_announce,
    "beacon": one_beacon,
    "body": one_body,
    "cbor": one_cbor,
    "codec": stream,
    "envelope": one_envelope,
    "frame": one_frame,
    "length": one_length,
    "probe": one_probe,
    "query": one_query,
    "ranges": ranges,
    "receipts": one_receipt,
    "route": one_route,
}
