"""All methods together: what starts, what is told when it does not, and what imports cost."""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from discovery_kit import interface, loopback, run

from qpq.crypto.identity import Identity
from qpq.discovery import discovery as module
from qpq.discovery.config import DiscoveryConfig, MdnsMode
from qpq.discovery.discovery import Discovery
from qpq.discovery.errors import DiscoveryError, MdnsUnavailableError
from qpq.mesh.events import PeerFound, Via

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qpq.discovery.beacon import Channel
    from qpq.discovery.interfaces import Interface

OWN = Identity(b"o" * 32)


class FakeWatcher:
    fails = False

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.on_change = on_change
        self.table: list[Interface] = [loopback(), interface(2, "eth0"), interface(3, "br-client")]
        self.counters = {"netlink_dumps": 1}
        self.closed = False

    async def start(self) -> None:
        if self.fails:
            raise DiscoveryError("cannot read the network interfaces")

    def close(self) -> None:
        self.closed = True


class FakeBeacon:
    error: OSError | None = None

    def __init__(self, *arguments: object, random: Callable[[], float], on_found: Callable[[PeerFound], None]) -> None:
        self.arguments = arguments
        self.random, self.on_found = random, on_found
        self.channels: list[tuple[str, Via]] = []
        self.counters = {"beacon_sent": 3}
        self.lost = self.closed = 0

    def start(self) -> None:
        if self.error is not None:
            raise self.error

    def follow(self, channels: Iterable[Channel]) -> None:
        self.channels = [(c.name, c.via) for c in channels]

    def link_lost(self) -> None:
        self.lost += 1

    def status(self, via: Via) -> str:
        return f"on {via.value}"

    def close(self) -> None:
        self.closed += 1


class FakeMdns:
    error: Exception | None = None

    def __init__(self, *arguments: object, **options: Any) -> None:
        self.arguments, self.options = arguments, options
        self.counters = {"mdns_queries": 7}
        self.interfaces: list[str] = []
        self.looks = self.closed = 0

    def note(self, interfaces: Iterable[Interface]) -> None:
        if self.error is not None:
            raise self.error
        self.interfaces = [i.name for i in interfaces]

    follow = note

    def look_around(self) -> None:
        self.looks += 1

    def status(self) -> str:
        return type(self).__name__


class FakeZeroconf(FakeMdns):
    async def start(self, interfaces: Iterable[Interface]) -> None:
        self.note(interfaces)

    async def close(self) -> None:
        self.closed += 1


class FakeOneShot(FakeMdns):
    def start(self, interfaces: Iterable[Interface]) -> None:
        self.note(interfaces)
        self.responder = self.options["find"]()

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MDNS_DELAY", 0.0)
    monkeypatch.setattr(module, "Watcher", FakeWatcher)
    monkeypatch.setattr(module, "BeaconService", FakeBeacon)
    monkeypatch.setattr("qpq.discovery.mdns.Mdns", FakeZeroconf)
    monkeypatch.setattr("qpq.discovery.mdns_fallback.OneShotMdns", FakeOneShot)


class Rig:
    def __init__(self, **options: Any) -> None:
        self.changes: list[int] = []
        self.found: list[PeerFound] = []
        self.discovery = Discovery(
            DiscoveryConfig(OWN, 7000, **options),
            self.found.append,
            lambda: self.changes.append(1),
            random=lambda count: b"\x80" + bytes(count - 1),
        )

    @property
    def parts(self) -> tuple[Any, Any, Any]:
        return self.discovery._watcher, self.discovery._beacon, self.discovery._mdns


def test_everything_runs_and_is_told() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.discovery.start()
        await rig.discovery.settled()
        watcher, beacon, mdns = rig.parts
        assert beacon.channels == [("lo", Via.BEACON), ("eth0", Via.BEACON), ("br-client", Via.GROUP)]
        assert beacon.random() == 0.5
        assert mdns.interfaces == ["eth0", "br-client"]
        assert rig.discovery.status() == {
            "netlink": "following 3 interfaces",
            "beacon": "on beacon",
            "group": "on group",
            "mdns": "FakeZeroconf",
        }
        counters = rig.discovery.counters
        assert (counters["netlink_dumps"], counters["beacon_sent"], counters["mdns_queries"]) == (1, 3, 7)
        assert [i.name for i in rig.discovery.interfaces] == ["lo", "eth0", "br-client"]
        watcher.table = [loopback()]
        watcher.on_change()
        assert (beacon.channels, mdns.interfaces, rig.changes) == ([("lo", Via.BEACON)], [], [1])
        rig.discovery.link_lost()
        assert (beacon.lost, mdns.looks) == (1, 1)
        await rig.discovery.stop()
        await rig.discovery.stop()
        assert (watcher.closed, mdns.closed) == (True, 1)

    run(main())


def test_everything_can_be_switched_off() -> None:
    async def main() -> None:
        rig = Rig(mdns=MdnsMode.OFF, beacon=False, group=False)
        await rig.discovery.start()
        await rig.discovery.settled()
        assert rig.discovery.status() == {
            "netlink": "following 3 interfaces",
            "beacon": "off",
            "group": "off",
            "mdns": "off",
        }
        rig.discovery.link_lost()
        rig.parts[0].on_change()
        assert rig.changes == [1]
        await rig.discovery.stop()

    run(main())


def test_only_the_group_is_used_when_the_beacon_is_off() -> None:
    async def main() -> None:
        rig = Rig(mdns=MdnsMode.OFF, beacon=False)
        await rig.discovery.start()
        await rig.discovery.settled()
        assert rig.parts[1].channels == [("br-client", Via.GROUP)]
        assert rig.discovery.status()["beacon"] == "off"
        await rig.discovery.stop()

    run(main())


