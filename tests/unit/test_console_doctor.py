"""What the doctor makes of facts: each fault is named with what to do, and only faults fail."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from console_fake import FakeServer, refusing
from console_run import Command

from qpq.console.doctor import Finding, Level, _own_storage, examine, examine_directory, examine_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOOD: dict[str, Any] = {
    "sockets": [{"what": "links", "address": "UDP port 7003", "ok": True, "error": ""}],
    "interfaces": [
        {"name": "lo", "up": True, "multicast": True, "loopback": True},
        {"name": "eth0", "up": True, "multicast": True, "loopback": False},
        {"name": "eth1", "up": False, "multicast": True, "loopback": False},
    ],
    "clock": {"trusted": True, "reason": "NTP", "time": 1},
    "memory": {"total": 1 << 30, "available": 1 << 29, "leaf": False},
    "storage": {"path": "/d", "filesystem": "ext4", "free": 1 << 30, "total": 1 << 31, "writable": True},
    "firewall": [],
    "mdns_port_users": 1,
    "udp_receive_errors": 0,
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    made = FakeServer(tmp_path / "s", {"doctor": GOOD})
    yield made
    made.close()


def levels(facts: dict[str, Any]) -> dict[str, Level]:
    return {finding.check: finding.level for finding in examine(facts)}


def only(check: str, **facts: Any) -> Finding:
    return next(finding for finding in examine({**GOOD, **facts}) if finding.check == check)


def test_a_healthy_node_has_nothing_wrong() -> None:
    assert set(levels(GOOD).values()) == {Level.OK}
    assert set(levels(GOOD)) == {"port", "firewall", "multicast", "clock", "memory", "storage"}
    assert examine({}) == []


@pytest.mark.parametrize(
    ("check", "facts", "level", "words"),
    [
        (
            "port",
            {"sockets": [{"what": "links", "address": "a", "ok": False, "error": "in use"}]},
            Level.WRONG,
            "in use",
        ),
        ("port", {"sockets": [{"what": "mDNS", "address": "a", "ok": False}]}, Level.NOTE, "not open"),
        ("multicast", {"interfaces": []}, Level.WRONG, "no interface is up"),
        ("multicast", {"interfaces": [{"name": "a", "up": True}]}, Level.WRONG, "can do multicast"),
        ("clock", {"clock": {"trusted": False, "reason": "no battery"}}, Level.NOTE, "no battery"),
        ("memory", {"memory": {"total": 1 << 26, "available": 1 << 20, "leaf": True}}, Level.NOTE, "1.0 MiB"),
        ("memory", {"memory": {"total": 0, "available": 0, "leaf": False}}, Level.NOTE, "does not tell"),
        ("storage", {"storage": {"path": "/d", "error": "gone"}}, Level.WRONG, "gone"),
        ("storage", {"storage": {"path": "/d", "free": 1 << 30, "writable": False}}, Level.WRONG, "not writable"),
        ("storage", {"storage": {"path": "/d", "free": 1000, "writable": True}}, Level.WRONG, "1000 B"),
        (
            "storage",
            {"storage": {"path": "/d", "free": 1 << 30, "writable": True, "filesystem": "tmpfs"}},
            Level.NOTE,
            "tmpfs",
        ),
        ("buffers", {"udp_receive_errors": 7}, Level.NOTE, "7 datagrams"),
        ("firewall", {"firewall": [{"what": "ufw", "hint": "ufw allow PORT/udp"}]}, Level.NOTE, "ufw"),
    ],
)
def test_each_fault_is_named_with_what_to_do(check: str, facts: dict[str, Any], level: Level, words: str) -> None:
    found = only(check, **facts)
    assert found.level is level
    assert words in found.text
    assert found.advice or check == "memory"


def test_firewall_advice_names_the_nodes_own_port() -> None:
    hint = [{"what": "ufw", "hint": "ufw allow PORT/udp"}]
    assert only("firewall", firewall=hint).advice == "ufw allow 7003/udp"
    assert only("firewall", firewall=hint, sockets=[]).advice == "ufw allow 7000/udp"


def test_data_that_others_can_read_is_wrong(tmp_path: Path) -> None:
    data = tmp_path / "d"
    assert [found.level for found in examine_directory(str(data), 0)] == [Level.NOTE]
    data.mkdir(mode=0o700)
    (data / "identity.json").write_text("{}")
    (data / "identity.json").chmod(0o600)
    mine = data.stat().st_uid
    assert [found.level for found in examine_directory(str(data), mine)] == [Level.OK, Level.OK]
    assert [found.level for found in examine_directory(str(data), mine + 1)] == [Level.NOTE, Level.NOTE]
    data.chmod(0o710)
    assert [found.level for found in examine_directory(str(data), mine)] == [Level.OK, Level.OK]
    data.chmod(0o750)
    (data / "identity.json").chmod(0o644)
    found = list(examine_directory(str(data), mine))
    assert [one.level for one in found] == [Level.WRONG, Level.WRONG]
    assert found[1].advice == f"chmod go= {data}/identity.json"


def test_a_directory_that_cannot_be_looked_into_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = list(examine_directory(str(tmp_path / "file" / "d"), 0))
    assert [one.level for one in found] == [Level.NOTE]


def test_a_port_that_another_has_is_found() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 0))  # noqa: S104 (as the node does)
        assert examine_port(other.getsockname()[1]).level is Level.WRONG
    assert examine_port(0).level is Level.OK


def test_storage_is_looked_at_above_a_directory_that_is_not_made_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _own_storage(str(tmp_path / "a" / "b"))["path"] == str(tmp_path)
    assert _own_storage("")["path"] == ""

    def fail(_path: str) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "statvfs", fail)
    assert _own_storage("/")["error"] == "Input/output error"


def test_the_command_prints_findings_and_tells_by_its_exit_status(server: FakeServer, tmp_path: Path) -> None:
    data = tmp_path / "d"
    data.mkdir(mode=0o700)
    command = Command(tmp_path, server.path)
    ran = command("doctor", "--data-dir", str(data))
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.endswith("nothing is wrong\n")
    document = json.loads(command("doctor", "--json").out)
    assert document["ok"] is True
    assert document["facts"] == GOOD
    server.table["doctor"] = {**GOOD, "interfaces": [{"name": "\x1b[2J", "up": True}]}
    ran = command("doctor")
    assert ran.status == 1
    assert ran.out.endswith("something is wrong\n")
    assert "\x1b" not in ran.out


def test_without_a_daemon_the_doctor_says_so_and_looks_itself(tmp_path: Path) -> None:
    ran = Command(tmp_path, str(tmp_path / "none"))("doctor")
    assert ran.status == 1
    assert "no daemon answers" in ran.out
    assert "/etc/init.d/qpq start" in ran.out
    assert "storage" in ran.out
    assert "UDP port 7000" in ran.out


def test_a_daemon_that_refuses_is_wrong_too(server: FakeServer, tmp_path: Path) -> None:
    server.table["doctor"] = refusing("failed", "no")
    assert Command(tmp_path, server.path)("doctor").status == 1
