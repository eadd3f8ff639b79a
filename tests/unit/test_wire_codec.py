from __future__ import annotations

import dataclasses

import pytest

from qpq.crypto.identity import Address, Identity, SecretIdentity
from qpq.wire import cbor
from qpq.wire.announce import sign_announce
from qpq.wire.codec import TRANSFER_OVERHEAD, FrameDecoder, FrameEncoder, close_code
from qpq.wire.envelope import MAX_PAYLOAD, MAX_TIME, MAX_TTL, Mode, sign_envelope
from qpq.wire.errors import (
    EmptySlotError,
    FieldError,
    FrameTooLongError,
    NotShortestError,
    RedundantLiteralError,
    ShapeError,
    TooDeepError,
    TooManyItemsError,
    TrailingBytesError,
    TruncatedError,
    UnknownCriticalFrameError,
    UnknownVersionError,
    UnsupportedItemError,
    WireError,
)
from qpq.wire.frames import (
    MAX_FRAME,
    MIN_MAX_FRAME,
    Bye,
    CloseCode,
    Custody,
    CustodyCode,
    Frame,
    Hello,
    Receipt,
    Role,
    Skipped,
    Transfer,
)
from qpq.wire.frames_mesh import Graft, IHave, Probe, ProbeKind, Prune, Reconcile, Retract, Route
from qpq.wire.query import sign_query
from qpq.wire.varint import encode_varint

ANNA = SecretIdentity(b"a" * 32)
BERT = SecretIdentity(b"b" * 32)
CARA = SecretIdentity(b"c" * 32)

HELLO = Hello(1, 2, 5, 7, 1_700_000_000, True, 9, 3, Role.RELAY, MAX_FRAME, 2048, {1: b"x", 300: b""})
ENVELOPE = sign_envelope(ANNA, recipient=BERT.address, payload=b"sealed" * 50, commitment=b"c" * 16, timestamp=1)
CHANNEL = sign_envelope(CARA, recipient=b"t" * 16, payload=b"p", commitment=bytes(16), mode=Mode.CHANNEL)
FRAMES: list[Frame] = [
    HELLO,
    Transfer(0, 8, 0, ENVELOPE),
    Transfer(255, 255, 2**32 - 1, CHANNEL),
    Receipt(((b"s" * 16, b"h" * 32),)),
    Receipt(tuple((bytes((n,)) * 16, bytes((n,)) * 32) for n in range(16))),
    Custody(((b"i" * 32, CustodyCode.QUOTA), (b"j" * 32, CustodyCode.ACCEPTED))),
    sign_announce(CARA, node=ANNA.identity, boot=1, counter=2),
    sign_announce(BERT, node=CARA.identity, boot=1, counter=2, kem_hash=b"k" * 12),
    Route(1, 16, sign_announce(CARA, node=BERT.identity, boot=1, counter=2)),
    Route(255, 65_535, sign_announce(BERT, node=Identity(b"f" * 32), boot=2**32 - 1, counter=0, kem_hash=b"k" * 12)),
    Retract((CARA.address, BERT.address, CARA.address)),
    Retract(tuple(Address(bytes([200 + n]) * 32) for n in range(16))),
    sign_query(ANNA, CARA.address, 1, 1),
    sign_query(CARA, Address(b"g" * 32), 2**32 - 1, 2**32 - 1),
    IHave((b"i" * 16,)),
    IHave(tuple(bytes([n]) * 16 for n in range(32))),
    Graft(True, (b"i" * 16, b"j" * 16)),
    Graft(False, tuple(bytes([n]) * 16 for n in range(32))),
    Prune(),
    Reconcile(b"r"),
    Reconcile(b"r" * 900),
    Probe(ProbeKind.REQUEST, 0, False, b"t" * 8, CARA.address, ()),
    Probe(ProbeKind.UNREACHABLE, 3, False, b"t" * 8, BERT.address, ()),
    Probe(ProbeKind.ANSWER, 64, True, b"t" * 8, CARA.address, tuple(Identity(bytes([n]) * 32) for n in range(64))),
    Bye(CloseCode.SHUTDOWN, 30, "bis später"),
]


