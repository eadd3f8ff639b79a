"""A router's log is a ring of 64 KiB for all its programs: a week of ours fits, however restless the mesh is."""

from __future__ import annotations

import io
import logging
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from qpq.crypto.identity import Identity
from qpq.daemon import log_ring, logs
from qpq.daemon.log_ring import Ring
from qpq.daemon.node import Node
from qpq.daemon.pressure import Left, Level, Pressure
from qpq.mesh.effects import NeighbourChanged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RING = 64 * 1024
DAY, HOUR = 86_400, 3_600
PEERS = [Identity(bytes([number]) * 32) for number in range(1, 6)]


class Router:
    """A log as the init script has it, and as much of a node as writes to it day by day."""

    def __init__(self, *, ring: bool = True, path: str = "/nonexistent/log.json", now: float = 0.0) -> None:
        self.now = now
        self.stream = io.StringIO()
        self.log = logging.Logger("qpq", logging.INFO)  # noqa: LOG001 (apart from the program's own)
        self.handler = logs.LineHandler(
            self.stream, terminal=False, journal=False, ring=Ring(path) if ring else None, clock=lambda: self.now
        )
        self.log.addHandler(self.handler)
        self.node: Any = SimpleNamespace(
            _linked=set(), log=self.log, note_seen=lambda: None, _handlers=None, _looking=None,
        )  # fmt: skip

    def starts(self) -> None:
        self.log.info("the store is in RAM (%s), what must last is saved in %s", "/tmp/qpq/ab.db", "/etc/qpq/qpq.snap")  # noqa: S108
        self.log.info("the wall clock is %s: %s", "not trusted", "no NTP client has set it and no battery holds it")
        self.log.info(
            "ready: qpq %s after %.2f s, %s", "0.1.0", 3.21, "UDP [::]:7000, control socket /var/run/qpq/qpq.sock"
        )

    def link(self, number: int, *, up: bool) -> None:
        address = f"[fe80::1234:56ff:fe78:{number:04x}%br-client]:7000"
        Node.neighbour_changed(self.node, NeighbourChanged(PEERS[number], up, address, ()))

    def memory(self, megabytes: int, before: Level, level: Level) -> None:
        watch = Pressure(self.node)
        watch.level = level
        watch._say(Left(megabytes << 20, {}), before)

    def week(self, *, flaps_a_day: float, seed: int = 1) -> None:
        """Let seven days pass; each link is lost and comes again so often, evenly at random."""
        random = Random(seed)  # noqa: S311 (a seeded run)
        happenings = [
            (random.uniform(0, 7 * DAY), number) for number in range(len(PEERS)) for _ in range(int(7 * flaps_a_day))
        ]
        self.starts()
        self.now = 30.0
        self.log.info("the wall clock is %s: %s", "trusted", "an NTP client set it (/var/run/qpq/ntp)")
        for number in range(len(PEERS)):
            self.link(number, up=True)
        for at, number in sorted(happenings):
            self.now = at
            self.link(number, up=False)
            self.now += random.uniform(1, 60)
            self.link(number, up=True)

    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()

    def used(self) -> int:
        """Return the bytes that logd's ring needs for it."""
        return sum(len(line.encode()) + log_ring.ENTRY for line in self.lines())


def test_of_an_ordinary_week_everything_is_told_and_takes_half_of_the_ring_at_most(
    capsys: pytest.CaptureFixture[str],
) -> None:
    router = Router()
    router.week(flaps_a_day=1)
    router.memory(10, Level.ENOUGH, Level.SHORT)
    router.memory(25, Level.SHORT, Level.ENOUGH)
    with capsys.disabled():
        print(f"\nlog of an ordinary week: {len(router.lines())} lines, {router.used()} of {RING} bytes")
    assert not [line for line in router.lines() if "counted only" in line]
    assert len(router.lines()) == 4 + 5 + 2 * 5 * 7 + 2
    assert router.used() < RING // 2


