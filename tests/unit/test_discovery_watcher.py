"""The shell around the netlink socket: first table, overflow, deadlines, calm before ``on_change``."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest
from discovery_kit import address, done, link, run

from qpq.discovery.errors import DiscoveryError
from qpq.discovery.netlink import request_addresses, request_links
from qpq.discovery.watcher import DUMP_DEADLINE, PATIENCE, QUIET, Watcher, open_netlink


class Kernel:
    """A netlink socket whose other end is the test; ``answer`` makes it complete dumps by itself."""

    def __init__(self, *, answer: bool = True) -> None:
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._near.setblocking(False)
        self.answer = answer
        self.links = link(2, "eth0")
        self.requests: list[bytes] = []
        self.queue: list[tuple[bytes, int, int] | OSError] = []

    def fileno(self) -> int:
        return self._near.fileno()

    def close(self) -> None:
        self._near.close()
        self._far.close()

    def say(self, data: bytes, flags: int = 0, port: int = 0) -> None:
        self.queue.append((data, flags, port))
        self._far.send(b"!")

    def fail(self, number: int) -> None:
        self.queue.append(OSError(number, "it says"))
        self._far.send(b"!")

    def sendto(self, request: bytes, _to: object) -> None:
        self.requests.append(request)
        if self.answer:
            sequence = int.from_bytes(request[8:12], "little" if request[0] else "big")
            self.say((self.links if len(request) == 40 else address(2, "fe80::1")) + done(sequence))

    def recvmsg(self, _size: int) -> tuple[bytes, list[object], int, tuple[int, int]]:
        if not self.queue:
            raise BlockingIOError
        self._near.recv(1)
        item = self.queue.pop(0)
        if isinstance(item, OSError):
            raise item
        return item[0], [], item[1], (item[2], 0)


class Rig:
    def __init__(self, *, answer: bool = True) -> None:
        self.kernel = Kernel(answer=answer)
        self.changes: list[float] = []
        self.watcher = Watcher(
            lambda: self.changes.append(asyncio.get_running_loop().time()), open_socket=lambda: self.kernel
        )


def test_start_waits_for_the_whole_table_and_tells_no_change_for_it() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.watcher.start()
        assert [i.name for i in rig.watcher.table] == ["eth0"]
        assert rig.kernel.requests == [request_links(1), request_addresses(2)]
        await asyncio.sleep(60)
        assert rig.changes == []
        assert rig.watcher.counters == {"netlink_dumps": 1, "netlink_damaged": 0, "netlink_lost": 0}
        rig.watcher.close()
        rig.watcher.close()

    run(main())


def test_changes_are_told_once_they_calmed_down_but_not_too_late() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.watcher.start()
        start = asyncio.get_running_loop().time()
        for n in range(3):
            rig.kernel.say(address(2, f"fd00::{n}"))
        await asyncio.sleep(10)
        assert rig.changes == [pytest.approx(start + QUIET)]
        rig.changes.clear()
        start = asyncio.get_running_loop().time()
        for n in range(40):
            rig.kernel.say(address(2, f"fd00:{n % 2}::", kind=20 + (n // 2 + n) % 2))
            rig.kernel.say(address(2, f"fd00::{n}", flags=0x20 * (n % 2)))
            await asyncio.sleep(QUIET / 2)
        assert rig.changes[0] <= start + PATIENCE + QUIET
        rig.watcher.close()

    run(main())


def test_messages_of_other_processes_are_not_believed() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.watcher.start()
        rig.kernel.say(link(9, "evil0"), port=4711)
        await asyncio.sleep(1)
        assert len(rig.watcher.table) == 1
        rig.watcher.close()

    run(main())


@pytest.mark.parametrize("fault", ["overflow", "cut", "damaged", "other"])
def test_lost_and_damaged_messages_lead_to_a_new_dump(fault: str) -> None:
    async def main() -> None:
        rig = Rig()
        await rig.watcher.start()
        rig.kernel.links = link(3, "wlan0")
        if fault == "cut":
            rig.kernel.say(b"", socket.MSG_TRUNC)
        elif fault == "damaged":
            rig.kernel.say(b"\1")
        else:
            rig.kernel.fail(errno.ENOBUFS if fault == "overflow" else errno.ENETDOWN)
        rig.kernel.say(link(4, "gone0"))
        await asyncio.sleep(1)
        assert [i.name for i in rig.watcher.table] == ["wlan0"]
        assert len(rig.changes) == 1
        assert sum(rig.watcher.counters.values()) == 3
        rig.watcher.close()

    run(main())


def test_dumps_that_keep_failing_are_asked_for_ever_more_rarely() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.watcher.start()
        rig.kernel.answer = False
        for _ in range(400):
            rig.kernel.say(b"\1")
            await asyncio.sleep(0.5)
        assert 5 < rig.watcher.counters["netlink_dumps"] < 15
        rig.kernel.answer = True
        await asyncio.sleep(60)
        assert [i.name for i in rig.watcher.table] == ["eth0"]
        rig.watcher.close()

    run(main())


def test_an_unanswered_dump_is_asked_for_again() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.watcher.start()
        rig.kernel.answer = False
        rig.kernel.fail(errno.ENOBUFS)
        await asyncio.sleep(2 * DUMP_DEADLINE + 1)
        assert len(rig.kernel.requests) >= 4
        rig.watcher.close()

    run(main())


def test_no_answer_at_the_start_is_told_with_what_helps() -> None:
    async def main() -> None:
        rig = Rig(answer=False)
        with pytest.raises(DiscoveryError, match=r"no answer.*allow AF_NETLINK"):
            await rig.watcher.start()

    run(main())


def test_a_forbidden_socket_is_told_with_the_reason() -> None:
    def forbidden() -> socket.socket:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    async def main() -> None:
        with pytest.raises(DiscoveryError, match="Operation not permitted"):
            await Watcher(lambda: None, open_socket=forbidden).start()

    run(main())


def test_a_send_that_would_block_is_asked_again_after_the_deadline() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.watcher.start()
        send, blocked = rig.kernel.sendto, []

        def sendto(request: bytes, to: object) -> None:
            if not blocked:
                blocked.append(request)
                raise BlockingIOError
            send(request, to)

        rig.kernel.sendto = sendto  # type: ignore[method-assign]
        rig.kernel.fail(errno.ENOBUFS)
        rig.kernel.links = link(5, "usb0")
        await asyncio.sleep(DUMP_DEADLINE + 1)
        assert [i.name for i in rig.watcher.table] == ["usb0"]
        rig.watcher.close()

    run(main())


def test_this_machine_has_a_loopback_interface() -> None:
    async def main() -> None:
        watcher = Watcher(lambda: None, open_socket=open_netlink)
        await watcher.start()
        lo = watcher.table.named("lo")
        watcher.close()
        assert lo is not None
        assert (lo.index, lo.loopback) == (1, True)

    asyncio.run(main())


def test_a_socket_that_cannot_be_bound_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unbound(socket.socket):
        def bind(self, _address: object) -> None:
            raise PermissionError(errno.EPERM, "no groups for you")

    made: list[Unbound] = []

    def make(*arguments: int) -> Unbound:
        made.append(Unbound(*arguments))
        return made[-1]

    monkeypatch.setattr("qpq.discovery.watcher.socket.socket", make)
    with pytest.raises(PermissionError):
        open_netlink()
    assert made[0].fileno() == -1
