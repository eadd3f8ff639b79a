"""Follows the kernel's links and addresses over an AF_NETLINK socket: the asyncio shell around Follower."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from qpq.discovery.errors import DiscoveryError
from qpq.discovery.follower import Follower, Phase
from qpq.discovery.netlink import MAX_DATAGRAM

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.discovery.interfaces import InterfaceTable

QUIET: Final = 0.25
"""Seconds without a further change before ``on_change`` is called ..."""

PATIENCE: Final = 2.0
"""... but at most so many seconds after the first."""

DUMP_DEADLINE: Final = 5.0
_FIRST_RETRY, _LAST_RETRY = 0.2, 30.0
_BATCH = 32
_NETLINK_ROUTE = 0
_GROUPS = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR

log = logging.getLogger(__name__)


def open_netlink() -> socket.socket:
    """Return a non-blocking rtnetlink socket in the groups of links and addresses; raises OSError."""
    sock = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _NETLINK_ROUTE
    )
    try:
        sock.bind((0, _GROUPS))
    except OSError:
        sock.close()
        raise
    return sock


class Watcher:
    """Keeps ``table`` current and calls ``on_change`` when it changed and calmed down; nothing is polled."""

    def __init__(
        self, on_change: Callable[[], None], *, open_socket: Callable[[], socket.socket] = open_netlink
    ) -> None:
        self._on_change = on_change
        self._open_socket = open_socket
        self._follower = Follower()
        self._socket: socket.socket | None = None
        self._whole = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        self._calm: asyncio.TimerHandle | None = None
        self._first_change = 0.0
        self._retry = _FIRST_RETRY
        self._retrying = False
        self.overflows = 0

    @property
    def table(self) -> InterfaceTable:
        """The interfaces as last seen whole."""
        return self._follower.table

    @property
    def counters(self) -> dict[str, int]:
        """Dumps asked for, datagrams that were damaged, receive buffers that overflowed."""
        follower = self._follower
        return {"netlink_dumps": follower.dumps, "netlink_damaged": follower.damaged, "netlink_lost": self.overflows}

    async def start(self) -> None:
        """Open the socket and wait for the first whole table; raises DiscoveryError."""
        try:
            self._socket = self._open_socket()
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._socket, self._readable)
            self._dump()
            async with asyncio.timeout(DUMP_DEADLINE):
                await self._whole.wait()
        except OSError as error:  # a TimeoutError is one
            self.close()
            raise DiscoveryError(
                f"cannot read the network interfaces by netlink ({str(error) or 'no answer'}); "
                "allow AF_NETLINK sockets to this process (systemd: RestrictAddressFamilies, container: seccomp)"
            ) from error

    def close(self) -> None:
        """Stop; may be called twice."""
        for timer in (self._deadline, self._calm):
            if timer is not None:
                timer.cancel()
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _dump(self) -> None:
        self._retrying = False
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_later(DUMP_DEADLINE, self._dump)
        self._send(self._follower.dump())

    def _send(self, request: bytes) -> None:
        if self._socket is not None:
            with suppress(BlockingIOError, OSError):  # the deadline asks again
                self._socket.sendto(request, (0, 0))

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self._socket is None:
                return
            try:
                data, _ancillary, flags, sender = self._socket.recvmsg(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    log.warning("netlink: %s", os.strerror(error.errno or 0))
                self.overflows += 1
                self._again()
                return
            if sender[0] != 0:  # only the kernel is believed
                continue
            if flags & socket.MSG_TRUNC:
                self.overflows += 1
                self._again()
                continue
            self._take(data)

    def _take(self, data: bytes) -> None:
        request, changed = self._follower.feed(data)
        changed &= self._whole.is_set()  # the first table is no change
        if request is not None:
            self._send(request)
        if self._follower.phase is Phase.AGAIN:
            self._again()
        elif self._follower.phase is Phase.IDLE and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self._retry = _FIRST_RETRY
            self._whole.set()
        if changed:
            self._changed()

    def _again(self) -> None:
        """Dump anew after a pause that doubles while it keeps failing."""
        self._follower.lost()
        if self._retrying:
            return
        self._retrying = True
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_later(self._retry, self._dump)
        self._retry = min(self._retry * 2, _LAST_RETRY)

    def _changed(self) -> None:
        now = self._loop.time()
        if self._calm is None:
            self._first_change = now
        else:
            self._calm.cancel()
        self._calm = self._loop.call_at(min(now + QUIET, self._first_change + PATIENCE), self._tell)

    def _tell(self) -> None:
        self._calm = None
        self._on_change()
