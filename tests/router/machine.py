"""One machine in QEMU: switched on, asked over its console, cut from power.

QEMU's exit status says nothing of what happened inside, so only marks on the console count, and every wait has an end.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.boards import Board

BOOT = 180.0  # seconds that a machine may take until its console answers, on a host that has other work too
ANSWER = 240.0  # seconds for one command
STEP = 0.5
READY = "@@ready"
STATUS = "@@status "
FAILS = (b"@@fail", b"Kernel panic")
CLOCK = "2001-09-09T01:46:40"  # no battery holds a router's clock; this is the time before NTP has set it


class BootError(Exception):
    """A machine did not do what it must; the message ends with what its console showed."""


@dataclass(frozen=True, slots=True)
class Plug:
    """One end of a cable between two machines: paths of Unix datagram sockets, and the card's own address."""

    own: Path
    other: Path
    mac: str
    address: str


class Machine:
    """A board with a kernel, an initrd and a disk that outlives it."""

    def __init__(self, name: str, board: Board, kernel: Path, initrd: Path, disk: Path) -> None:
        self.name = name
        self.board = board
        self.kernel = kernel
        self.initrd = initrd
        self.disk = disk
        self.boot_seconds = 0.0
        self._begin = 0.0
        self._spent = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._seen = bytearray()
        self._read = 0

    def switch_on(self, plug: Plug, *words: str, stick: Path | None = None) -> None:
        """Switch the machine on; ``words`` are more of the kernel's arguments, ``stick`` is a file to read there."""
        plug.own.unlink(missing_ok=True)
        network = f"dgram,id=lan,local.type=unix,local.path={plug.own},remote.type=unix,remote.path={plug.other}"
        told = f"console={self.board.console} panic=-1 quiet qpq.name={self.name} qpq.address={plug.address}"
        command = [
            *(self.board.program, *self.board.machine, "-m", str(self.board.memory)),
            *("-nodefaults", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"),
            *("-rtc", f"base={CLOCK}", "-kernel", str(self.kernel), "-initrd", str(self.initrd)),
            *("-append", " ".join((told, *words)), "-netdev", network),
            *self.board.devices(str(self.disk), plug.mac, str(stick or "")),
        ]
        self._begin = time.monotonic()
        self._seen.clear()
        self._read = 0
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def wait_booted(self) -> None:
        """Return when the console answers."""
        self._until(READY, BOOT)
        self.boot_seconds = time.monotonic() - self._begin

    def run(self, command: str, within: float = ANSWER) -> tuple[int, str]:
        """Run one line of shell; return its status and what it wrote (stdout and stderr)."""
        assert self._process is not None, f"{self.name} is off"
        assert self._process.stdin is not None
        assert "\n" not in command, command
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()
        text, status = self._until(STATUS, within)
        return int(status), text

    def do(self, command: str, within: float = ANSWER) -> str:
        """Run one line that must end well; return what it wrote, stripped."""
        status, text = self.run(command, within)
        if status:
            raise self._error(f"`{command}` ended with {status}: {text.strip()}")
        return text.strip()

    def ask(self, words: str, within: float = ANSWER) -> Any:
        """Return the document that `qpq WORDS --json` prints."""
        text = self.do(f"qpq {words} --json", within)
        try:
            return json.loads(text)
        except ValueError:
            raise self._error(f"`qpq {words} --json` printed {text[:200]!r}") from None

    def wait(self, what: str, probe: Callable[[], Any], within: float = ANSWER) -> Any:
        """Return the first true answer of ``probe``; a command in it that fails counts as no answer yet."""
        deadline = time.monotonic() + within
        while True:
            try:
                found = probe()
            except BootError as error:
                found, last = None, error
            else:
                last = None
            if found:
                return found
            if time.monotonic() > deadline:
                raise self._error(f"waited {within:.0f} s in vain: {what}{f' ({last})' if last else ''}")
            time.sleep(STEP)

    def processor(self) -> float:
        """Return the seconds of a processor of this host that the machine has taken so far."""
        if self._process is None:
            return self._spent
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(") ")[2].split()
        return self._spent + sum(int(field) for field in fields[11:13]) / os.sysconf("SC_CLK_TCK")

    def cut(self) -> None:
        """Cut the power: nothing that the machine has not written to its disk is there afterwards."""
        if self._process is not None:
            self._spent = self.processor()
            self._process.send_signal(signal.SIGKILL)
            self._end()

    def off(self) -> None:
        """Switch the machine off in good order: stop its services, then the power."""
        if self._process is not None:
            self.do("for file in /etc/rc.d/K*; do [ ! -e $file ] || $file stop; done; sync")
            self.cut()

    def log(self) -> str:
        """Return the machine's log."""
        return self.do("/sbin/logread")

    def console(self, lines: int = 40) -> str:
        """Return the end of what the console showed."""
        return "\n".join(self._seen.decode(errors="replace").splitlines()[-lines:])

    def _until(self, mark: str, within: float) -> tuple[str, str]:
        """Return the text before the next line that begins with ``mark``, and the rest of that line."""
        deadline = time.monotonic() + within
        wanted = mark.encode()
        assert self._process is not None
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while True:
                found = self._line(wanted)
                if found is not None:
                    return found
                if any(mark in self._seen[self._read :] for mark in FAILS):
                    raise self._error("the start failed")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._error(f"waited {within:.0f} s in vain for {mark.strip()}")
                if selector.select(left):
                    data = os.read(self._process.stdout.fileno(), 65536)
                    if not data:
                        raise self._error("QEMU ended")
                    self._seen += data.replace(b"\r", b"")

    def _line(self, wanted: bytes) -> tuple[str, str] | None:
        at = self._seen.find(wanted, self._read)
        end = self._seen.find(b"\n", at) if at >= 0 else -1
        if end < 0:
            return None
        text = bytes(self._seen[self._read : at]).decode(errors="replace")
        rest = bytes(self._seen[at + len(wanted) : end]).decode(errors="replace")
        self._read = end + 1
        return text, rest

    def _end(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        process.wait(10.0)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()

    def _error(self, what: str) -> BootError:
        return BootError(f"{self.board.target}, {self.name}: {what}\n--- its console:\n{self.console()}")
