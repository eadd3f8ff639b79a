"""What the tests of discovery share: virtual time, messages as the kernel and responders write them."""

from __future__ import annotations

import asyncio
import random
import selectors
import socket
import struct
from typing import TYPE_CHECKING, Any

from qpq.discovery.interfaces import Interface, InterfaceAddress
from qpq.discovery.netlink import IFF_LOOPBACK, IFF_MULTICAST, IFF_RUNNING, IFF_UP

if TYPE_CHECKING:
    from collections.abc import Coroutine

NEWLINK, DELLINK, NEWADDR, DELADDR, DONE, ERROR, OVERRUN = 16, 17, 20, 21, 3, 2, 4
USUAL = IFF_UP | IFF_RUNNING | IFF_MULTICAST
LINK_LOCAL = InterfaceAddress("fe80::1", 64, 253)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when nothing else is to be done."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events and timeout:
            self._loop.now += timeout
        if not events and timeout is None:
            raise AssertionError("nothing will ever happen again")
        return events


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 (the same numbers every time)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main)


def attribute(kind: int, value: bytes, order: str = "=") -> bytes:
    return struct.pack(order + "HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def netlink(kind: int, body: bytes, *, sequence: int = 0, header: int = 0, order: str = "=") -> bytes:
    start = struct.pack(order + "IHHII", 16 + len(body), kind, header, sequence, 0)
    return start + body + bytes(-len(body) % 4)


def link(
    index: int,
    name: str,
    flags: int = USUAL,
    *,
    kind: int = NEWLINK,
    family: int = 0,
    extra: bytes = b"",
    order: str = "=",
    **more: Any,
) -> bytes:
    body = struct.pack(order + "BxHiII", family, 1, index, flags, 0) + attribute(3, name.encode() + b"\0", order)
    return netlink(kind, body + extra, order=order, **more)


def address(
    index: int,
    host: str,
    prefix: int = 64,
    flags: int = 0,
    *,
    kind: int = NEWADDR,
    order: str = "=",
    local: str = "",
    **more: Any,
) -> bytes:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    body = struct.pack(order + "BBBBI", family, prefix, flags & 0xFF, 253 if host.startswith("fe8") else 0, index)
    body += attribute(1, socket.inet_pton(family, host), order)
    if local:
        body += attribute(2, socket.inet_pton(family, local), order)
    return netlink(kind, body + attribute(8, struct.pack(order + "I", flags), order), order=order, **more)


def done(sequence: int, error: int = 0, order: str = "=") -> bytes:
    return netlink(DONE, struct.pack(order + "i", error), sequence=sequence, header=2, order=order)


def interface(index: int = 2, name: str = "eth0", **fields: Any) -> Interface:
    fields.setdefault("addresses", (LINK_LOCAL,))
    return Interface(index, name, fields.pop("flags", USUAL), **fields)


def loopback() -> Interface:
    return Interface(1, "lo", IFF_UP | IFF_RUNNING | IFF_LOOPBACK, addresses=(InterfaceAddress("127.0.0.1", 8, 254),))


def dns_name(text: str) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in text.rstrip(".").encode().split(b".")) + b"\0"


def dns_record(owner: bytes | str, kind: int, data: bytes, ttl: int = 120, kind_class: int = 0x8001) -> bytes:
    name = owner if isinstance(owner, bytes) else dns_name(owner)
    return name + struct.pack(">HHIH", kind, kind_class, ttl, len(data)) + data


def dns_response(*records: bytes, identifier: int = 0, questions: bytes = b"", flags: int = 0x8400) -> bytes:
    count = 1 if questions else 0
    return struct.pack(">HHHHHH", identifier, flags, count, len(records), 0, 0) + questions + b"".join(records)
