"""The bodies of the frames that tell routes, spread flooded envelopes and probe, for wire.codec.

Keys go through the direction's table, from left to right. A writer cannot fail: a frame that exists
fits the wire. A reader gets the decoded array and raises a WireError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qpq.wire.cbor import array_head, byte_string, expect, uint
from qpq.wire.errors import FieldError, ShapeError
from qpq.wire.frames import Frame, FrameType
from qpq.wire.frames_mesh import Announce, Graft, IHave, Probe, ProbeKind, Prune, Query, Reconcile, Retract, Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.wire.keytable import KeyTable

KEY_ITEM: Final = 34
"""Bytes of a key that travels in full."""
PROBE_HEAD: Final = 64
"""Bytes of a PROBE without its path at most."""

_ANNOUNCE_SHAPE = [int, int, bytes, bytes, int, int, int, bytes, bytes]
_ROUTE_SHAPE = [int, int, int, bytes, bytes, int, int, int, bytes, bytes]
_QUERY_SHAPE = [int, int, bytes, bytes, int, int, bytes]
_PROBE_SHAPE = [int, int, int, bool, bytes, bytes]
_RECONCILE_SHAPE = [int, bytes]
_PATH = len(_PROBE_SHAPE)
_KINDS = {kind.value: kind for kind in ProbeKind}


def _write_announce(table: KeyTable, frame: Announce) -> bytes:
    return b"\x89\x04" + uint(frame.hops) + _signed(table, frame)


def _write_route(table: KeyTable, frame: Route) -> bytes:
    return b"\x8a\x06" + uint(frame.hops) + uint(frame.cost) + _signed(table, frame.announce)


def _signed(table: KeyTable, announce: Announce) -> bytes:
    return b"".join(
        (
            table.write(announce.address),
            table.write(announce.node),
            uint(announce.boot),
            uint(announce.counter),
            uint(announce.capabilities),
            byte_string(announce.kem_hash),
            b"\x58\x40",
            announce.signature,
        )
    )


def _write_retract(table: KeyTable, frame: Retract) -> bytes:
    return b"".join((array_head(1 + len(frame.addresses)), b"\x07", *map(table.write, frame.addresses)))


def _write_query(table: KeyTable, frame: Query) -> bytes:
    return b"".join(
        (
            b"\x87\x08",
            uint(frame.hops),
            table.write(frame.target),
            table.write(frame.asker),
            uint(frame.boot),
            uint(frame.counter),
            b"\x58\x40",
            frame.signature,
        )
    )


def _write_ihave(_table: KeyTable, frame: IHave) -> bytes:
    return b"".join((array_head(1 + len(frame.short_ids)), b"\x09\x50", b"\x50".join(frame.short_ids)))


def _write_graft(_table: KeyTable, frame: Graft) -> bytes:
    eager = b"\x0a\xf5\x50" if frame.eager else b"\x0a\xf4\x50"
    return b"".join((array_head(2 + len(frame.short_ids)), eager, b"\x50".join(frame.short_ids)))


def _write_prune(_table: KeyTable, _frame: Prune) -> bytes:
    return b"\x81\x0b"


def _write_reconcile(_table: KeyTable, frame: Reconcile) -> bytes:
    return b"\x82\x0c" + byte_string(frame.ranges)


def _write_probe(table: KeyTable, frame: Probe) -> bytes:
    return b"".join(
        (
            array_head(_PATH + len(frame.path)),
            b"\x0d",
            uint(frame.kind),
            uint(frame.hops),
            b"\xf5" if frame.trace else b"\xf4",
            b"\x48",
            frame.token,
            table.write(frame.target),
            *map(table.write, frame.path),
        )
    )


def _read_announce(table: KeyTable, items: list[Any]) -> Announce:
    _keys("ANNOUNCE", table, items, (2, 3), _ANNOUNCE_SHAPE)
    return Announce(*items[1:])


def _read_route(table: KeyTable, items: list[Any]) -> Route:
    _keys("ROUTE", table, items, (3, 4), _ROUTE_SHAPE)
    return Route(items[1], items[2], Announce(0, *items[3:]))


def _read_retract(table: KeyTable, items: list[Any]) -> Retract:
    return Retract(tuple(map(table.read, items[1:])))  # type: ignore[arg-type]


def _read_query(table: KeyTable, items: list[Any]) -> Query:
    _keys("QUERY", table, items, (2, 3), _QUERY_SHAPE)
    return Query(*items[1:])


def _read_ihave(_table: KeyTable, items: list[Any]) -> IHave:
    return IHave(_byte_strings(items[1:]))


def _read_graft(_table: KeyTable, items: list[Any]) -> Graft:
    if len(items) == 1 or type(items[1]) is not bool:
        raise ShapeError("GRAFT is [int, bool, bytes, ...]")
    return Graft(items[1], _byte_strings(items[2:]))


def _read_prune(_table: KeyTable, items: list[Any]) -> Prune:
    expect("PRUNE", items, [int])
    return Prune()


def _read_reconcile(_table: KeyTable, items: list[Any]) -> Reconcile:
    expect("RECONCILE", items, _RECONCILE_SHAPE)
    return Reconcile(items[1])


def _read_probe(table: KeyTable, items: list[Any]) -> Probe:
    path = items[_PATH:]
    del items[_PATH:]
    _keys("PROBE", table, items, (5,), _PROBE_SHAPE)
    _, code, hops, trace, token, target = items
    kind = _KINDS.get(code)
    if kind is None:
        raise FieldError(f"probes of kind {code} do not exist")
    return Probe(kind, hops, trace, token, target, tuple(map(table.read, path)))  # type: ignore[arg-type]


def _keys(name: str, table: KeyTable, items: list[Any], places: tuple[int, ...], shape: list[type]) -> None:
    """Put keys where their references stand and check the frame's shape."""
    if len(items) != len(shape):
        raise ShapeError(f"{name} has {len(shape)} elements, not {len(items)}")
    for place in places:
        items[place] = table.read(items[place])
    expect(name, items, shape)


def _byte_strings(items: list[Any]) -> tuple[bytes, ...]:
    if any(type(item) is not bytes for item in items):
        raise ShapeError("a short id is a byte string")
    return tuple(items)


MESH_WRITERS: Final[dict[type[Frame], Callable[[KeyTable, Any], bytes]]] = {
    Announce: _write_announce,
    Route: _write_route,
    Retract: _write_retract,
    Query: _write_query,
    IHave: _write_ihave,
    Graft: _write_graft,
    Prune: _write_prune,
    Reconcile: _write_reconcile,
    Probe: _write_probe,
}

MESH_READERS: Final[dict[int, Callable[[KeyTable, list[Any]], Frame]]] = {
    FrameType.ANNOUNCE: _read_announce,
    FrameType.ROUTE: _read_route,
    FrameType.RETRACT: _read_retract,
    FrameType.QUERY: _read_query,
    FrameType.IHAVE: _read_ihave,
    FrameType.GRAFT: _read_graft,
    FrameType.PRUNE: _read_prune,
    FrameType.RECONCILE: _read_reconcile,
    FrameType.PROBE: _read_probe,
}
