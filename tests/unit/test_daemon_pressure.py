"""When memory is short the node shrinks and says so, and grows back; by made-up numbers, and in a real process."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from node import free_port

from qpq.daemon import pressure
from qpq.daemon.pressure import Left, Level, Pressure, judge
from qpq.mesh.events import RoomSet
from qpq.store.faults import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MIB = 1 << 20
SECONDS = 30.0
BINARY = Path(__file__).resolve().parents[2] / "dist/x86_64/qpq"


def machine(
    root: Path, available: int = 100, *, limit: str = "unlimited", size: int = 20, some: float = 0.0, full: float = 0.0
) -> str:
    """Make /proc of a machine with so many MiB; a process of ``size`` MiB of at most ``limit`` bytes."""
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/pressure").mkdir(exist_ok=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 999999 kB\nMemAvailable: {available * 1024} kB\n")
    (root / "proc/self/limits").write_text(f"Limit Soft Hard Units\nMax address space {limit:>20} unlimited bytes\n")
    (root / "proc/self/status").write_text(f"Name:\tqpq\nVmSize:\t{size * 1024} kB\n")
    lines = [
        f"{kind} avg10=99.00 avg60={value} avg300=0.00 total=1" for kind, value in (("some", some), ("full", full))
    ]
    (root / "proc/pressure/memory").write_text("\n".join(lines) + "\n")
    return str(root)


def left(available: float, **stalled: float) -> Left:
    return Left(int(available * MIB), stalled)


# --- what is left -------------------------------------------------------------------------------


def test_what_is_left_is_the_least_of_machine_and_own_limit(tmp_path: Path) -> None:
    assert pressure.read(machine(tmp_path, 50)).available == 50 * MIB
    assert pressure.read(machine(tmp_path, 50, limit=str(48 * MIB))).available == 28 * MIB
    assert pressure.read(machine(tmp_path, 10, limit=str(48 * MIB))).available == 10 * MIB
    assert pressure.read(machine(tmp_path, 50, limit=str(19 * MIB))).available == 1


def test_how_long_processes_waited_is_read_where_the_kernel_tells(tmp_path: Path) -> None:
    root = machine(tmp_path, some=3.5, full=1.25)
    assert pressure.read(root).stalled == {"some": 3.5, "full": 1.25}
    (tmp_path / "proc/pressure/memory").write_text("some avg10=1\nfull avg60=much\nother\n\n")
    assert pressure.read(root).stalled == {}


def test_a_machine_that_tells_nothing_has_enough(tmp_path: Path) -> None:
    assert pressure.read(str(tmp_path)) == Left(0, {})
    assert judge(Left(0, {}), Level.ENOUGH) is Level.ENOUGH


# --- the level ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "before", "level"),
    [
        (left(12), Level.ENOUGH, Level.ENOUGH),
        (left(11.9), Level.ENOUGH, Level.SHORT),
        (left(5.9), Level.ENOUGH, Level.LOW),
        (left(5.9), Level.SHORT, Level.LOW),
        (left(100, some=21), Level.ENOUGH, Level.SHORT),
        (left(100, full=11), Level.ENOUGH, Level.LOW),
        (left(100, some=9, full=4), Level.ENOUGH, Level.ENOUGH),
        # back: one step, and only where half as much again is left
        (left(8.9), Level.LOW, Level.LOW),
        (left(9), Level.LOW, Level.SHORT),
        (left(100), Level.LOW, Level.SHORT),
        (left(17.9), Level.SHORT, Level.SHORT),
        (left(18), Level.SHORT, Level.ENOUGH),
        (left(100, full=7), Level.LOW, Level.LOW),
        (left(100, some=14), Level.SHORT, Level.SHORT),
    ],
)
def test_the_level_goes_up_at_once_and_down_by_steps(found: Left, before: Level, level: Level) -> None:
    assert judge(found, before) is level


def test_a_level_does_not_flap_around_its_threshold() -> None:
    level, changes = Level.ENOUGH, 0
    for step in range(1000):
        now = judge(left(12 + (1 if step % 2 else -1)), level)
        changes += now is not level
        level = now
    assert changes == 1


# --- the node -----------------------------------------------------------------------------------


def _pressure(
    root: str, compact: Callable[[], None] | None = None
) -> tuple[Pressure, list[Any], list[tuple[str, float]]]:
    told: list[Any] = []
    timers: list[tuple[str, float]] = []
    node: Any = SimpleNamespace(
        shell=SimpleNamespace(put=told.append),
        log=logging.getLogger("qpq"),
        later=lambda name, seconds, _call: timers.append((name, seconds)),
        settled=lambda: SimpleNamespace(compact=compact or (lambda: timers.append(("compacted", 0.0)))),
    )
    return Pressure(node, root), told, timers


def test_the_core_is_told_of_changes_only_and_the_log_in_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "qpq")
    watch, told, timers = _pressure(machine(tmp_path, 50))
    for available in (50, 10, 10, 3, 3, 50, 50, 50):
        machine(tmp_path, available)
        watch.look()
    assert told == [RoomSet(50, True), RoomSet(25, False), RoomSet(50, True), RoomSet(100, True)]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO", "INFO"]
    assert "memory is short: 10 MB are left" in caplog.messages[0]
    assert "nothing more is taken for others" in caplog.messages[1]
    assert "taken" in caplog.messages[2]
    assert "as before" in caplog.messages[3]
    assert timers.count(("memory", 60.0)) == 8  # no faster than once a minute
    assert timers.count(("compacted", 0.0)) == 5, "as long as it is short"


def test_a_store_that_cannot_be_made_smaller_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise StoreError("the disk is gone")

    watch, _, timers = _pressure(machine(tmp_path, 10), compact=fail)
    watch.look()
    assert "the disk is gone" in caplog.messages
    assert timers == [("memory", 60.0), ("imports", 10.0)]


def test_status_names_level_and_bytes(tmp_path: Path) -> None:
    watch, _, _ = _pressure(machine(tmp_path, 8))
    watch.look()
    assert watch.document() == {"level": "short", "left": 8 * MIB}


@pytest.fixture(params=[(sys.executable, "-m", "qpq"), (str(BINARY),)], ids=["python", "binary"])
def program(request: pytest.FixtureRequest) -> list[str]:
    if not os.path.exists(request.param[0]):
        pytest.skip("needs dist/x86_64/qpq: make cross TARGET=x86_64")
    return list(request.param)


@pytest.fixture
def in_ram() -> Iterator[Path]:
    """Give a directory in RAM, which the node's store lies in on a router."""
    if not os.path.ismount("/dev/shm"):  # noqa: S108 (a place of its own is made there)
        pytest.skip("needs a tmpfs on /dev/shm")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        yield Path(path)