@pytest.mark.parametrize("flaps_a_day", [24, 240])
def test_of_a_restless_week_a_part_is_told_and_it_fits_the_ring(
    flaps_a_day: int, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, router = Router(ring=False), Router()
    for each in (plain, router):
        each.week(flaps_a_day=flaps_a_day)
    with capsys.disabled():
        figures = f"{len(router.lines())} lines, {router.used()} of {RING} bytes; all of them {plain.used()} bytes"
        print(f"\nlog of a week with {flaps_a_day} flaps of each link a day: {figures}")
    assert plain.used() > 3 * RING
    assert router.used() < RING
    assert len([line for line in router.lines() if "counted only" in line]) == 7


def test_whatever_is_logged_a_week_of_it_fits_the_ring() -> None:
    router, random = Router(), Random(2)  # noqa: S311 (a seeded run)
    for _ in range(60_000):
        router.now += random.uniform(0, 2 * 7 * DAY / 60_000)
        level = random.choice((logging.INFO, logging.WARNING, logging.ERROR))
        router.log.log(level, "event %d: %s", random.randrange(1000), "x" * random.randrange(3_000))
    assert router.used() < RING * router.now / (7 * DAY) * 1.1


def test_what_was_counted_is_told_the_next_day_and_at_the_end() -> None:
    router = Router()
    for number in range(20):
        router.now += HOUR
        router.log.warning("mdns: not published: %d", number)
    assert [line.partition(":")[2] for line in router.lines()] == [
        *[f" mdns: not published: {number}" for number in range(log_ring.PER_DAY)],
        f" {log_ring.ENOUGH}",
    ]
    router.now += 10 * HOUR
    router.log.warning("another thing")
    assert router.lines()[-1] == "warning: another thing (and 14 lines of the days before)"


def test_a_node_that_cannot_start_floods_no_more_than_another(tmp_path: Path) -> None:
    lines: list[str] = []
    now = 40.0
    while now < 7 * DAY:
        router = Router(path=str(tmp_path / "log.json"), now=now)
        router.starts()
        router.log.error(
            "not started: %s", "UDP 0.0.0.0:7000 is taken; stop who has it, or choose another with --listen"
        )
        router.handler.finish()
        lines += router.lines()
        now += 600.0  # procd waits 10 s: what is left out here is only counted as well
    assert sum(len(line.encode()) + log_ring.ENTRY for line in lines) < RING // 2
    assert len([line for line in lines if "not started" in line]) == 7 * log_ring.PER_DAY
    assert any("lines of the days before" in line for line in lines)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"day": 1, "kinds": {}, "used": [1], "counted": [1], "before": [1]}', "\0"]
)
def test_a_state_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "log.json").write_text(text)
    router = Router(path=str(tmp_path / "log.json"))
    router.log.info("ready")
    assert router.lines() == ["info: ready"]
    router.handler.finish()
    assert router.handler.ring is not None
    assert '"day": 0' in (tmp_path / "log.json").read_text()


def test_only_so_many_kinds_are_remembered() -> None:
    ring = Ring("/nonexistent/log.json")
    for number in range(2 * log_ring.MAX_KINDS):
        ring.spend(logging.INFO, f"kind {number}", "x", 0.0)
    assert len(ring._kinds) == log_ring.MAX_KINDS
    ring.save()


def test_errors_are_told_though_warnings_have_used_their_share() -> None:
    router = Router()
    for number in range(500):
        router.now += 30.0
        router.log.warning("thing %d", number)
    router.log.error("not stopped cleanly: %s", "x" * 5_000)
    (error,) = [line for line in router.lines() if line.startswith("error: ")]
    assert error.startswith("error: not stopped cleanly: xxx")
    assert len(error) < log_ring.SHARES[logging.ERROR]


@pytest.fixture
def _debug() -> Iterator[None]:
    own = logging.getLogger(logs.NAME)
    before = own.level
    own.setLevel(logging.DEBUG)
    yield
    own.setLevel(before)


@pytest.mark.usefixtures("_debug")
def test_who_sets_debug_gets_everything() -> None:
    router = Router()
    router.week(flaps_a_day=24)
    assert router.used() > 2 * RING


def test_only_a_router_that_logs_to_its_ring_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, environ, expected in ((True, {}, True), (False, {}, False), (True, {"JOURNAL_STREAM": "1:2"}, False)):
        monkeypatch.setattr("os.path.exists", lambda path, there=there: there and path == "/etc/openwrt_release")
        root = logging.getLogger()
        before = list(root.handlers)
        try:
            logs.setup("info", io.StringIO(), environ)
            (handler,) = [each for each in root.handlers if isinstance(each, logs.LineHandler)]
            assert (handler.ring is not None) is expected
        finally:
            root.handlers[:] = before
