"""Real daemons for rigs: started, asked over the control socket, stopped, killed, started again.

Every wait has a deadline and polls what it waits for; nothing sleeps for a fixed time.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

NODE_SOURCE = Path(__file__).resolve().parents[2] / "node"
if str(NODE_SOURCE) not in sys.path:
    sys.path.insert(0, str(NODE_SOURCE))

from qpq.console.client import Client  # noqa: E402 (the rigs run without the package installed, too)
from qpq.errors import QpqError  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

READY = 20.0  # seconds; a loaded machine with two cores starts three nodes at once
STOP = 5.0  # seconds from SIGTERM to the end: what the node promises
STEP = 0.05

T = TypeVar("T")


def wait_for(what: str, probe: Callable[[], T], within: float = 20.0) -> T:
    """Return the first true answer of ``probe``; TimeoutError naming ``what`` after ``within`` seconds."""
    deadline = time.monotonic() + within
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {within:.0f} s for this: {what}")
        time.sleep(STEP)


def free_ports(count: int) -> list[int]:
    """Return UDP ports that nobody on this machine uses at this moment."""
    sockets = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(count)]
    for probe in sockets:
        probe.bind(("::", 0))
    ports = [int(probe.getsockname()[1]) for probe in sockets]
    for probe in sockets:
        probe.close()
    return ports


def free_port() -> int:
    """Return one of them."""
    return free_ports(1)[0]


class Node:
    """One daemon with a data directory of its own.

    ``prefix`` goes before the command (``ip netns exec NAME``), ``arguments`` after
    ``qpq daemon``; ``environment`` is added to this process's, less every QPQ_* in it.
    ``program`` is a built binary with what runs it, in place of this tree under ``python``.
    ``measured`` False keeps coverage away from a daemon that cannot write where the data go.
    The data directory is short, since a socket's path may have 107 bytes only.
    """

    def __init__(
        self,
        name: str,
        *,
        prefix: Sequence[str] = (),
        arguments: Sequence[str] = (),
        environment: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.prefix = list(prefix)
        self.arguments = list(arguments)
        self.environment = dict(environment or {})
        self.python = sys.executable
        self.program: list[str] = []
        self.measured = True
        self._owned = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="qpq"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Return the path of the control socket."""
        return self.folder / "qpq.sock"

    @property
    def pid(self) -> int:
        """Return the daemon's process id."""
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the daemon was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def command(self) -> list[str]:
        """Return what is started."""
        paths = ["--data-dir", str(self.folder), "--socket", str(self.socket)]
        program = self.program or [self.python, "-m", "qpq"]
        return [*self.prefix, *program, "daemon", *paths, *self.arguments]

    def start(self, *, wait: bool = True) -> Node:
        """Start the daemon; with ``wait`` until it answers."""
        unwanted = ("QPQ_", "PYTHONDONTWRITEBYTECODE")  # an installed program is not compiled at every start
        unwanted += () if self.measured else ("COV", "COVERAGE")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
        environment = {**kept, "PYTHONPATH": str(NODE_SOURCE), "PYTHONUNBUFFERED": "1", **self.environment}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=self.folder
            )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Return when the daemon answers; RuntimeError with its log when it ended."""
        try:
            wait_for(f"{self.name} answers", self._answers, READY)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; its log:\n{self.log()}") from None

    def _answers(self) -> bool:
        if not self.running:
            raise RuntimeError(f"{self.name} ended at once; its log:\n{self.log()}")
        try:
            self.ask("version")
        except QpqError:
            return False
        return True

    def client(self, user: str = "") -> Client:
        """Open a connection to the control socket; the caller closes it."""
        return Client.connect(str(self.socket), user=user)

    def ask(self, command: str, user: str = "", **arguments: object) -> object:
        """Send one command and return its result; raises what the console's client raises."""
        client = self.client(user)
        try:
            return client.request(command, arguments)  # type: ignore[arg-type]
        finally:
            client.close()

    def stop(self) -> int:
        """Stop the daemon as an init system would; returns its exit status; TimeoutError after 5 s."""
        if self.process is None:
            return 0
        if self.running:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"{self.name} did not stop within {STOP} s of SIGTERM") from None

    def kill(self) -> None:
        """End the daemon as a power cut would."""
        if self.process is not None and self.running:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """End the daemon and remove its directory."""
        self.kill()
        if self._owned:
            shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Return what the daemon said so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    # What rigs ask most, in the words of the control protocol.

    def identity(self) -> str:
        """Return the node's id."""
        return self._field(self.ask("mesh.identity"), "id")

    def peers(self) -> list[dict[str, object]]:
        """Return the rows of ``/mesh peers``."""
        rows = self.ask("mesh.peers")
        return rows.get("peers", []) if isinstance(rows, dict) else list(rows)  # type: ignore[call-overload,no-any-return]

    def linked(self) -> set[str]:
        """Return the ids of the peers whose link is up."""
        return {str(row["id"]) for row in self.peers() if row.get("state") in UP}

    def send(self, peer: str, text: str, user: str = "", **options: object) -> str:
        """Send a message; returns its id."""
        return self._field(self.ask("mesh.send", user, peer=peer, text=text, **options), "id")

    def inbox(self, user: str = "") -> list[dict[str, object]]:
        """Return all rows of the inbox."""
        return self._rows(self.ask("mesh.inbox", user, all=True, limit=1000))

    def texts(self, user: str = "") -> list[str]:
        """Return the texts of the inbox, sorted."""
        return sorted(str(row["text"]) for row in self.inbox(user))

    def state(self, message: str, user: str = "") -> str:
        """Return the state of an own message."""
        rows = self._rows(self.ask("mesh.outbox", user))
        return next((str(row["state"]) for row in rows if row["id"] == message), "unknown")

    def counter(self, name: str) -> int:
        """Return one counter of ``qpq status`` (0 when it has not counted)."""
        status = self.ask("status")
        counters = status["counters"] if isinstance(status, dict) else {}
        return int(counters.get(name, 0))  # type: ignore[union-attr,arg-type]

    @staticmethod
    def _field(result: object, key: str) -> str:
        assert isinstance(result, dict), result
        return str(result[key])

    @staticmethod
    def _rows(result: object) -> list[dict[str, object]]:
        if isinstance(result, dict):
            result = result.get("messages", [])
        assert isinstance(result, list), result
        return result


UP = {"up", "usable", "linked", "connected"}  # the words for a link that carries messages
