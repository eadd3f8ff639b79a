"""What peers of other domains and clients send: Cap'n Proto messages and RPC."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qpq.wire.capnp_build import CAPABILITY_ROOT, EMPTY
from qpq.wire.capnp_errors import CapnpError
from qpq.wire.capnp_layout import Message, check
from qpq.wire.capnp_segments import MessageSplitter, join, split
from qpq.wire.capnp_view import capability_at, root
from qpq.wire.rpc import RpcConnection
from qpq.wire.rpc_codec import decode_message, encode_message
from qpq.wire.rpc_errors import RpcError, RpcProtocolError
from qpq.wire.rpc_events import Called, Own, Pipelined, Promise, Remote, Returned
from qpq.wire.rpc_limits import RpcLimits
from qpq.wire.rpc_messages import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = RpcLimits(message=1 << 16, calls=4, answers=8, questions=8, exports=4, imports=4, held=4096)
STAND_IN = Path(__file__).resolve().parents[2] / "node" / "qpq" / "shims" / "capnp" / "__init__.py"


def framing(data: bytes) -> None:
    """Cut a stream into messages, whole and in two pieces; the first byte says where the cut is."""
    data, at = data[1:], data[0] if data else 0
    whole, pieces = MessageSplitter(4096), MessageSplitter(4096)
    found: list[bytes] = []
    with contextlib.suppress(CapnpError):
        found = whole.feed(data)
        assert pieces.feed(data[:at]) + pieces.feed(data[at:]) == found
        assert b"".join(found) == data[: len(data) - whole.pending]
    for message in found:
        assert len(join(split(message))) == len(message)


def message(data: bytes) -> None:
    """Check a message; every tree in one that is sound is a sound message of its own."""
    with contextlib.suppress(CapnpError):
        view = root(data, 4096, 16)
        for number in range(4):
            tree = view.tree(number)
            check(Message(split(tree)))
            capability_at(tree, (0, 1))
            view.uint(number * 3, 8)
            with contextlib.suppress(CapnpError):
                view.text(number)
            with contextlib.suppress(CapnpError):
                assert len(view.structs(number, 64)) <= 64


def rpc_message(data: bytes) -> None:
    """Read one message of RPC; what is understood is written so that it is understood the same."""
    with contextlib.suppress(CapnpError, RpcProtocolError):
        found = decode_message(data, LIMITS)
        again = encode_message(found)
        if len(again) <= LIMITS.message:
            assert type(decode_message(again, LIMITS)) is type(found)


def rpc(data: bytes) -> None:
    """Let bytes into a connection that answers, asks and hands out capabilities of its own, some settled too late."""
    connection = RpcConnection(Own(0), LIMITS)
    first = connection.bootstrap()
    connection.call(Pipelined(first, (0,)), 1, 1)
    late: list[Promise] = []
    for at in range(0, len(data), 512):
        _play(connection, connection.receive(data[at : at + 512]), late)
        tables = connection._caps, connection._answers, connection._questions
        assert len(tables[0].exports) <= LIMITS.exports
        assert len(tables[0].imports) <= LIMITS.imports
        assert len(tables[1]._by_wire) <= LIMITS.answers
        assert len(tables[2]._all) <= LIMITS.questions
        assert tables[1]._held >= 0
    connection.end("over")
    assert not connection.is_open
    connection.events()
    for promise in late:
        connection.resolve(promise, Own(2))
    connection.finish(first)
    assert connection.events() + connection.tick(1e9) == [], "nothing follows the end"


def _play(connection: RpcConnection, events: list[Any], late: list[Promise]) -> None:
    while events:
        for event in events:
            if isinstance(event, Called):
                _answer(connection, event, late)
            elif isinstance(event, Returned):
                for cap in event.caps:
                    if isinstance(cap, Remote):
                        with contextlib.suppress(RpcError):
                            connection.call(cap, 1, 0, EMPTY, (cap,), keep=True)
        events = connection.events()
    connection.data_to_send()


def _answer(connection: RpcConnection, call: Called, late: list[Promise]) -> None:
    kind = call.method % 5
    if kind == 0:
        connection.answer(call.answer, call.content, call.caps)
    elif kind == 1:
        connection.answer(call.answer, CAPABILITY_ROOT, (Own(call.answer),))
    elif kind == 2:
        connection.fail(call.answer, Failure(1, "no"))
    elif kind == 3:
        promise = connection.promise()
        connection.answer(call.answer, CAPABILITY_ROOT, (promise,))
        connection.resolve(promise, call.caps[0] if call.caps else Own(1))
    elif kind == 4:
        late.append(connection.promise())
        connection.answer(call.answer, CAPABILITY_ROOT, (late[-1],))
    for cap in call.caps[::2]:
        connection.release(cap)


def values(data: bytes) -> None:
    """Read parameters with the router's stand-in for pycapnp; the first byte says of which method."""
    module = _stand_in()
    number, data = (data[0], data[1:]) if data else (0, b"")
    layouts = [layout for file in sorted(module.FILES) for pair in _methods(module.FILES[file]) for layout in pair]
    struct = module._StructModule(layouts[number % len(layouts)], "any")
    with contextlib.suppress(module.KjException, UnicodeDecodeError):
        with struct.from_bytes(data, 1024, 16) as read:
            found = read.to_dict()
        struct.new_message(**found).to_bytes()


def _methods(file: dict[str, Any]) -> list[Any]:
    return [pair for methods in file.values() for pair in methods.values()]


@cache
def _stand_in() -> Any:
    """Import the stand-in beside the real package, under another name."""
    spec = importlib.util.spec_from_file_location(
        "stand_in_capnp", STAND_IN, submodule_search_locations=[str(STAND_IN.parent)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["stand_in_capnp"] = module
    spec.loader.exec_module(module)
    return module


TARGETS: dict[str, Callable[[bytes], None]] = {
    "capnp": message,
    "capnp_framing": framing,
    "capnp_values": values,
    "rpc": rpc,
    "rpc_message": rpc_message,
}
