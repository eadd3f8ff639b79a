"""The life of ``qpq daemon``: configuration, one instance, signals, a stop in time; with a stub for the node."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
import types
from typing import TYPE_CHECKING

import pytest

from qpq.daemon import main
from qpq.errors import QpqError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from qpq.daemon.options import Config

SECONDS = 30.0


class _Node:
    """A node that does nothing but what the test wants, and notes what was asked of it."""

    def __init__(self, config: Config, log: logging.Logger) -> None:
        self.config = config
        self.log = log
        self.calls: list[object] = []
        self.on_start: Callable[[_Node], None] = lambda _: None
        self.on_reload: Callable[[_Node], None] = lambda _: None
        self.on_stop: Callable[[_Node], None] = lambda _: None
        self.start_seconds = 0.0
        self.stop_seconds = 0.0

    async def start(self) -> None:
        self.calls.append("start")
        await asyncio.sleep(self.start_seconds)
        self.on_start(self)

    async def stop(self, _until: float) -> None:
        self.calls.append("stop")
        self.on_stop(self)
        await asyncio.sleep(self.stop_seconds)

    async def reload(self, config: Config) -> None:
        self.calls.append(config)
        self.on_reload(self)


class _Rig:
    """Runs the daemon in this process, with real signals to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.node: _Node | None = None
        self.environ = {"HOME": str(path), "QPQ_CONFIG": str(path / "config")}
        (path / "config").write_text("")

    def run(self, *argv: str, prepare: Callable[[_Node], None] = lambda _: None) -> int:
        def make(config: Config, log: logging.Logger) -> _Node:
            self.node = _Node(config, log)
            prepare(self.node)
            return self.node

        module = types.ModuleType("qpq.daemon.node")
        module.Node = make  # type: ignore[attr-defined]
        kept = sys.modules.get("qpq.daemon.node")
        sys.modules["qpq.daemon.node"] = module
        try:
            return main.run(list(argv), self.environ)
        finally:
            del sys.modules["qpq.daemon.node"]
            if kept is not None:
                sys.modules["qpq.daemon.node"] = kept

    @property
    def calls(self) -> list[object]:
        assert self.node is not None
        return self.node.calls


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[_Rig]:
    mask = os.umask(0o022)
    root, own = logging.getLogger(), logging.getLogger("qpq")
    before = (list(root.handlers), root.level, own.level, logging.raiseExceptions)
    yield _Rig(tmp_path)
    os.umask(mask)
    root.handlers[:], root.level, own.level, logging.raiseExceptions = before  # type: ignore[assignment]
    own.manager._clear_cache()  # type: ignore[attr-defined]


def _kill(number: int) -> Callable[[_Node], None]:
    def send(_: _Node) -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)

    return send


class _Reloads(logging.Handler):
    """Sends the next signal whenever the log tells of a reload, so that nothing depends on time."""

    def __init__(self, *numbers: int) -> None:
        super().__init__()
        self.numbers = list(numbers)

    def emit(self, record: logging.LogRecord) -> None:
        if "reloaded" in record.getMessage():
            os.kill(os.getpid(), self.numbers.pop(0))


@pytest.fixture
def reloads() -> Iterator[_Reloads]:
    handler = _Reloads(signal.SIGTERM)
    logging.getLogger("qpq").addHandler(handler)
    yield handler
    logging.getLogger("qpq").removeHandler(handler)


def _on_start(action: Callable[[_Node], None]) -> Callable[[_Node], None]:
    def prepare(node: _Node) -> None:
        node.on_start = action

    return prepare


# --- start and stop ------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_node_cleanly(rig: _Rig, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert rig.run(prepare=_on_start(_kill(number))) == 0
    assert rig.calls == ["start", "stop"]
    log = capsys.readouterr().err.splitlines()
    assert log[0].startswith("info: ready: qpq ")
    assert log[1:] == [f"info: {signal.Signals(number).name}: stopping", "info: stopped"]
    assert (rig.path / ".local/share/qpq").stat().st_mode & 0o777 == 0o700
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


def test_a_second_signal_does_not_hurry_the_stop(rig: _Rig, capsys: pytest.CaptureFixture[str]) -> None:
    def prepare(node: _Node) -> None:
        node.on_start = node.on_stop = _kill(signal.SIGTERM)
        node.stop_seconds = 0.1

    assert rig.run(prepare=prepare) == 0
    assert "SIGTERM a second time" in capsys.readouterr().err


def test_a_stop_during_the_start_is_obeyed(rig: _Rig) -> None:
    def prepare(node: _Node) -> None:
        node.start_seconds = 60.0
        _kill(signal.SIGTERM)(node)

    assert rig.run(prepare=prepare) == 0
    assert rig.calls == ["start", "stop"]


def test_a_node_that_cannot_start_is_stopped_and_told(rig: _Rig, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_: _Node) -> None:
        raise QpqError("UDP port 7000 is in use; choose another with --listen")

    assert rig.run(prepare=_on_start(refuse)) == 1
    assert rig.calls == ["start", "stop"]
    assert "error: not started: UDP port 7000 is in use" in capsys.readouterr().err