def pair() -> tuple[FrameEncoder, FrameDecoder]:
    return FrameEncoder(ANNA.identity, BERT.identity), FrameDecoder(BERT.identity, ANNA.identity)


def framed(*items: cbor.Encodable) -> bytes:
    body = cbor.encode(items)
    return encode_varint(len(body)) + body


def transfer_items(**changes: object) -> list[cbor.Encodable]:
    items = {
        "type": 1,
        "hops": 0,
        "copies": 8,
        "age": 0,
        "element0": 8,
        "sender": 0,
        "recipient": 1,
        "ttl": 60,
        "max_hops": 5,
        "timestamp": 0,
        "commitment": bytes(16),
        "payload": b"p",
        "signature": bytes(64),
    }
    return list((items | changes).values())  # type: ignore[arg-type]


def hello_items(**changes: object) -> list[cbor.Encodable]:
    items = {
        "type": 0,
        "version_min": 1,
        "version_max": 1,
        "features": 0,
        "boot": 1,
        "time": 0,
        "time_trusted": False,
        "load": 0,
        "links": 0,
        "role": 1,
        "max_frame": 4096,
        "store_free": 0,
        "extensions": {},
    }
    return list((items | changes).values())  # type: ignore[arg-type]


def test_every_frame_reads_back_over_one_link() -> None:
    encoder, decoder = pair()
    for frame in FRAMES + FRAMES:
        assert decoder.feed(encoder.encode(frame)) == [frame]


def test_many_frames_in_one_feed_come_in_order() -> None:
    encoder, decoder = pair()
    assert decoder.feed(b"".join(encoder.encode(frame) for frame in FRAMES)) == FRAMES


def test_bytes_one_by_one_give_the_same_frames() -> None:
    encoder, decoder = pair()
    data = b"".join(encoder.encode(frame) for frame in FRAMES)
    assert [frame for n in range(len(data)) for frame in decoder.feed(data[n : n + 1])] == FRAMES


def test_the_ends_of_the_link_are_references_from_the_first_frame_on() -> None:
    encoder, _ = pair()
    data = encoder.encode(Transfer(0, 8, 0, ENVELOPE))
    assert data[2:] == cbor.encode(
        [
            1,
            0,
            8,
            0,
            8,
            0,
            1,
            ENVELOPE.ttl,
            5,
            1,
            ENVELOPE.commitment,
            ENVELOPE.payload,
            ENVELOPE.signature,
        ]
    )


def test_each_direction_has_its_own_table() -> None:
    there = FrameEncoder(ANNA.identity, BERT.identity)
    back = FrameEncoder(BERT.identity, ANNA.identity)
    assert there.encode(Transfer(0, 8, 0, ENVELOPE))[8:10] == b"\x00\x01"
    assert back.encode(Transfer(0, 8, 0, ENVELOPE))[8:10] == b"\x01\x00"


def test_another_key_is_sent_in_full_once() -> None:
    encoder, decoder = pair()
    envelope = sign_envelope(CARA, recipient=CARA.address, payload=b"", commitment=bytes(16))
    first = encoder.encode(Transfer(0, 1, 0, envelope))
    second = encoder.encode(Transfer(0, 1, 0, envelope))
    assert len(first) == len(second) + 33
    assert decoder.feed(first + second) == [Transfer(0, 1, 0, envelope)] * 2


def test_a_channel_tag_is_no_key_and_takes_no_slot() -> None:
    encoder, decoder = pair()
    frame = Transfer(0, 1, 0, CHANNEL)
    assert CHANNEL.recipient in encoder.encode(frame)
    assert CHANNEL.recipient in encoder.encode(frame)
    with pytest.raises(FieldError):
        decoder.feed(framed(*transfer_items(element0=10, recipient=b"r" * 32)))
    with pytest.raises(ShapeError):
        pair()[1].feed(framed(*transfer_items(recipient=b"t" * 16)))


