"""The file through which avahi publishes this node."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from qpq.crypto.identity import Identity, text_id
from qpq.discovery.errors import PublishError
from qpq.discovery.service_files import Responder, ServiceFile, avahi_file, find_responder

if TYPE_CHECKING:
    from pathlib import Path

OWN, OTHER = Identity(b"o" * 32), Identity(b"p" * 32)
NAME = text_id(OWN)[:16]


def avahi(directory: Path, identity: Identity = OWN) -> ServiceFile:
    return ServiceFile(Responder(str(directory), True), identity)


def test_avahi_gets_its_xml(tmp_path: Path) -> None:
    avahi(tmp_path).publish(7000, "10.0.0.1:7000", "ffxx")
    path = tmp_path / "qpq.service"
    root = ET.fromstring(path.read_text())  # noqa: S314 (our own file)
    assert root.findtext("name") == NAME
    assert root.findtext("service/type") == "_quicproquo._udp"
    assert root.findtext("service/port") == "7000"
    assert [e.text for e in root.findall("service/txt-record")] == [
        *("ver=1", "server=10.0.0.1:7000", "domain=ffxx", f"id={text_id(OWN)}")
    ]
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["qpq.service"]


def test_nothing_can_break_out_of_the_xml() -> None:
    root = ET.fromstring(avahi_file("a<b", 1, {"domain": "</txt-record>&\"'<x>"}))  # noqa: S314
    assert root.findtext("service/txt-record") == "domain=</txt-record>&\"'<x>"
    assert root.findtext("name") == "a<b"


def test_an_unchanged_file_is_not_written_again(tmp_path: Path) -> None:
    file = avahi(tmp_path)
    file.publish(7000, "a:1", "x")
    (tmp_path / "qpq.service").unlink()
    file.publish(7000, "a:1", "x")
    assert os.listdir(tmp_path) == []
    file.publish(7000, "b:1", "x")
    assert os.listdir(tmp_path) == ["qpq.service"]
    (tmp_path / "qpq.service").unlink()
    file.withdraw()


def test_the_file_of_another_node_is_left_alone_and_an_own_old_one_replaced(tmp_path: Path) -> None:
    old, file, other = avahi(tmp_path), avahi(tmp_path), avahi(tmp_path, OTHER)
    old.publish(7000, "old:1", "x")
    file.publish(7001, "new:1", "x")
    other.publish(7002, "other:1", "x")
    assert sorted(os.listdir(tmp_path)) == [f"qpq-{text_id(OTHER)[:16]}.service", "qpq.service"]
    assert "new:1" in (tmp_path / "qpq.service").read_text()
    other.withdraw()
    assert os.listdir(tmp_path) == ["qpq.service"]


def test_a_directory_that_cannot_be_written_is_told_with_what_helps(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match=r"cannot write .*/gone/\.qpq\.service\.new: No such file.*let the daemon"):
        avahi(tmp_path / "gone").publish(7000, "a:1", "x")


def test_a_trap_in_the_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".qpq.service.new").symlink_to(victim)
    with pytest.raises(PublishError):
        avahi(tmp_path).publish(7000, "a:1", "x")
    assert victim.read_text() == "precious"


def test_a_file_that_stays_behind_is_told(tmp_path: Path) -> None:
    file = avahi(tmp_path)
    file.publish(7000, "a:1", "x")
    (tmp_path / "qpq.service").unlink()
    (tmp_path / "qpq.service").mkdir()
    with pytest.raises(PublishError, match="stays behind"):
        file.withdraw()


def process(proc: Path, number: str, name: str) -> None:
    (proc / number).mkdir(parents=True)
    (proc / number / "comm").write_text(name + "\n")


def test_avahi_is_found_by_its_directory_and_seen_to_run_by_its_name(tmp_path: Path) -> None:
    proc, services = tmp_path / "proc", tmp_path / "services"
    for directory in (proc, services, proc / "self", proc / "17"):
        directory.mkdir()
    paths = str(services), str(proc)
    process(proc, "1", "procd")
    assert find_responder(*paths) == Responder(str(services), False)
    process(proc, "10", "avahi-daemon")
    assert find_responder(*paths) == Responder(str(services), True)
    assert find_responder(str(services), str(tmp_path / "none")) == Responder(str(services), False)
    assert find_responder(str(tmp_path / "none"), str(proc)) is None
