"""The beacon: one small datagram by which nodes on a segment hear of each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from qpq.wire.cbor import Limits, decode, encode
from qpq.wire.errors import FieldError, ShapeError, UnknownVersionError

if TYPE_CHECKING:
    from qpq.crypto.identity import Identity

MAX_BEACON: Final = 96
BEACON_VERSION: Final = 1

_MAGIC = b"qpq"
_LIMITS = Limits(depth=1, items=5, length=MAX_BEACON)
_SHAPE = [bytes, int, bytes, int, int]
_NODE_SIZE = 32
_MAX_PORT = 0xFFFF
_MAX_BOOT = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Beacon:
    """A node's id, the UDP port of its links (1..65535) and its boot number; nothing of it is proven."""

    node: Identity
    port: int
    boot: int

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        if len(self.node) != _NODE_SIZE or not 1 <= self.port <= _MAX_PORT or not 0 <= self.boot <= _MAX_BOOT:
            raise FieldError(f"a node id of {len(self.node)} bytes, port {self.port} or boot {self.boot} does not fit")


def encode_beacon(beacon: Beacon) -> bytes:
    """Return the datagram, 43 to 50 bytes."""
    return encode([_MAGIC, BEACON_VERSION, beacon.node, beacon.port, beacon.boot])


def decode_beacon(datagram: bytes) -> Beacon:
    """Read a datagram; raises UnknownVersionError for a beacon of a later version, else WireError."""
    items = decode(datagram, _LIMITS)
    if type(items) is not list or items[:1] != [_MAGIC]:
        raise ShapeError("no beacon of qpq")
    if items[1:2] != [BEACON_VERSION]:
        raise UnknownVersionError(f"a beacon of another version, this program speaks {BEACON_VERSION}")
    if [type(item) for item in items] != _SHAPE:
        raise ShapeError("a beacon is [magic, version, node id, port, boot]")
    fields = cast("list[Any]", items)
    return Beacon(fields[2], fields[3], fields[4])