def test_the_largest_transfer_fits_the_overhead_that_is_reckoned_for_it() -> None:
    envelope = sign_envelope(
        CARA,
        recipient=bytes(32),
        payload=bytes(MAX_PAYLOAD),
        commitment=bytes(16),
        ttl=MAX_TTL,
        max_hops=255,
        timestamp=MAX_TIME,
    )
    frame = Transfer(255, 255, 2**32 - 1, envelope)
    encoder, decoder = pair()
    data = encoder.encode(frame)
    assert len(data) - 4 <= MAX_PAYLOAD + TRANSFER_OVERHEAD <= MAX_FRAME
    assert decoder.feed(data) == [frame]


def test_every_other_frame_fits_the_least_max_frame() -> None:
    encoder, _ = pair()
    frames: list[Frame] = [
        dataclasses.replace(
            HELLO,
            version_max=255,
            features=2**64 - 1,
            boot=2**32 - 1,
            max_frame=2**32 - 1,
            store_free=2**32 - 1,
            extensions={65_535 - n: bytes(32) for n in range(16)},
        ),
        Receipt(((bytes(16), bytes(32)),) * 16),
        Custody(((bytes(32), CustodyCode.BLOCKED),) * 16),
        sign_announce(CARA, node=Identity(b"n" * 32), boot=2**32 - 1, counter=2**32 - 1, kem_hash=bytes(12)),
        Route(255, 65_535, sign_announce(CARA, node=Identity(b"m" * 32), boot=2**32 - 1, counter=1)),
        Retract(tuple(Address(bytes([n]) * 32) for n in range(16))),
        sign_query(CARA, Address(b"g" * 32), 2**32 - 1, 2**32 - 1),
        IHave((bytes(16),) * 32),
        Graft(True, (bytes(16),) * 32),
        Reconcile(bytes(900)),
        Probe(ProbeKind.ANSWER, 255, True, bytes(8), CARA.address, tuple(Identity(bytes([n]) * 32) for n in range(26))),
        Bye(65_535, 2**32 - 1, "x" * 128),
    ]
    for frame in frames:
        assert len(encoder.encode(frame)) <= MIN_MAX_FRAME


def test_a_transfer_the_peer_would_refuse_is_not_sent_and_leaves_the_table_alone() -> None:
    encoder, decoder = pair()
    encoder.max_frame = MIN_MAX_FRAME
    small = sign_envelope(CARA, recipient=BERT.address, payload=b"x", commitment=bytes(16))
    large = sign_envelope(CARA, recipient=BERT.address, payload=bytes(MIN_MAX_FRAME), commitment=bytes(16))
    with pytest.raises(FrameTooLongError):
        encoder.encode(Transfer(0, 1, 0, large))
    assert decoder.feed(encoder.encode(Transfer(0, 1, 0, small))) == [Transfer(0, 1, 0, small)]


def test_a_probe_that_the_peer_might_refuse_is_not_sent_and_leaves_the_table_alone() -> None:
    encoder, decoder = pair()
    path = tuple(Identity(bytes([100 + n]) * 32) for n in range(30))
    long = Probe(ProbeKind.ANSWER, 1, True, bytes(8), CARA.address, path)
    encoder.max_frame = MIN_MAX_FRAME
    with pytest.raises(FrameTooLongError):
        encoder.encode(long)
    short = dataclasses.replace(long, path=path[:20])
    assert decoder.feed(encoder.encode(short)) == [short]
    encoder.max_frame = MAX_FRAME
    assert decoder.feed(encoder.encode(long)) == [long]


def test_the_keys_of_the_mesh_frames_become_references() -> None:
    encoder, _ = pair()
    announce = sign_announce(CARA, node=BERT.identity, boot=1, counter=2)
    route = Route(2, 40, announce)
    assert len(encoder.encode(route)) == len(encoder.encode(route)) + 33
    assert encoder.encode(Retract((CARA.address, ANNA.address)))[1:] == b"\x83\x07\x02\x00"
    assert encoder.encode(sign_query(ANNA, CARA.address, 1, 1))[2:6] == b"\x87\x08\x00\x02"
    probe = Probe(ProbeKind.REQUEST, 1, True, b"t" * 8, CARA.address, (ANNA.identity, BERT.identity))
    assert encoder.encode(probe)[-3:] == b"\x02\x00\x01"


