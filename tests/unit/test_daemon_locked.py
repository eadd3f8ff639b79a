"""Keys at rest of real daemons: set, locked start, unlock, key files, wipe while it runs, traces after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from node import NODE_SOURCE, Node, free_port, wait_for

from qpq.console.errors import RefusedError
from qpq.crypto.identity import SecretIdentity, text_id
from qpq.store.scrubbing import SOON_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORDS = "correct horse battery"
TEXT = "RECOGNISABLE-TEXT"
QUIET = ("--no-mdns", "--no-beacon", "--no-group")
STRANGER = text_id(SecretIdentity(b"s" * 32).address)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    folder = tmp_path / "n"
    folder.mkdir(0o700)
    (tmp_path / "none").write_text("")
    arguments = (*QUIET, "--listen", f"127.0.0.1:{free_port()}")
    made = Node("node", folder=folder, arguments=arguments, environment={"QPQ_CONFIG": str(tmp_path / "none")})
    yield made
    made.close()


def lock(node: Node) -> dict[str, Any]:
    status = node.ask("status")
    assert isinstance(status, dict)
    return status["lock"]  # type: ignore[return-value]


def is_open(node: Node) -> bool:
    try:
        return bool(lock(node)["state"] == "open")
    except Exception:  # noqa: BLE001 (between two sockets nobody answers)
        return False


def data(node: Node) -> bytes:
    """Return every byte of the data directory but for what this rig logs."""
    files = [path for path in node.folder.iterdir() if path.is_file() and path.name != "log"]
    return b"".join(path.read_bytes() for path in files)


def secrets_of(node: Node) -> list[bytes]:
    document = json.loads((node.folder / "identity.json").read_bytes())
    return [document["node"]["seed"].encode(), *(user["seed"].encode() for user in document["users"])]


def console(node: Node, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(NODE_SOURCE), "QPQ_CONFIG": node.environment["QPQ_CONFIG"]}
    return subprocess.run(
        [sys.executable, "-m", "qpq", "--data-dir", str(node.folder), "--socket", str(node.socket), *words],
        input=stdin, capture_output=True, text=True, timeout=60, check=False, env=environment,
    )  # fmt: skip


def test_a_passphrase_from_its_setting_to_its_end(node: Node) -> None:
    node.start()
    me = node.identity()
    user = node.ask("mesh.user.add", name="anna")
    assert isinstance(user, dict)
    node.send(str(user["id"]), TEXT)
    seeds = secrets_of(node)
    assert all(seed in data(node) for seed in [*seeds, TEXT.encode()])

    assert console(node, "lock", "set", stdin=WORDS + "\n").returncode == 0
    assert not any(seed in data(node) for seed in [*seeds, TEXT.encode()])
    assert lock(node)["protection"] == "passphrase"
    assert node.stop() == 0

    node.start()
    assert lock(node) == {"state": "locked", "protection": "passphrase", "waits_for": "the passphrase: qpq unlock"}
    for command in ("mesh.identity", "mesh.inbox", "metrics"):
        with pytest.raises(RefusedError, match="locked"):
            node.ask(command)
    assert "locked" in console(node, "doctor").stdout
    assert console(node, "status").returncode == 0
    wrong = console(node, "unlock", stdin="wrong horse battery\n")
    assert (wrong.returncode, "wrong passphrase" in wrong.stderr) == (1, True)
    at_once = console(node, "unlock", stdin=WORDS + "\n")
    assert "wait 1 s" in at_once.stderr, "guessing is slowed down"
    wait_for("the pause is over", lambda: console(node, "unlock", stdin=WORDS + "\n").returncode == 0)
    assert node.identity() == me
    assert node.texts("anna") == [TEXT]
    assert "not locked" in console(node, "unlock", stdin=WORDS + "\n").stderr

    node.ask("lock.off")
    assert all(seed in data(node) for seed in [*seeds, TEXT.encode()])
    assert not (node.folder / "vault.json").exists()
    assert lock(node)["protection"] == "none"
    with pytest.raises(RefusedError, match="no passphrase and no key file"):
        node.ask("lock.off")
    node.kill()
    node.start()
    assert node.texts("anna") == [TEXT]


def test_a_locked_node_stops_when_asked_and_forgets_no_signal(node: Node) -> None:
    node.start()
    node.ask("lock.set", passphrase=WORDS)
    assert node.stop() == 0
    node.start()
    os.kill(node.pid, signal.SIGHUP)
    assert lock(node)["state"] == "locked"
    assert node.stop() == 0
    assert not node.socket.exists()


def test_a_key_file_opens_the_node_when_its_stick_comes(node: Node, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    key = stick / "qpq.key"
    node.start()
    me = node.identity()
    with pytest.raises(RefusedError, match="absolute"):
        node.ask("lock.key_file", path="qpq.key")
    told = node.ask("lock.key_file", path=str(key))
    assert isinstance(told, dict)
    assert (told["made"], told["key_file"], "same file system" in str(told["note"])) == (True, str(key), True)
    assert key.stat().st_mode & 0o777 == 0o600
    assert node.stop() == 0

    node.start()
    assert node.identity() == me, "the stick is there: nothing to wait for"
    assert node.stop() == 0

    stick.rename(tmp_path / "pulled")
    node.start()
    assert lock(node)["waits_for"] == f"the key file {key}"
    with pytest.raises(RefusedError, match="no passphrase"):
        node.ask("unlock", passphrase=WORDS)
    with pytest.raises(RefusedError, match="locked"):
        node.ask("lock.key_file", path=str(key))
    assert "key file" in console(node, "unlock").stderr
    (tmp_path / "pulled" / "qpq.key").chmod(0o644)
    (tmp_path / "pulled").rename(stick)
    wait_for("it says what is wrong", lambda: "umask=077" in str(lock(node).get("problem")))
    key.chmod(0o600)
    wait_for("the node is open", lambda: is_open(node))
    assert node.identity() == me
    node.ask("lock.set", passphrase=WORDS)
    assert lock(node)["protection"] == "passphrase"
    assert "key_file" not in lock(node)


def test_a_key_file_in_the_configuration_is_waited_for_from_the_first_start_on(node: Node, tmp_path: Path) -> None:
    key = tmp_path / "qpq.key"
    node.environment["QPQ_KEY_FILE"] = str(key)
    node.start()
    assert lock(node)["waits_for"] == f"the key file {key}"
    assert not (node.folder / "identity.json").exists()
    with pytest.raises(RefusedError, match="another key file"):
        node.ask("lock.key_file", path=str(key) + "2")
    assert console(node, "lock", "key-file", str(key)).returncode == 0
    wait_for("the node is open", lambda: is_open(node))
    me = node.identity()
    assert b'"sealed"' in (node.folder / "identity.json").read_bytes()
    assert node.stop() == 0
    node.start()
    assert node.identity() == me


def test_a_damaged_vault_stops_the_start_and_stays(node: Node) -> None:
    (node.folder / "vault.json").write_bytes(b"{}")
    node.start(wait=False)
    assert node.process is not None
    assert node.process.wait(20) == 1
    assert "left as it is" in node.log()
    assert (node.folder / "vault.json").read_bytes() == b"{}"


def test_a_lost_vault_is_told_of_and_never_replaced(node: Node, tmp_path: Path) -> None:
    key = tmp_path / "qpq.key"
    node.environment["QPQ_KEY_FILE"] = str(key)
    node.start()
    node.ask("lock.key_file", path=str(key))
    wait_for("the node is open", lambda: is_open(node))
    me = node.identity()
    node.stop()
    vault = node.folder / "vault.json"
    vault.rename(tmp_path / "vault.json")
    for environment in ({}, {"QPQ_KEY_FILE": ""}):
        node.environment.update(environment)
        node.start(wait=False)
        assert node.process is not None
        assert node.process.wait(20) == 1
        assert "put" in node.log().splitlines()[-1]
        assert not vault.exists()
    (tmp_path / "vault.json").rename(vault)
    node.start()
    assert node.identity() == me, "the vault itself knows where the key file is"


def test_a_wipe_destroys_a_running_node(node: Node) -> None:
    node.start()
    node.send(STRANGER, TEXT)
    seeds = secrets_of(node)
    for words in (("wipe",), ("lock", "off")):
        unasked = console(node, *words)
        assert (unasked.returncode, "--yes" in unasked.stderr) == (2, True)
    assert node.running
    done = console(node, "wipe", "--yes")
    assert done.returncode == 0
    assert "on flash" in done.stdout
    assert node.process is not None
    assert node.process.wait(10) == 0
    assert {path.name for path in node.folder.iterdir()} == {"log", "qpq.lock"}
    assert not any(seed in data(node) for seed in [*seeds, TEXT.encode()])
    assert console(node, "wipe", "--yes").returncode == 0, "a second time there is nothing left"


def test_a_wipe_of_a_locked_node_and_of_one_that_does_not_run(node: Node) -> None:
    node.start()
    node.ask("lock.set", passphrase=WORDS)
    node.stop()
    node.start()
    assert console(node, "wipe", "--yes").returncode == 0
    assert node.process is not None
    assert node.process.wait(10) == 0
    assert {path.name for path in node.folder.iterdir()} == {"log", "qpq.lock"}
    node.start()
    me = node.identity()
    node.stop()
    assert "keys destroyed" in console(node, "wipe", "--yes").stdout
    assert {path.name for path in node.folder.iterdir()} == {"log", "qpq.lock"}
    node.start()
    assert node.identity() != me


def test_a_wipe_that_was_killed_is_finished_by_the_next_start(node: Node) -> None:
    node.start()
    me = node.identity()
    node.send(STRANGER, TEXT)
    node.kill()
    (node.folder / "qpq.wipe").write_bytes(b"[]")
    (node.folder / "identity.json").unlink()
    node.start()
    assert TEXT.encode() not in data(node)
    assert node.identity() != me
    assert not (node.folder / "qpq.wipe").exists()


def test_of_deleted_and_expired_messages_nothing_is_left_after_a_kill(node: Node) -> None:
    node.start()
    for number in range(30):
        node.send(STRANGER, f"{TEXT}-{number} " * 20)
    kept = node.send(STRANGER, "KEPT-TEXT")
    rows = node.ask("mesh.outbox")
    assert isinstance(rows, list)
    for row in rows[:-2]:
        node.ask("mesh.delete", message=row["id"])
    node.ask("mesh.delete", message=rows[-2]["id"])
    brief = node.send(STRANGER, f"{TEXT}-brief", ttl=1)
    wait_for("it has expired", lambda: node.state(brief) == "expired")
    wait_for("the delay that docs/security.md tells", lambda: TEXT.encode() not in data(node), SOON_S + 4)
    node.kill()
    assert TEXT.encode() not in data(node)
    assert b"KEPT-TEXT" in data(node)
    node.start()
    assert node.state(kept) == "queued"
    node.ask("mesh.delete", message=kept)
    assert node.stop() == 0
    assert b"KEPT-TEXT" not in data(node)


def test_a_kill_at_any_moment_of_a_change_leaves_a_node_that_opens(node: Node) -> None:
    """Nodes killed at growing distances from the command: each then opens, and is what it was before or after."""
    node.start()
    me = node.identity()
    node.ask("mesh.user.add", name="anna")
    node.send(STRANGER, TEXT)
    for command, arguments in (("lock.key_file", {"path": str(node.folder / "key")}), ("lock.off", {})):
        for milliseconds in (0, 5, 10, 15, 20, 30, 50):
            client = node.client()
            client._socket.sendall(json.dumps({"id": 1, "command": command, "args": arguments}).encode() + b"\n")
            if milliseconds:
                client._socket.settimeout(milliseconds / 1000)
                with suppress(TimeoutError):
                    client._socket.recv(65536)
            node.kill()
            client.close()
            node.start()
            assert node.identity() == me
            rows = node.ask("mesh.outbox")
            assert isinstance(rows, list)
            assert [row["text"] for row in rows] == [TEXT]
            sealed = lock(node)["protection"] == "key-file"
            # A kill may leave the plain rows in the log of the store, which the next start takes away soon.
            wait_for("only one form is left", lambda: (TEXT.encode() in data(node)) is not sealed, SOON_S + 4)  # noqa: B023
            if sealed is (command == "lock.key_file"):
                break
