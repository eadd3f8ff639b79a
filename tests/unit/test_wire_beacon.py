from __future__ import annotations

import pytest

from qpq.crypto.identity import Identity
from qpq.wire import cbor
from qpq.wire.beacon import MAX_BEACON, Beacon, decode_beacon, encode_beacon
from qpq.wire.errors import (
    FieldError,
    ShapeError,
    TooLongError,
    TrailingBytesError,
    TruncatedError,
    UnknownVersionError,
    WireError,
)

NODE = Identity(bytes(range(32)))


@pytest.mark.parametrize("beacon", [Beacon(NODE, 7000, 1), Beacon(NODE, 1, 0), Beacon(NODE, 65_535, 2**32 - 1)])
def test_a_beacon_reads_back_from_a_datagram_of_at_most_96_bytes(beacon: Beacon) -> None:
    datagram = encode_beacon(beacon)
    assert len(datagram) <= MAX_BEACON
    assert decode_beacon(datagram) == beacon
    assert cbor.decode(datagram) == [b"qpq", 1, beacon.node, beacon.port, beacon.boot]


@pytest.mark.parametrize(
    ("datagram", "error"),
    [
        (b"", TruncatedError),
        (b"qpq", WireError),
        (cbor.encode([b"qpr", 1, NODE, 7000, 1]), ShapeError),
        (cbor.encode([]), ShapeError),
        (cbor.encode(b"qpq"), ShapeError),
        (cbor.encode([b"qpq"]), UnknownVersionError),
        (cbor.encode([b"qpq", 2, NODE]), UnknownVersionError),
        (cbor.encode([b"qpq", True, NODE, 7000, 1]), ShapeError),
        (cbor.encode([b"qpq", 1, NODE, 7000]), ShapeError),
        (cbor.encode([b"qpq", 1, NODE, 7000, b""]), ShapeError),
        (cbor.encode([b"qpq", 1, NODE[1:], 7000, 1]), FieldError),
        (cbor.encode([b"qpq", 1, NODE, 0, 1]), FieldError),
        (cbor.encode([b"qpq", 1, NODE, 65_536, 1]), FieldError),
        (cbor.encode([b"qpq", 1, NODE, 7000, 2**32]), FieldError),
        (encode_beacon(Beacon(NODE, 7000, 1)) + b"\0", TrailingBytesError),
        (bytes(MAX_BEACON + 1), TooLongError),
    ],
)
def test_a_datagram_that_is_no_beacon_is_refused(datagram: bytes, error: type[WireError]) -> None:
    with pytest.raises(error):
        decode_beacon(datagram)


@pytest.mark.parametrize(("node", "port", "boot"), [(NODE[1:], 1, 1), (NODE, 0, 1), (NODE, 65_536, 1), (NODE, 1, -1)])
def test_a_beacon_that_does_not_fit_the_wire_cannot_be_made(node: bytes, port: int, boot: int) -> None:
    with pytest.raises(FieldError):
        Beacon(Identity(node), port, boot)