def test_a_transfer_that_just_fits_the_peer_is_sent() -> None:
    encoder, _ = pair()
    encoder.max_frame = MIN_MAX_FRAME
    fits = sign_envelope(
        CARA, recipient=BERT.address, payload=bytes(MIN_MAX_FRAME - TRANSFER_OVERHEAD), commitment=bytes(16)
    )
    over = sign_envelope(
        CARA, recipient=BERT.address, payload=bytes(MIN_MAX_FRAME - TRANSFER_OVERHEAD + 1), commitment=bytes(16)
    )
    assert encoder.encode(Transfer(0, 1, 0, fits))
    with pytest.raises(FrameTooLongError):
        encoder.encode(Transfer(0, 1, 0, over))


def test_the_least_value_of_every_field_reads_back() -> None:
    encoder, decoder = pair()
    least = sign_envelope(ANNA, recipient=BERT.address, payload=b"", commitment=bytes(16), ttl=1, max_hops=1)
    frames: list[Frame] = [
        Hello(1, 1, 0, 0, 0, False, 0, 0, Role.LEAF, MIN_MAX_FRAME, 0),
        Transfer(0, 0, 0, least),
        sign_announce(CARA, node=CARA.identity, boot=0, counter=0),
        Bye(0, 0, ""),
    ]
    for frame in frames:
        assert decoder.feed(encoder.encode(frame)) == [frame]


def test_a_skipped_frame_cannot_be_sent() -> None:
    with pytest.raises(ShapeError):
        pair()[0].encode(Skipped(200))


def test_a_length_above_the_limit_is_refused_before_its_bytes_come() -> None:
    decoder = FrameDecoder(BERT.identity, ANNA.identity, max_frame=2000)
    assert decoder.feed(encode_varint(2000)) == []
    with pytest.raises(FrameTooLongError):
        FrameDecoder(BERT.identity, ANNA.identity, max_frame=2000).feed(encode_varint(2001))
    with pytest.raises(FrameTooLongError):
        pair()[1].feed(encode_varint(2**62 - 1))


def test_a_decoder_that_met_a_fault_stays_dead() -> None:
    encoder, decoder = pair()
    with pytest.raises(TruncatedError):
        decoder.feed(b"\0")
    with pytest.raises(TruncatedError):
        decoder.feed(encoder.encode(HELLO))


def test_a_fault_in_bytes_that_came_in_pieces_is_found() -> None:
    _, decoder = pair()
    assert decoder.feed(b"\x03\x82") == []
    with pytest.raises(UnknownCriticalFrameError):
        decoder.feed(b"\x0f\x00")


@pytest.mark.parametrize("kind", [128, 255, 70_000, 2**64 - 1])
def test_an_unknown_frame_that_is_not_critical_is_skipped_whatever_it_holds(kind: int) -> None:
    encoder, decoder = pair()
    body = b"\x83" + cbor.uint(kind) + b"\xf6\xfb\xff"
    data = encode_varint(len(body)) + body + encoder.encode(HELLO)
    assert decoder.feed(data) == [Skipped(kind), HELLO]


