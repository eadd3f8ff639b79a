"""What of its secrets is in a daemon's memory: while it runs, after it removed something, and at its very end."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from node import Node, free_ports, wait_for

from qpq.crypto import session_state
from qpq.mesh.records import PrekeyPut, SessionPut
from qpq.store import vault as vaults
from qpq.store.database import Database
from qpq.store.keyring import Keyring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from qpq.store.vault import Vault

QUIET = ("--no-mdns", "--no-beacon", "--no-group")
SETTLED = 1.5
"""Seconds after which the store has what was opened, and its keys are given up (mesh/sessions.py)."""

OF_IDENTITIES = ("the seed of", "the X25519 secret of")

_CONT, _DETACH, _SEIZE = 7, 17, 0x4206
_TRACE_EXIT = 0x40
_EVENT_EXIT = 6 << 8 | signal.SIGTRAP

_RANGE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw")


class Looker:
    """Looks into daemons of one program; ``whole``: its interpreter overwrites all that it frees.

    Otherwise secrets in hexadecimal, as they pass as texts, and those of identities, which PyNaCl computes in buffers
    of its own, may be left anywhere (docs/security.md) and are not looked for.
    """

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole

    def look(self, pid: int, secrets: Mapping[str, bytes]) -> set[str]:
        """Return the names of the secrets that are in a process's memory now, either half of them."""
        wanted = [
            (name, form)
            for name, secret in secrets.items()
            if self._whole or not name.startswith(OF_IDENTITIES)
            for form in self._forms(secret)
        ]
        found = set()
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                match = _RANGE.match(line)
                if match is None:
                    continue
                start, end = int(match[1], 16), int(match[2], 16)
                memory.seek(start)
                try:
                    content = memory.read(end - start)
                except OSError:  # a page of the kernel's
                    continue
                found |= {name for name, form in wanted if form in content}
        return found

    def at_the_end(self, pid: int, end: Callable[[], object], secrets: Mapping[str, bytes]) -> set[str]:
        """Let ``end`` end a child and return the names of the secrets that it leaves in memory as it exits.

        ptrace(2) holds it where it has left nothing to do but give its memory back.
        """
        _ptrace(_SEIZE, pid, _TRACE_EXIT)
        asking = threading.Thread(target=end)
        asking.start()  # a signal to the daemon stops it until it is let go on here
        while True:
            _, status = os.waitpid(pid, 0)
            assert os.WIFSTOPPED(status), f"it ended with {status} before it was looked at"
            if status >> 8 == _EVENT_EXIT:
                break
            _ptrace(_CONT, pid, 0 if status >> 16 else os.WSTOPSIG(status))
        found = self.look(pid, secrets)
        _ptrace(_DETACH, pid, 0)
        asking.join()
        return found

    def _forms(self, secret: bytes) -> tuple[bytes, ...]:
        half, digits = len(secret) // 2, secret.hex().encode()
        texts = (digits[:half], digits[-half:]) if self._whole else ()
        return secret[:half], secret[half:], *texts


class Locked:
    """A node under a key file, whose secrets can be read from its files."""

    def __init__(self, node: Node, key: Path) -> None:
        self.node = node
        self._key = str(key)
        vaults.make_key_file(self._key)
        node.arguments += ("--key-file", self._key)

    def vault(self) -> Vault:
        """Open the vault beside the node."""
        path = str(self.node.folder / vaults.FILE_NAME)
        lock = vaults.load(path)
        assert lock is not None
        return vaults.open_key_file(path, lock, self._key)

    def keys(self) -> dict[str, bytes]:
        """Return the keys at rest, and those of identities and channels."""
        vault = self.vault()
        keyring = Keyring.load(str(self.node.folder / "identity.json"), codec=vault.identities)
        owners = {"node": keyring.node, **{user.name: user.secret for user in keyring.users}}
        return {
            "the data key": bytes(vault._key),
            "the key of the identities": vault.identities.key,
            "the key of the store": vault.store.key,
            "the key file": vaults.read_key_file(self._key),
            **{f"the seed of {name}": secret.seed for name, secret in owners.items()},
            **{f"the X25519 secret of {name}": secret.x25519_secret for name, secret in owners.items()},
            **{f"the key of {channel.topic}": channel.key for user in keyring.users for channel in user.channels},
        }

    def sessions(self) -> dict[str, bytes]:
        """Return the secrets of sessions and prekeys, from a copy of the store."""
        folder = self.node.folder.parent / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.node.folder, folder, ignore=shutil.ignore_patterns("qpq.sock"))
        store = Database(str(folder / "qpq.db"), codec=self.vault().store)
        rows = list(store.restore())
        store.close()
        secrets = {}
        for row in rows:
            if isinstance(row, SessionPut):
                ratchet = session_state.decode(row.data).ratchet
                for name in ("root", "own_secret", "receiving"):  # the sending chain is written ahead
                    if secret := getattr(ratchet, name):
                        secrets[f"a session's {name}"] = secret
            if isinstance(row, PrekeyPut):
                secrets[f"a prekey of kind {row.kind}"] = row.data[1:33]
        return secrets


