"""Access tokens by the admin's commands: made once, listed without the secret, kept in a private file, taken away."""

from __future__ import annotations

import stat
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from daemon_kit import ADMIN, ANNA, Commands, Node

from qpq.console import render_clients
from qpq.console.commands import COMMANDS
from qpq.console.errors import UsageError as ConsoleUsageError
from qpq.console.parser import parse
from qpq.console.words import split
from qpq.crypto.identity import text_id
from qpq.daemon.client_accounts import AccountFile, AccountFileError
from qpq.daemon.commands import DeniedError, FailedError, UsageError, check_role, find
from qpq.home.accounts import AccountError

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"k" * 32
TOKEN = f"qpq-{'a' * 8}-{'b' * 52}"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def add(node: Node, **args: object) -> dict[str, Any]:
    found = Commands(node)("client.token.add", ADMIN, **args)
    assert isinstance(found, dict)
    return found


def test_a_token_for_a_user_of_this_node_is_for_that_users_key(node: Node, tmp_path: Path) -> None:
    made = add(node, name="anna")
    assert made["key"] == text_id(node.keyring.user("anna").address)
    assert made["token"].startswith(f"qpq-{made['id']}-")
    assert made["serving"] is False
    path = tmp_path / "clients.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made["token"].rpartition("-")[2] not in path.read_text()
    assert Commands(node)("client.token.list", ADMIN) == {
        "tokens": [{key: made[key] for key in ("id", "name", "key", "made")}]
    }


def test_a_token_for_somebody_else_needs_a_key_the_first_time(node: Node) -> None:
    with pytest.raises(FailedError, match="carla is no user of this node: give the id"):
        add(node, name="carla")
    with pytest.raises(UsageError, match="key: an id has 52 characters"):
        add(node, name="carla", key="short")
    first = add(node, name="carla", key=text_id(KEY))
    second = add(node, name="carla")
    assert first["key"] == second["key"] == text_id(KEY)
    assert first["token"] != second["token"]
    with pytest.raises(AccountError, match="tokens for another key"):
        add(node, name="carla", key=text_id(b"x" * 32))


def test_a_token_is_revoked_by_its_number_and_a_running_port_hears_of_it(node: Node, tmp_path: Path) -> None:
    file, heard = AccountFile(str(tmp_path)), []
    node.client_port = SimpleNamespace(file=file, home=SimpleNamespace(revoked=heard.append))
    made = add(node, name="anna")
    assert made["serving"] is True
    token = file.accounts.holder(made["token"].encode())
    assert Commands(node)("client.token.revoke", ADMIN, id=made["id"]) == {
        key: made[key] for key in ("id", "name", "key", "made")
    }
    assert heard == [token]
    assert file.accounts.tokens == AccountFile(str(tmp_path)).accounts.tokens == ()
    with pytest.raises(AccountError, match="no token is named"):
        Commands(node)("client.token.revoke", ADMIN, id=made["id"])
    with pytest.raises(UsageError, match="the 8 characters"):
        Commands(node)("client.token.revoke", ADMIN, id="short")


def test_only_an_admin_handles_tokens() -> None:
    for what in ("add", "list", "revoke"):
        name = f"client.token.{what}"
        with pytest.raises(DeniedError):
            check_role(name, find(name), ANNA)


def test_what_cannot_be_written_was_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AccountFile(str(tmp_path))
    token, _ = file.add("anna", KEY, 0)  # type: ignore[arg-type]

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("qpq.daemon.client_accounts.replace_private", fail)
    with pytest.raises(AccountFileError, match="No space left on device: nothing was changed"):
        file.add("anna", KEY, 0)  # type: ignore[arg-type]
    with pytest.raises(AccountFileError, match="nothing was changed"):
        file.revoke(token.number)
    assert file.accounts.tokens == (token,)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "clients.json"
    path.write_bytes(b"{")
    with pytest.raises(AccountFileError, match=r"clients\.json: this is no file of client tokens .* move it away"):
        AccountFile(str(tmp_path))
    path.unlink()
    path.mkdir()
    with pytest.raises(AccountFileError, match=r"clients\.json: it is no regular file"):
        AccountFile(str(tmp_path))


# --- the console -----------------------------------------------------------------------------


def test_the_console_shows_a_token_once_and_says_that_it_does() -> None:
    result: Any = {
        "id": "a" * 8, "name": "anna", "key": "k" * 52, "made": 1_700_000_000, "token": TOKEN, "serving": True,
    }  # fmt: skip
    lines = render_clients.added(result, 0.0)
    assert f"    {TOKEN}" in lines
    assert "this once" in lines[-1]
    assert render_clients.added({**result, "serving": False}, 0.0)[-1] == render_clients.OFF
    assert render_clients.tokens({"tokens": [result]}, 1_700_000_060.0)[1].split() == [
        "a" * 8, "anna", "1", "min", "ago", "k" * 52,
    ]  # fmt: skip
    assert render_clients.tokens({"tokens": []}, 0.0) == ["no tokens; client token add makes one"]
    assert render_clients.revoked(result, 0.0) == [f"token {'a' * 8} for anna is revoked"]


def test_the_words_of_the_console_become_the_commands_arguments() -> None:
    for line, values in (
        ("client token add anna", {"name": "anna"}),
        (f"client token add anna {'k' * 52}", {"name": "anna", "key": "k" * 52}),
        ("client token revoke abcdefgh", {"id": "abcdefgh"}),
    ):
        assert parse(line, split(line)).values == values
    for line in ("client token add Anna", "client token revoke ABC"):
        with pytest.raises(ConsoleUsageError):
            parse(line, split(line))
    assert not any(command.restricted for command in COMMANDS if command.words[0] == "client")