def test_a_node_that_cannot_even_be_made_is_told(rig: _Rig, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_: _Node) -> None:
        raise QpqError("identity.json is damaged")

    assert rig.run(prepare=refuse) == 1
    assert "error: not started: identity.json is damaged" in capsys.readouterr().err


def test_a_fault_of_the_program_still_stops_the_node(rig: _Rig) -> None:
    def fault(_: _Node) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rig.run(prepare=_on_start(fault))
    assert rig.calls == ["start", "stop"]
    assert rig.run(prepare=_on_start(_kill(signal.SIGTERM))) == 0


def test_a_stop_that_fails_or_hangs_is_told(
    rig: _Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: _Node) -> None:
        raise QpqError("the disk is full")

    def failing(node: _Node) -> None:
        node.on_start, node.on_stop = _kill(signal.SIGTERM), full

    assert rig.run(prepare=failing) == 1
    assert "error: not stopped cleanly: the disk is full" in capsys.readouterr().err
    monkeypatch.setattr(main, "STOP_SECONDS", 0.05)

    def hanging(node: _Node) -> None:
        node.on_start, node.stop_seconds = _kill(signal.SIGTERM), 60.0

    assert rig.run(prepare=hanging) == 1
    assert "error: not stopped cleanly: the node took more than" in capsys.readouterr().err


# --- configuration -------------------------------------------------------------------------