@pytest.fixture
def daemon(program: list[str], tmp_path: Path, in_ram: Path) -> Iterator[subprocess.Popen[str]]:
    command = [*program, "daemon", "--data-dir", str(tmp_path / "d")]
    command += ["--listen", f"127.0.0.1:{free_port()}", "--no-mdns", "--no-beacon", "--no-group"]
    command += ["--store-dir", str(in_ram), "--log-level", "debug"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0, "it must not have died"


def test_a_real_node_near_its_limit_shrinks_says_so_and_lives(
    daemon: subprocess.Popen[str], tmp_path: Path, in_ram: Path
) -> None:
    _line(daemon, "ready")
    names = [f"user{number}" for number in range(8)]
    written = [row for name in names for row in (f"/mesh user add {name}", f"/mesh send {name} {'x' * 30_000}")]
    _qpq(tmp_path, lines=written)
    _qpq(tmp_path, lines=[f"/mesh user remove {name}" for name in names])
    (store,) = in_ram.glob("*.db")
    large = store.stat().st_size
    assert large > 200_000
    found = json.loads(_qpq(tmp_path, "status", "--json"))["memory"]
    if found["level"] != "enough":
        pytest.skip("this machine itself is short of memory")
    size = int(re.search(r"VmSize:\s+(\d+)", _proc(daemon.pid, "status"))[1]) * 1024  # type: ignore[index]
    resource.prlimit(daemon.pid, resource.RLIMIT_AS, (size + 5 * MIB, resource.RLIM_INFINITY))
    daemon.send_signal(signal.SIGHUP)  # it looks once a minute, and when it is told to read its configuration again
    assert "nothing more is taken for others" in _line(daemon, "memory is short")
    _line(daemon, "reloaded")
    status = json.loads(_qpq(tmp_path, "status", "--json"))
    assert status["memory"]["level"] == "low"
    assert status["memory"]["left"] < 6 * MIB
    assert "qpq_memory_level 2" in _qpq(tmp_path, "metrics")
    assert store.stat().st_size < large - 150_000, "what was deleted is given back"
    resource.prlimit(daemon.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for _ in range(2):
        daemon.send_signal(signal.SIGHUP)
        _line(daemon, "memory: ")
        _line(daemon, "reloaded")
    assert json.loads(_qpq(tmp_path, "status", "--json"))["memory"]["level"] == "enough"


def _line(daemon: subprocess.Popen[str], begin: str) -> str:
    """Wait for a line of the log with these words."""
    assert daemon.stderr is not None
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        line = daemon.stderr.readline()
        assert line, "the node has ended"
        if begin in line:
            return line
    raise AssertionError(f"no line with {begin!r}")


def _qpq(path: Path, *words: str, lines: Sequence[str] = ()) -> str:
    command = [sys.executable, "-m", "qpq", "--data-dir", str(path / "d"), *words]
    text = "".join(f"{line}\n" for line in lines)
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=SECONDS).stdout


def _proc(pid: int, name: str) -> str:
    with open(os.path.join("/proc", str(pid), name), encoding="ascii") as file:
        return file.read()
