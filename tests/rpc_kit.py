"""Two ends of an RPC connection joined by hand, and messages written word by word."""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING

from qpq.wire.capnp_segments import join
from qpq.wire.rpc import RpcConnection
from qpq.wire.rpc_codec import decode_message, encode_message
from qpq.wire.rpc_events import Own

if TYPE_CHECKING:
    from qpq.wire.rpc_events import RpcEvent
    from qpq.wire.rpc_limits import RpcLimits
    from qpq.wire.rpc_messages import RpcMessage

INTERFACE, METHOD = 0x1234, 7


def words(*values: int) -> bytes:
    """Return words, as they stand in a segment."""
    return b"".join(pack("<Q", value & (1 << 64) - 1) for value in values)


def struct_pointer(offset: int, data: int, pointers: int) -> int:
    return (offset & 0x3FFFFFFF) << 2 | data << 32 | pointers << 48


def list_pointer(offset: int, size: int, count: int) -> int:
    return (offset & 0x3FFFFFFF) << 2 | 1 | size << 32 | count << 35


def far_pointer(segment: int, at: int, *, double: bool = False) -> int:
    return 2 | double << 2 | at << 3 | segment << 32


def content_with(*indexes: int, data: int = 0) -> bytes:
    """Return a message whose root has one word of data and capabilities with these indexes as pointers."""
    return join([words(struct_pointer(0, 1, len(indexes)), data, *[3 | index << 32 for index in indexes])])


class Pair:
    """A left and a right end; ``run`` moves bytes until there are none and returns what each was told."""

    def __init__(self, *, left: RpcLimits | None = None, right: RpcLimits | None = None) -> None:
        self.left = RpcConnection(Own("left"), left)
        self.right = RpcConnection(Own("right"), right)

    def run(self) -> tuple[list[RpcEvent], list[RpcEvent]]:
        lefts, rights = self.left.events(), self.right.events()
        while True:
            to_right, to_left = self.left.data_to_send(), self.right.data_to_send()
            if not to_right and not to_left:
                return lefts, rights
            rights += self.right.receive(to_right)
            lefts += self.left.receive(to_left)


class Alone:
    """One end, whose peer is the test: it sends messages and reads those that come."""

    def __init__(self, limits: RpcLimits | None = None) -> None:
        self.end = RpcConnection(Own("end"), limits)
        self.limits = self.end.limits

    def send(self, *messages: RpcMessage) -> list[RpcEvent]:
        return self.end.receive(b"".join(map(encode_message, messages)))

    def sent(self) -> list[RpcMessage]:
        """Return the messages that the end has sent."""
        data, found = self.end.data_to_send(), []
        while data:
            count = int.from_bytes(data[:4], "little") + 1
            sizes = [int.from_bytes(data[4 * number : 4 * number + 4], "little") for number in range(1, count + 1)]
            length = (count // 2 + 1) * 8 + 8 * sum(sizes)
            found.append(decode_message(data[:length], self.limits))
            data = data[length:]
        return found