@pytest.mark.parametrize("kind", [15, 23, 24, 127])
def test_an_unknown_critical_frame_ends_the_link(kind: int) -> None:
    with pytest.raises(UnknownCriticalFrameError):
        pair()[1].feed(framed(kind, "new"))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\0", TruncatedError),
        (b"\x01\x80", ShapeError),
        (b"\x01\x81", TruncatedError),
        (b"\x01\x00", ShapeError),
        (b"\x01\xf4", ShapeError),
        (b"\x02\x81\x40", ShapeError),
        (b"\x02\x81\x20", ShapeError),
        (b"\x02\x9f\x00", WireError),
        (b"\x03\x98\x01\x00", NotShortestError),
        (b"\x03\x81\x18\x05", NotShortestError),
        (b"\x40\x02\x81\x00", NotShortestError),
        (framed(0), ShapeError),
        (framed(*hello_items())[:-1] + b"\x80", ShapeError),
        (framed(*hello_items(), 0), ShapeError),
        (framed(*hello_items(version_min=2)), FieldError),
        (framed(*hello_items(version_min=True)), ShapeError),
        (framed(*hello_items(time_trusted=1)), ShapeError),
        (framed(*hello_items(role=3)), FieldError),
        (framed(*hello_items(max_frame=100)), FieldError),
        (framed(*hello_items(extensions={0: 1})), ShapeError),
        (framed(*hello_items(extensions={0: []})), TooDeepError),
        (framed(*hello_items(extensions=dict.fromkeys(range(17), b""))), FieldError),
        (framed(*hello_items(extensions=dict.fromkeys(range(40), b""))), TooManyItemsError),
        (framed(*transfer_items()[:12]), ShapeError),
        (framed(*transfer_items(), 0), ShapeError),
        (framed(*transfer_items(hops=256)), FieldError),
        (framed(*transfer_items(hops=True)), ShapeError),
        (framed(*transfer_items(copies=b"")), ShapeError),
        (framed(*transfer_items(age=2**32)), FieldError),
        (framed(*transfer_items(element0="x")), ShapeError),
        (framed(*transfer_items(element0=16)), UnknownVersionError),
        (framed(*transfer_items(element0=3)), UnknownVersionError),
        (framed(*transfer_items(element0=11)), FieldError),
        (framed(*transfer_items(sender=2)), EmptySlotError),
        (framed(*transfer_items(recipient=256)), EmptySlotError),
        (framed(*transfer_items(sender=False)), ShapeError),
        (framed(*transfer_items(sender=b"x" * 31)), ShapeError),
        (framed(*transfer_items(sender=ANNA.identity)), RedundantLiteralError),
        (framed(*transfer_items(sender=CARA.identity, recipient=CARA.identity)), RedundantLiteralError),
        (framed(*transfer_items(element0=10, recipient=1)), ShapeError),
        (framed(*transfer_items(ttl=0)), FieldError),
        (framed(*transfer_items(signature=bytes(63))), FieldError),
        (framed(2), FieldError),
        (framed(2, bytes(16)), ShapeError),
        (framed(2, bytes(16), 5), ShapeError),
        (framed(2, 5, bytes(32)), ShapeError),
        (framed(2, bytes(16), bytes(31)), FieldError),
        (framed(2, *(bytes(16), bytes(32)) * 17), FieldError),
        (framed(2, *(bytes(16), bytes(32)) * 40), TooManyItemsError),
        (framed(3), FieldError),
        (framed(3, bytes(32), 10), FieldError),
        (framed(3, bytes(32), True), ShapeError),
        (framed(3, bytes(31), 0), FieldError),
        (framed(4, 0, CARA.identity, 0, 1, 1, 0, b""), ShapeError),
        (framed(4, 0, CARA.identity, 0, 1, 1, 0, b"x", bytes(64)), FieldError),
        (framed(4, 0, CARA.identity, 7, 1, 1, 0, b"", bytes(64)), EmptySlotError),
        (framed(4, 0, CARA.identity, 0, "1", 1, 0, b"", bytes(64)), ShapeError),
        (framed(4, 0, CARA.identity, 0, 1, 1, 0, b"", bytes(64), 0), ShapeError),
        (framed(4, 0, CARA.identity, b"n" * 31, 1, 1, 0, b"", bytes(64)), ShapeError),
        (framed(6, 1, 16, CARA.identity, 0, 1, 1, 0, b""), ShapeError),
        (framed(6, 0, 16, CARA.identity, 0, 1, 1, 0, b"", bytes(64)), FieldError),
        (framed(6, 1, 65_536, CARA.identity, 0, 1, 1, 0, b"", bytes(64)), FieldError),
        (framed(6, 1, False, CARA.identity, 0, 1, 1, 0, b"", bytes(64)), ShapeError),
        (framed(6, 1, 16, CARA.identity, 9, 1, 1, 0, b"", bytes(64)), EmptySlotError),
        (framed(6, 1, 16, CARA.identity, CARA.identity, 1, 1, 0, b"", bytes(64)), RedundantLiteralError),
        (framed(6, 1, 16, CARA.identity, 0, 1, 1, 0, b"", bytes(63)), FieldError),
        (framed(7), FieldError),
        (framed(7, CARA.identity[1:]), ShapeError),
        (framed(7, 2), EmptySlotError),
        (framed(7, True), ShapeError),
        (framed(7, *range(2), *([0] * 15)), FieldError),
        (framed(8, 0, CARA.identity, 0, 1, 1), ShapeError),
        (framed(8, 0, CARA.identity, 0, 1, b"", bytes(64)), ShapeError),
        (framed(8, 256, CARA.identity, 0, 1, 1, bytes(64)), FieldError),
        (framed(8, 0, CARA.identity, 0, 2**32, 1, bytes(64)), FieldError),
        (framed(8, 0, CARA.identity, 0, 1, 1, bytes(65)), FieldError),
        (framed(9), FieldError),
        (framed(9, bytes(15)), FieldError),
        (framed(9, 1), ShapeError),
        (framed(9, [bytes(16)]), ShapeError),
        (framed(9, *[bytes(16)] * 33), FieldError),
        (framed(9, *[bytes(16)] * 70), TooManyItemsError),
        (framed(10), ShapeError),
        (framed(10, True), FieldError),
        (framed(10, 1, bytes(16)), ShapeError),
        (framed(10, bytes(16)), ShapeError),
        (framed(10, True, 7), ShapeError),
        (framed(10, True, bytes(32)), FieldError),
        (framed(11, 0), ShapeError),
        (framed(12), ShapeError),
        (framed(12, "x"), ShapeError),
        (framed(12, b""), FieldError),
        (framed(12, bytes(901)), FieldError),
        (framed(12, b"x", b"x"), ShapeError),
        (framed(13, 0, 0, False, bytes(8)), ShapeError),
        (framed(13, 3, 0, False, bytes(8), 0), FieldError),
        (framed(13, False, 0, False, bytes(8), 0), ShapeError),
        (framed(13, 0, 0, 0, bytes(8), 0), ShapeError),
        (framed(13, 0, 256, False, bytes(8), 0), FieldError),
        (framed(13, 0, 0, False, bytes(7), 0), FieldError),
        (framed(13, 0, 0, False, bytes(8), "x"), ShapeError),
        (framed(13, 0, 0, True, bytes(8), 0, 2), EmptySlotError),
        (framed(13, 0, 0, True, bytes(8), 0, [0]), ShapeError),
        (framed(13, 0, 0, True, bytes(8), 0, *[0] * 65), TooManyItemsError),
        (framed(5, 0, 0), ShapeError),
        (framed(5, 0, 0, b"reason"), ShapeError),
        (framed(5, 70_000, 0, ""), FieldError),
        (framed(5, 0, 0, "x" * 129), FieldError),
        (b"\x05\x84\x05\x00\x00\xf6", UnsupportedItemError),
        (b"\x06\x84\x05\x00\x00\x60\x00", TrailingBytesError),
    ],
)
def test_a_frame_of_another_shape_ends_the_link(data: bytes, error: type[WireError]) -> None:
    with pytest.raises(error):
        pair()[1].feed(data)


def test_the_codes_to_close_with_tell_old_from_broken() -> None:
    assert close_code(UnknownCriticalFrameError("x")) == CloseCode.UNKNOWN_CRITICAL
    assert close_code(UnknownVersionError("x")) == CloseCode.VERSION
    assert close_code(ShapeError("x")) == CloseCode.MALFORMED
