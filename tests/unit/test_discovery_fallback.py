"""One-shot queries: what is asked where, and which answers are believed."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from discovery_kit import dns_name, dns_record, dns_response, interface, run, seeded

from qpq.crypto.identity import Identity, text_id
from qpq.discovery import mdns_fallback as module
from qpq.discovery.dns import AAAA, PTR, SRV, TXT, A, Question, encode_query
from qpq.discovery.dnssd import SERVICE_TYPE, ServiceTable
from qpq.discovery.errors import DiscoveryError, PublishError
from qpq.discovery.interfaces import InterfaceAddress
from qpq.discovery.mdns_fallback import ANSWER_TIME, OneShotMdns
from qpq.discovery.service_files import Responder

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from qpq.mesh.events import PeerFound

OWN, OTHER = Identity(b"o" * 32), Identity(b"p" * 32)
ETH0 = interface(2, "eth0", addresses=(InterfaceAddress("10.0.0.1", 24), InterfaceAddress("fe80::1", 64, 253)))
NAME = "node." + SERVICE_TYPE


class FakeSocket:
    """A UDP socket that notes what is sent and gives what the test puts in."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sent: list[tuple[bytes, Any, Any]] = []
        self.incoming: list[Any] = []
        self.broken = False

    def fileno(self) -> int:
        return self._near.fileno()

    def close(self) -> None:
        self._near.close()
        self._far.close()

    def sendto(self, data: bytes, to: Any) -> None:
        if self.broken:
            raise OSError(errno.ENETUNREACH, "unreachable")
        self.sent.append((data, None, to))

    def sendmsg(self, buffers: Any, ancillary: Any, _flags: int, to: Any) -> None:
        if self.broken:
            raise OSError(errno.ENETUNREACH, "unreachable")
        self.sent.append((b"".join(buffers), ancillary, to))

    def hear(self, data: bytes, sender: tuple[Any, ...], index: int = 2, flags: int = 0) -> None:
        if len(sender) == 4:
            info = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, bytes(16) + struct.pack("=I", index))
        else:
            info = (socket.IPPROTO_IP, 8, struct.pack("=i", index) + bytes(8))
        self.incoming.append((data, [(0, 0, b""), info] if index else [], flags, sender))
        self._far.send(b"!")

    def recvmsg(self, _size: int, _ancillary: int) -> Any:
        if not self.incoming:
            raise BlockingIOError
        self._near.recv(1)
        return self.incoming.pop(0)


NEAR6, NEAR4 = ("fe80::2", 5353, 0, 2), ("10.0.0.2", 5353)


class Rig:
    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, responder: Responder | None = None, *, is_published: bool = False
    ) -> None:
        self.sockets = {socket.AF_INET6: FakeSocket(), socket.AF_INET: FakeSocket()}
        self.found: list[PeerFound] = []
        self.services = ServiceTable(OWN, lambda host, scope: scope if host.startswith("fe80") else 0)
        self.mdns = OneShotMdns(
            OWN,
            7000,
            "ffxx",
            self.services,
            random=seeded(6).random,
            on_found=self.found.append,
            find=lambda: responder,
            is_published=is_published,
        )
        monkeypatch.setattr(module, "_open", lambda family: self.sockets[family])

    @property
    def six(self) -> FakeSocket:
        return self.sockets[socket.AF_INET6]

    @property
    def four(self) -> FakeSocket:
        return self.sockets[socket.AF_INET]

    @property
    def asked_with(self) -> int:
        """The id of the last query."""
        return int(struct.unpack(">H", self.six.sent[-1][0][:2])[0])


def started(
    monkeypatch: pytest.MonkeyPatch,
    test: Callable[[Rig], Coroutine[Any, Any, None]],
    responder: Responder | None = None,
    *,
    is_published: bool = False,
) -> None:
    async def main() -> None:
        rig = Rig(monkeypatch, responder, is_published=is_published)
        rig.mdns.start([ETH0])
        await asyncio.sleep(1.01)
        await test(rig)
        rig.mdns.close()
        rig.mdns.close()

    run(main())


