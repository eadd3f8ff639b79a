"""Keys at rest of the built binary, run by an ordinary user with the memory of a router: x86_64, and MIPS emulated."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import binaries
import pytest
from netns import Lab
from node import Node, wait_for

from qpq.console.errors import ConnectionLostError, NoDaemonError, RefusedError
from qpq.crypto.identity import SecretIdentity, text_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from netns import Namespace

pytestmark = [
    pytest.mark.net,
    pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed (Debian: util-linux)"),
]

NOBODY = 65534
AVAILABLE_KIB = 40 << 10  # of a router with 64 MB
SLOW = 60.0  # seconds: Argon2id under emulation
WORDS = "correct horse battery"
TEXT = "RECOGNISABLE-TEXT"
STRANGER = text_id(SecretIdentity(b"s" * 32).address)
QUIET = ("--no-mdns", "--no-beacon", "--no-group")
LEFT = {"log", "qpq.lock"}


@dataclass
class Router:
    """A node of a binary that runs as nobody, and its console."""

    node: Node
    prefix: list[str]

    def console(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of the binary's console as the node's own user."""
        where = ["--data-dir", str(self.node.folder), "--socket", str(self.node.socket)]
        command = [*self.prefix, *self.node.program, *where, *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=SLOW, check=False)

    def start(self) -> None:
        """Start the node and wait until it answers, locked or not."""
        self.node.start(wait=False)
        wait_for("it answers", self.node._answers, SLOW)

    def lock(self) -> dict[str, Any]:
        """Return what the status says of the lock; nothing while nobody answers."""
        try:
            status = self.node.ask("status")
        except (ConnectionLostError, NoDaemonError, RefusedError):  # between two sockets nobody answers
            return {}
        assert isinstance(status, dict)
        return status["lock"]  # type: ignore[return-value]

    def await_open(self) -> None:
        """Wait until the node runs unlocked."""
        wait_for("the node is open", lambda: self.lock().get("state") == "open", SLOW)

    def data(self) -> bytes:
        """Return every byte the node keeps."""
        return b"".join(
            path.read_bytes() for path in self.node.folder.iterdir() if path.name not in LEFT | {"qpq.sock"}
        )

    def files(self) -> set[str]:
        """Return the names of what lies in the data directory."""
        return {path.name for path in self.node.folder.iterdir()}


@pytest.fixture(params=["x86_64", "mips_24kc"])
def router(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Router]:
    """Give a node of a built binary on a machine of its own."""
    *emulator, binary = binaries.command(request.param)
    with Lab() as lab:
        machine: Namespace = lab.namespace()
        node = Node("router", prefix=as_nobody(machine, tmp_path), arguments=(*QUIET, "--listen", "127.0.0.1:7000"))
        copied = node.folder.parent / f"{node.folder.name}.bin"  # where its user may read it, too
        shutil.copy(binary, copied)
        copied.chmod(0o755)
        node.program = [*emulator, str(copied)]
        shutil.chown(node.folder, NOBODY, NOBODY)
        try:
            yield Router(node, node.prefix)
        finally:
            node.close()
            copied.unlink()


def as_nobody(machine: Namespace, folder: Path) -> list[str]:
    """Return what goes before a command to run it as nobody, with a router's memory."""
    memory = folder / "meminfo"
    memory.write_text(f"MemTotal: {64 << 10} kB\nMemFree: {AVAILABLE_KIB} kB\nMemAvailable: {AVAILABLE_KIB} kB\n")
    small = ["unshare", "-m", "sh", "-ec", f'mount --bind {memory} /proc/meminfo; exec "$@"', "sh"]
    return [*machine.command(), *small, "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def test_a_passphrase_locks_the_binary_and_opens_it_again(router: Router) -> None:
    router.start()
    me = router.node.identity()
    router.node.send(STRANGER, TEXT)
    assert TEXT.encode() in router.data()
    router.node.ask("lock.set", passphrase=WORDS)
    assert TEXT.encode() not in router.data()
    assert '"memory_kib": 10240' in (router.node.folder / "vault.json").read_text(), "a quarter of the memory"
    assert router.node.stop() == 0

    router.start()
    assert router.lock()["state"] == "locked"
    with pytest.raises(RefusedError, match="locked"):
        router.node.ask("mesh.inbox")
    opened = router.console("unlock", stdin=WORDS + "\n")
    assert (opened.returncode, opened.stdout) == (0, "unlocked\n"), opened.stderr
    assert router.node.identity() == me
    assert [row["to"] for row in router.node.ask("mesh.outbox")] == [STRANGER]  # type: ignore[attr-defined]
    assert router.node.stop() == 0


def test_the_binary_waits_for_its_key_file(router: Router) -> None:
    key = router.node.folder / "stick.key"
    router.start()
    me = router.node.identity()
    router.node.ask("lock.key_file", path=str(key))
    assert router.node.stop() == 0
    away = key.rename(key.with_suffix(".away"))
    router.start()
    assert router.lock() == {"state": "locked", "protection": "key-file", "waits_for": f"the key file {key}"}
    away.rename(key)
    router.await_open()
    assert router.node.identity() == me


def test_the_binary_stops_in_time_while_a_passphrase_is_tried(router: Router) -> None:
    router.start()
    router.node.ask("lock.set", passphrase=WORDS)
    assert router.node.stop() == 0
    router.start()
    client = router.node.client()
    client._send(b'{"id": 1, "command": "unlock", "args": {"passphrase": "wrong"}}\n', client._clock() + SLOW)
    wait_for("it is being tried", lambda: "version" in router.node.ask("version"))  # type: ignore[operator]
    assert router.node.stop() == 0
    client.close()


def test_a_wipe_leaves_nothing_of_the_binary_whether_it_runs_or_not(router: Router) -> None:
    router.start()
    router.node.send(STRANGER, TEXT)
    me = router.node.identity()
    assert router.console("wipe", "--yes").returncode == 0
    assert router.node.process is not None
    assert router.node.process.wait(SLOW) == 0
    assert router.files() == LEFT
    assert TEXT.encode() not in router.data()

    router.start()
    assert router.node.identity() != me
    assert router.node.stop() == 0
    assert "keys destroyed" in router.console("wipe", "--yes").stdout
    assert router.files() == LEFT