def test_a_taken_port_5353_leads_to_one_shot_queries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def main() -> None:
        monkeypatch.setattr(FakeZeroconf, "error", MdnsUnavailableError("UDP port 5353: in use"))
        rig = Rig(avahi_dir=str(tmp_path))
        await rig.discovery.start()
        await rig.discovery.settled()
        assert rig.discovery.status()["mdns"] == "FakeOneShot"
        assert rig.parts[2].responder.directory == str(tmp_path)
        assert not rig.parts[2].options["is_published"]
        mdns = rig.parts[2]
        await rig.discovery.stop()
        assert mdns.closed == 1

    run(main())


def test_where_umdns_publishes_the_node_zeroconf_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(FakeZeroconf, "error", AssertionError("tried"))
        rig = Rig(mdns=MdnsMode.ASK)
        await rig.discovery.start()
        await rig.discovery.settled()
        assert rig.discovery.status()["mdns"] == "FakeOneShot"
        assert rig.parts[2].options["is_published"]
        await rig.discovery.stop()

    run(main())


def test_what_fails_is_told_with_its_reason_and_the_rest_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(FakeWatcher, "fails", True)
        monkeypatch.setattr(FakeBeacon, "error", OSError(errno.EADDRINUSE, "Address already in use"))
        monkeypatch.setattr(FakeOneShot, "error", DiscoveryError("no UDP socket"))
        rig = Rig(mdns=MdnsMode.ASK, beacon=True, group=False)
        await rig.discovery.start()
        await rig.discovery.settled()
        status = rig.discovery.status()
        assert status["netlink"] == "failed: cannot read the network interfaces"
        assert status["beacon"].startswith("failed: UDP port 7171: Address already in use; let one program")
        assert status["group"] == "off"
        assert status["mdns"] == "failed: no UDP socket"
        rig.discovery.link_lost()
        await rig.discovery.stop()

    run(main())


def test_importing_discovery_is_light() -> None:
    """What a node without mDNS pays: no zeroconf, and nothing the specification forbids."""
    heavy = (
        "zeroconf ifaddr ssl email urllib http argparse shutil tempfile pathlib inspect ctypes ipaddress configparser"
    )
    code = (
        "import asyncio, dataclasses, logging, json, sys; before = set(sys.modules); "
        "import qpq.discovery.discovery, qpq.discovery.mdns, qpq.discovery.mdns_fallback; "
        f"print(*[m for m in set(sys.modules) - before if m.split('.')[0] in {heavy.split()}])"
    )
    package = str(Path(__file__).parents[2] / "node")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={"PYTHONPATH": package}, capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == ([], "")


def test_the_interfaces_of_the_beacon_and_those_of_mdns_are_named_apart() -> None:
    async def main() -> None:
        rig = Rig(interfaces=("eth0",), group_interfaces=(), mdns_interfaces=("br-client",))
        await rig.discovery.start()
        await rig.discovery.settled()
        assert rig.parts[1].channels == [("eth0", Via.BEACON)]
        assert rig.parts[2].interfaces == ["br-client"]
        assert rig.discovery.status()["group"] == "off"
        await rig.discovery.stop()

    run(main())


@pytest.mark.parametrize("options", [{"domain": "a\nb"}, {"domain": "ä" * 101}, {"port": 0}, {"port": 65536}])
def test_what_no_record_can_carry_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DiscoveryError):
        DiscoveryConfig(**{"identity": OWN, "port": 7000} | options)


def test_mdns_starts_behind_the_rest_and_status_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        gate, begun = asyncio.Event(), asyncio.Event()
        began: list[FakeZeroconf] = []

        async def start(self: FakeZeroconf, interfaces: Iterable[Interface]) -> None:
            self.note(interfaces)
            began.append(self)
            begun.set()
            await gate.wait()

        monkeypatch.setattr(FakeZeroconf, "start", start)
        rig = Rig()
        await rig.discovery.start()
        assert rig.discovery.status()["netlink"] == "following 3 interfaces"
        assert rig.discovery.status()["mdns"] == "starting"
        rig.discovery.link_lost()
        await begun.wait()
        rig.parts[0].table = [interface(9, "wlan0")]
        rig.discovery._interfaces_changed()
        assert rig.discovery.status()["mdns"] == "starting"
        gate.set()
        await rig.discovery.settled()
        assert rig.discovery.status()["mdns"] == "FakeZeroconf"
        assert began[0].interfaces == ["wlan0"]
        await rig.discovery.stop()
        assert rig.discovery.status()["mdns"] == "off"
        assert began[0].closed == 1

    run(main())


def test_a_stop_while_mdns_starts_ends_that_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(module, "MDNS_DELAY", 3600.0)
        rig = Rig()
        await rig.discovery.start()
        await rig.discovery.stop()
        await rig.discovery.stop()
        await rig.discovery.settled()
        assert rig.discovery.status()["mdns"] == "off"

    run(main())


def test_a_fault_nobody_foresaw_is_told_instead_of_starting_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        monkeypatch.setattr(FakeZeroconf, "error", KeyError("zeroconf"))
        rig = Rig()
        await rig.discovery.start()
        await rig.discovery.settled()
        await asyncio.sleep(0)
        assert rig.discovery.status()["mdns"] == "failed: KeyError: 'zeroconf'"
        assert isinstance(told[0]["exception"], KeyError)
        await rig.discovery.stop()

    run(main())


def test_the_loop_is_not_needed_to_make_one() -> None:
    rig = Rig()
    assert rig.discovery.status()["mdns"] == "off"
    assert isinstance(asyncio.Event(), asyncio.Event)