def answer(identifier: int, *more: bytes) -> bytes:
    return dns_response(
        dns_record(SERVICE_TYPE, PTR, dns_name(NAME)),
        dns_record(NAME, SRV, struct.pack(">HHH", 0, 0, 7002) + dns_name("h.local.")),
        dns_record(NAME, TXT, b"\5ver=1\x37id=" + text_id(OTHER).encode()),
        *(more or (dns_record("h.local.", AAAA, bytes([0xFE, 0x80, *[0] * 13, 2])),)),
        identifier=identifier,
    )


def test_each_interface_is_asked_in_both_families_for_unicast_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        query = encode_query([Question(SERVICE_TYPE, PTR)], identifier=rig.asked_with)
        assert query[-2:] == b"\x80\x01"
        assert rig.six.sent == [(query, None, ("ff02::fb", 5353, 0, 2))]
        info = (socket.IPPROTO_IP, 8, struct.pack("=i", 2) + bytes(8))
        assert rig.four.sent == [(query, [info], ("224.0.0.251", 5353))]
        rig.mdns.follow(
            [interface(3, "a", addresses=()), interface(4, "b", addresses=(InterfaceAddress("10.0.0.1", 8),))]
        )
        await asyncio.sleep(2)
        assert len(rig.six.sent) == 1
        assert len(rig.four.sent) == 2

    started(monkeypatch, test)