@contextmanager
def pair(tmp_path: Path, program: list[str]) -> Iterator[tuple[Locked, Locked]]:
    """Give two nodes that know each other, of this tree or of a built binary."""
    (tmp_path / "none").write_text("")
    ports = free_ports(2)
    nodes = []
    for name, port, other in (("a", *ports), ("b", *reversed(ports))):
        folder = tmp_path / name / "data"
        folder.mkdir(0o700, parents=True)
        arguments = (*QUIET, "--listen", f"127.0.0.1:{port}", "--peer", f"127.0.0.1:{other}")
        node = Node(name, folder=folder, arguments=arguments, environment={"QPQ_CONFIG": str(tmp_path / "none")})
        node.program = program
        nodes.append(Locked(node, tmp_path / f"{name}.key"))
    try:
        for locked in nodes:
            locked.node.start()
        yield nodes[0], nodes[1]
    finally:
        for locked in nodes:
            locked.node.close()


def what_is_done_with_is_gone(one: Locked, other: Locked, looker: Looker) -> None:
    """Have two nodes talk, remove a user and a channel, stop one and wipe the other, and look at each step."""
    node, pid = one.node, one.node.pid
    _talk(one.node, other.node)
    before = one.sessions()
    _talk(one.node, other.node)
    time.sleep(SETTLED)
    after = one.sessions()
    replaced = {name: secret for name, secret in before.items() if secret not in after.values()}
    assert {"a session's root", "a session's receiving"} <= set(replaced)
    _nothing(looker.look(pid, replaced), "of what sessions have replaced")
    assert looker.look(pid, after), "what is in use is found"

    node.ask("mesh.user.add", name="bert")
    node.ask("mesh.subscribe", topic="secret plans", private=True)
    keys = one.keys()
    node.ask("mesh.user.remove", name="bert")
    node.ask("mesh.unsubscribe", topic="secret plans")
    removed = {name: secret for name, secret in keys.items() if name.endswith(("bert", "plans"))}
    assert len(removed) == 3
    _nothing(looker.look(pid, removed), "of what was removed")

    kept = {**keys, **after}
    _nothing(looker.at_the_end(pid, lambda: os.kill(pid, signal.SIGTERM), kept), "in a node that has stopped")
    kept = {**other.keys(), **other.sessions()}
    _nothing(looker.at_the_end(other.node.pid, lambda: other.node.ask("wipe"), kept), "in one that was wiped")


def _nothing(found: set[str], where: str) -> None:
    assert not found, f"in memory is, {where}: {sorted(found)}"


def _talk(one: Node, other: Node) -> None:
    """Have messages go both ways in a session."""
    ends = [(node, _user(node)) for node in (one, other)]
    for number in range(4):
        (sender, _), (reader, to) = ends
        before = len(reader.inbox())
        sender.send(to, f"text {number}")
        wait_for("it came", lambda reader=reader, before=before: len(reader.inbox()) > before)  # type: ignore[misc]
        ends.reverse()


def _user(node: Node) -> str:
    rows: Any = node.ask("mesh.user.list")
    return str(rows["users"][0]["id"])


def _ptrace(request: int, pid: int, data: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    library.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    if library.ptrace(request, pid, None, data) != 0:
        error = ctypes.get_errno()
        if request == _SEIZE:
            pytest.skip(f"the daemon cannot be traced: {os.strerror(error)} (as root it can)")
        raise OSError(error, os.strerror(error))