def test_help_is_printed_and_nothing_started(rig: _Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert rig.run("--help") == 0
    assert capsys.readouterr().out.startswith("Usage: qpq daemon")
    assert rig.node is None


def test_a_bad_flag_or_option_is_told_and_nothing_started(rig: _Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert rig.run("--lsten", "x") == 2
    (rig.path / "config").write_text("config qpq main\n\toption role boss\n\toption \x1b[2J x\n")
    assert rig.run() == 2
    (rig.path / "config").write_text("config qpq main\n\toption role boss\n\toption listn x\n")
    assert rig.run() == 2
    file = f"qpq: {rig.path}/config"
    assert capsys.readouterr().err.splitlines() == [
        "qpq: unknown flag '--lsten'; did you mean --listen?",
        f"{file}:3: a control character in '\\x1b[2J'",
        f"{file}:3: option 'listn' is not known; did you mean listen?",
        f"{file}:2: option role: 'boss' is not allowed for role; allowed: one of leaf, relay, hub, auto",
    ]
    assert rig.node is None
    assert not (rig.path / ".local").exists()


def test_a_node_that_is_not_enabled_is_not_started(rig: _Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.environ["QPQ_LISTN"] = "x"
    (rig.path / "config").write_text("config qpq main\n\toption enabled 0\n")
    assert rig.run() == 0
    log = capsys.readouterr().err.splitlines()
    assert "did you mean QPQ_LISTEN?" in log[0]
    assert log[1] == f"warning: not started: option enabled is off ({rig.path}/config:2: option enabled)"
    assert rig.node is None


@pytest.mark.usefixtures("reloads")
def test_a_hangup_takes_the_new_configuration_over(rig: _Rig, capsys: pytest.CaptureFixture[str]) -> None:
    def change(node: _Node) -> None:
        (rig.path / "config").write_text("config qpq main\n\toption log_level debug\n\tlist peer a:1\n")
        _kill(signal.SIGHUP)(node)

    assert rig.run("--role", "leaf", prepare=_on_start(change)) == 0
    assert rig.node is not None
    start, taken, stop = rig.calls
    assert (start, stop) == ("start", "stop")
    assert (taken.peer, taken.log_level, taken.role) == (("a:1",), "debug", "leaf")  # type: ignore[attr-defined]
    assert rig.node.log.level == logging.DEBUG
    assert "info: reloaded" in capsys.readouterr().err


@pytest.mark.usefixtures("reloads")
def test_a_hangup_names_what_needs_a_restart(rig: _Rig, capsys: pytest.CaptureFixture[str]) -> None:
    def change(node: _Node) -> None:
        (rig.path / "config").write_text("config qpq main\n\toption listen '[::]:7001'\n")
        _kill(signal.SIGHUP)(node)

    assert rig.run(prepare=_on_start(change)) == 0
    assert rig.calls[1].listen == "[::]:7000"  # type: ignore[attr-defined]
    assert "warning: reloaded, but a restart is needed for: listen" in capsys.readouterr().err


@pytest.mark.usefixtures("reloads")
def test_a_hangup_with_a_fault_changes_nothing(rig: _Rig, capsys: pytest.CaptureFixture[str]) -> None:
    def spoil(node: _Node) -> None:
        (rig.path / "config").write_text("config qpq main\n\toption role boss\n")
        _kill(signal.SIGHUP)(node)

    assert rig.run(prepare=_on_start(spoil)) == 0
    assert rig.calls == ["start", "stop"]
    assert "error: not reloaded, the running configuration stays: " in capsys.readouterr().err


def test_a_node_that_refuses_a_reload_goes_on(rig: _Rig, reloads: _Reloads, capsys: pytest.CaptureFixture[str]) -> None:
    reloads.numbers = [signal.SIGHUP, signal.SIGTERM]

    def refuse(_: _Node) -> None:
        raise QpqError("no such interface")

    def prepare(node: _Node) -> None:
        node.on_start, node.on_reload = _kill(signal.SIGHUP), refuse

    assert rig.run(prepare=prepare) == 0
    assert len(rig.calls) == 4
    assert "not reloaded, the running configuration stays: no such interface" in capsys.readouterr().err


def test_a_directory_that_cannot_be_used_is_told(rig: _Rig, capsys: pytest.CaptureFixture[str]) -> None:
    (rig.path / "file").write_text("")
    assert rig.run("--data-dir", str(rig.path / "file")) == 1
    assert rig.run("--socket-group", "no-such-group") == 1
    log = capsys.readouterr().err
    assert "is no directory" in log
    assert "knows no group 'no-such-group'" in log


def test_the_group_may_pass_through_the_data_directory_to_the_socket(rig: _Rig) -> None:
    stop = _on_start(_kill(signal.SIGTERM))
    group = str(os.getgid())
    assert rig.run("--socket-group", group, "--data-dir", str(rig.path / "a"), prepare=stop) == 0
    assert (rig.path / "a").stat().st_mode & 0o777 == 0o710
    socket = str(rig.path / "s")
    assert rig.run("--socket-group", group, "--data-dir", str(rig.path / "b"), "--socket", socket, prepare=stop) == 0
    assert (rig.path / "b").stat().st_mode & 0o777 == 0o700


# --- a real process ------------------------------------------------------------------------

_PROGRAM = """
import asyncio, os, sys, time, types

class Node:
    def __init__(self, config, log):
        self.log = log
    async def start(self):
        self.task = asyncio.ensure_future(self.stubborn())
    async def stubborn(self):
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if os.environ.get("STUB") != "stubborn":
                    raise
    async def stop(self, until):
        if os.environ.get("STUB") == "blocked":
            time.sleep(3600)
        open(os.environ["HOME"] + "/stopped", "w").close()
    async def reload(self, config):
        self.log.info("reload with level %s", config.log_level)

sys.modules["qpq.daemon.node"] = types.ModuleType("qpq.daemon.node")
sys.modules["qpq.daemon.node"].Node = Node
from qpq.daemon import main
main.LAST_SECONDS = float(os.environ.get("LAST", main.LAST_SECONDS))
sys.exit(main.run(sys.argv[1:]))
"""


class _Process:
    def __init__(self, path: Path, *argv: str, **environ: str) -> None:
        environ |= {"HOME": str(path), "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *argv], stderr=subprocess.PIPE, text=True, env=environ
        )

    def line(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline().rstrip("\n")

    def end(self, number: int | None = None) -> tuple[int, list[str], float]:
        """Send a signal and return exit status, the rest of the log, and the seconds it took."""
        begun = time.monotonic()
        if number is not None:
            self.process.send_signal(number)
        try:
            _, err = self.process.communicate(timeout=SECONDS)
        finally:
            self.process.kill()
        return self.process.returncode, err.splitlines(), time.monotonic() - begun


def test_a_process_logs_line_by_line_reloads_and_stops_within_five_seconds(tmp_path: Path) -> None:
    daemon = _Process(tmp_path, "--log-level", "info")
    assert daemon.line().startswith("info: ready: ")
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.line() == "info: reload with level info"
    assert daemon.line() == "info: reloaded"
    code, log, took = daemon.end(signal.SIGTERM)
    assert (code, log) == (0, ["info: SIGTERM: stopping", "info: stopped"])
    assert took < 5.0
    assert (tmp_path / "stopped").exists()


def test_two_daemons_cannot_share_a_data_directory(tmp_path: Path) -> None:
    first = _Process(tmp_path)
    first.line()
    code, log, _ = _Process(tmp_path).end()
    assert code == 1
    assert f"a daemon (process {first.process.pid}) uses {tmp_path}/.local/share/qpq already" in log[0]
    assert first.end(signal.SIGKILL)[0] == -signal.SIGKILL
    after = _Process(tmp_path)
    assert after.line().startswith("info: ready: ")
    assert after.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("stub", ["stubborn", "blocked"])
def test_a_process_that_hangs_is_ended_by_the_kernel_in_time(tmp_path: Path, stub: str) -> None:
    assert main.STOP_SECONDS < main.LAST_SECONDS < 5.0
    daemon = _Process(tmp_path, STUB=stub, LAST="0.3")
    daemon.line()
    code, _, took = daemon.end(signal.SIGTERM)
    assert code == -signal.SIGALRM
    assert took < 4.0


def test_bad_usage_ends_with_two(tmp_path: Path) -> None:
    assert _Process(tmp_path, "--role", "boss").end()[:2] == (
        2,
        ["qpq: --role: 'boss' is not allowed for role; allowed: one of leaf, relay, hub, auto"],
    )