def test_answers_are_told_with_the_interface_they_came_in_by(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        rig.six.hear(answer(rig.asked_with), NEAR6)
        await asyncio.sleep(0.01)
        assert [f.address for f in rig.found] == ["[fe80::2%2]:7002"] or rig.found[0].address.startswith("[fe80::2%")
        assert rig.found[0].identity == OTHER

    started(monkeypatch, test)


def test_umdns_leaves_the_id_out_and_the_addresses_to_another_question(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        rig.four.hear(answer(0, dns_record("x.local.", A, b"abcd")), NEAR4)
        await asyncio.sleep(0.2)
        assert rig.four.sent[-1][0][12:] == encode_query([Question("h.local.", AAAA), Question("h.local.", A)])[12:]
        rig.four.hear(dns_response(dns_record("h.local.", A, bytes([10, 0, 0, 2]))), NEAR4)
        await asyncio.sleep(0.01)
        assert [f.address for f in rig.found] == ["10.0.0.2:7002"]

    started(monkeypatch, test)


def test_answers_from_elsewhere_unasked_late_damaged_or_with_a_wrong_id_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(rig: Rig) -> None:
        good = answer(rig.asked_with)
        rig.four.hear(good, ("10.0.0.2", 5354))
        rig.four.hear(good, NEAR4, index=9)
        rig.four.hear(good, NEAR4, index=0)
        rig.four.hear(good[:-1], NEAR4)
        rig.four.hear(answer(rig.asked_with ^ 1), NEAR4)
        rig.four.hear(good, NEAR4, flags=socket.MSG_TRUNC)
        rig.four.hear(good, ("10.0.7.2", 5353))
        rig.six.hear(good, ("fd00::2", 5353, 0, 0))
        await asyncio.sleep(0.01)
        assert rig.mdns.counters["mdns_damaged"] == 5
        assert rig.mdns.counters["mdns_limited"] == 2
        rig.mdns._timer.cancel()  # type: ignore[union-attr]
        await asyncio.sleep(ANSWER_TIME)
        rig.four.hear(good, NEAR4)
        await asyncio.sleep(0.01)
        assert rig.mdns.counters["mdns_damaged"] == 6
        assert rig.found == []

    started(monkeypatch, test)


def test_a_flood_of_answers_is_limited_for_each_source_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        for n in range(300):
            rig.four.hear(answer(0), ("10.0.0.66", 5353))
            rig.four.hear(answer(0), (f"10.0.0.{n % 100 + 100}", 5353))
            await asyncio.sleep(0.001)
        assert rig.mdns.counters["mdns_limited"] >= 350
        assert len(rig.found) <= 1

    started(monkeypatch, test)


def test_questions_grow_rare_and_begin_anew_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await asyncio.sleep(20_000)
        count = len(rig.six.sent)
        assert count < 35
        rig.mdns.look_around()
        await asyncio.sleep(4)
        assert len(rig.six.sent) >= count + 2

    started(monkeypatch, test)


def test_a_network_that_is_gone_is_counted_not_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        rig.six.broken = rig.four.broken = True
        await asyncio.sleep(10)
        assert rig.mdns.counters["mdns_send_errors"] >= 4

    started(monkeypatch, test)


def test_names_that_cannot_be_asked_back_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        long = dns_record(SERVICE_TYPE, PTR, b"\x3e" + b"\xc4\xb0" * 31 + dns_name(SERVICE_TYPE))  # grows in lower case
        dotted = struct.pack(">HHH", 0, 0, 7002) + b"\2a.\5local\0"
        records = long, dns_record(SERVICE_TYPE, PTR, dns_name(NAME)), dns_record(NAME, SRV, dotted)
        rig.four.hear(dns_response(*records), NEAR4)
        await asyncio.sleep(0.2)
        assert rig.four.sent[-1][0][12:] == encode_query([Question(NAME, SRV), Question(NAME, TXT)])[12:]
        assert len(rig.services) == 1

    started(monkeypatch, test)


def test_the_node_is_published_through_the_service_file_and_withdrawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def test(rig: Rig) -> None:
        assert rig.mdns.status() == "avahi service file + one-shot queries"
        assert "server=10.0.0.1:7000" in (tmp_path / "qpq.service").read_text()
        rig.mdns.follow([interface(2, "eth0", addresses=(InterfaceAddress("10.0.0.7", 24),))])
        assert "server=10.0.0.7:7000" in (tmp_path / "qpq.service").read_text()

    started(monkeypatch, test, Responder(str(tmp_path), True))
    assert list(tmp_path.iterdir()) == []


def test_where_umdns_publishes_the_node_it_only_asks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def test(rig: Rig) -> None:
        assert rig.mdns.status() == "one-shot queries, published by umdns"
        assert rig.four.sent
        assert os.listdir(tmp_path) == []

    started(monkeypatch, test, Responder(str(tmp_path), True), is_published=True)


def test_what_hinders_publishing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def unwritable(rig: Rig) -> None:
        rig.mdns.follow([ETH0])
        assert rig.mdns.status().startswith("one-shot queries only, not published: cannot write")

    async def asleep(rig: Rig) -> None:
        assert rig.mdns.status() == "avahi service file + one-shot queries (avahi does not seem to run)"

    async def alone(rig: Rig) -> None:
        assert rig.mdns.status().endswith("avahi is not here")

    started(monkeypatch, unwritable, Responder(str(tmp_path / "gone"), True))
    started(monkeypatch, asleep, Responder(str(tmp_path), False))
    started(monkeypatch, alone)


def test_a_file_that_stays_behind_is_logged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(rig: Rig) -> None:
        def stays(_self: object) -> None:
            raise PublishError("it stays behind")

        monkeypatch.setattr("qpq.discovery.service_files.ServiceFile.withdraw", stays)
        assert rig.mdns.status()

    started(monkeypatch, test, Responder(str(tmp_path), True))
    assert "it stays behind" in caplog.text


def test_without_any_socket_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_family: int) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "no")

    async def main() -> None:
        rig = Rig(monkeypatch)
        monkeypatch.setattr(module, "_open", refuse)
        with pytest.raises(DiscoveryError, match="no UDP socket"):
            rig.mdns.start([ETH0])
        rig.mdns.look_around()
        rig.mdns.close()

    run(main())


def test_the_real_sockets_use_a_port_of_their_own() -> None:
    for family in (socket.AF_INET6, socket.AF_INET):
        with module._open(family) as sock:
            assert sock.getsockname()[1] not in (0, 5353)


def test_a_socket_that_cannot_be_set_up_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unbound(socket.socket):
        def bind(self, _address: object) -> None:
            raise PermissionError(errno.EPERM, "no ports for you")

    made: list[Unbound] = []

    def make(*arguments: int) -> Unbound:
        made.append(Unbound(*arguments))
        return made[-1]

    monkeypatch.setattr(module.socket, "socket", make)
    with pytest.raises(PermissionError):
        module._open(socket.AF_INET)
    assert made[0].fileno() == -1
