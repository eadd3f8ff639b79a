"""The directory of a domain: names that an admin writes down for users of the whole mesh, and nobody else."""

from __future__ import annotations

import json
import stat
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from daemon_kit import ADMIN, ANNA, Commands, Node

from qpq.console import render_names
from qpq.console.parser import parse
from qpq.console.words import split
from qpq.crypto.identity import Identity, text_id
from qpq.daemon.commands import DeniedError, FailedError, UsageError, check_role, find
from qpq.daemon.directory import MAX_NAMES, Directory, DirectoryError

if TYPE_CHECKING:
    from pathlib import Path

BEN, CARL = Identity(b"b" * 32), Identity(b"c" * 32)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def ask(node: Node, what: str, **args: object) -> dict[str, Any]:
    found = Commands(node)(f"federation.name.{what}", ADMIN, **args)
    assert isinstance(found, dict)
    return found


def test_a_name_is_written_down_found_and_forgotten(node: Node, tmp_path: Path) -> None:
    row = {"name": "ben", "key": text_id(BEN), "domain": None}
    assert ask(node, "add", name="ben", key=text_id(BEN)) == row
    ask(node, "add", name="alice", key=text_id(CARL))
    path = tmp_path / "names.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(Directory(str(tmp_path)).names.items()) == [("alice", CARL), ("ben", BEN)]
    assert ask(node, "list") == {
        "domain": None,
        "names": [{"name": "alice", "key": text_id(CARL)}, {"name": "ben", "key": text_id(BEN)}],
    }
    assert ask(node, "remove", name="ben") == row
    assert list(Directory(str(tmp_path)).names) == ["alice"]


def test_a_relay_that_runs_hears_of_it(node: Node, tmp_path: Path) -> None:
    directory = Directory(str(tmp_path))
    node.federation = SimpleNamespace(directory=directory, settings=SimpleNamespace(domain="a.example"))
    assert ask(node, "add", name="ben", key=text_id(BEN))["domain"] == "a.example"
    assert directory.names == {"ben": BEN}


def test_a_name_means_one_key_until_it_is_removed(node: Node) -> None:
    ask(node, "add", name="ben", key=text_id(BEN))
    ask(node, "add", name="ben", key=text_id(BEN))
    with pytest.raises(DirectoryError, match="remove it first"):
        ask(node, "add", name="ben", key=text_id(CARL))
    with pytest.raises(DirectoryError, match="carl is not in the directory"):
        ask(node, "remove", name="carl")
    with pytest.raises(FailedError, match="anna is a user of this node"):
        ask(node, "add", name="anna", key=text_id(CARL))
    ask(node, "add", name="anna", key=text_id(node.keyring.user("anna").address))
    for wrong in ({"name": "Ben", "key": text_id(BEN)}, {"name": "ben", "key": "short"}):
        with pytest.raises(UsageError):
            ask(node, "add", **wrong)


def test_only_an_admin_sees_or_changes_the_directory() -> None:
    for what in ("add", "list", "remove"):
        name = f"federation.name.{what}"
        with pytest.raises(DeniedError):
            check_role(name, find(name), ANNA)


def test_there_is_an_end_to_it(tmp_path: Path) -> None:
    names = {f"n{number}": text_id(BEN) for number in range(MAX_NAMES)}
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"format": 1, "names": names}))
    with pytest.raises(DirectoryError, match="names already"):
        Directory(str(tmp_path)).add("one more", CARL)
    path.write_text(json.dumps({"format": 1, "names": {**names, "one-more": text_id(BEN)}}))
    with pytest.raises(DirectoryError, match="more than"):
        Directory(str(tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"format": 2, "names": {}}',
        '{"format": 1, "names": {"ben": "short"}}',
        json.dumps({"format": 1, "names": {"b@n": text_id(BEN)}}),
        '{"format": 1, "names": ["ben"]}',
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "names.json").write_text(content)
    with pytest.raises(DirectoryError, match=r"names\.json: this is .* move it away"):
        Directory(str(tmp_path))


def test_what_cannot_be_written_was_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Directory(str(tmp_path))
    directory.add("ben", BEN)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("qpq.daemon.directory.replace_private", fail)
    with pytest.raises(DirectoryError, match="No space left on device: nothing was changed"):
        directory.add("carl", CARL)
    with pytest.raises(DirectoryError, match="nothing was changed"):
        directory.remove("ben")
    assert directory.names == {"ben": BEN}


def test_the_console_shows_names_with_their_domain() -> None:
    row: Any = {"name": "ben", "key": "k" * 52, "domain": "a.example"}
    assert render_names.added(row, 0.0) == [f"ben@a.example is {'k' * 52}"]
    assert render_names.removed(row, 0.0) == ["ben@a.example is in the directory no longer"]
    assert render_names.added({**row, "domain": None}, 0.0) == [f"ben is {'k' * 52}", render_names.OFF]
    listed: Any = {"domain": "a.example", "names": [{"name": "ben", "key": "k" * 52}]}
    assert render_names.names(listed, 0.0)[1].split() == ["ben@a.example", "k" * 52]
    assert render_names.names({**listed, "names": []}, 0.0) == ["no names; federation name add writes one down"]


def test_the_words_of_the_console_become_the_commands_arguments() -> None:
    for line, values in (
        (f"federation name add ben {'k' * 52}", {"name": "ben", "key": "k" * 52}),
        ("federation name remove ben", {"name": "ben"}),
    ):
        assert parse(line, split(line)).values == values
