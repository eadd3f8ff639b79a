"""The table of control commands: who may do what, with which arguments."""

from __future__ import annotations

import pytest

from qpq.daemon.commands import (
    COMMANDS,
    MAX_TEXT,
    Args,
    Caller,
    CommandError,
    DeniedError,
    Role,
    UsageError,
    check_args,
    check_role,
    find,
)


def _caller(role: Role, *, restricted: bool = False) -> Caller:
    return Caller(role, 1000, 1000, 1, "anna" if restricted else None, restricted)


def _check(name: str, **given: object) -> Args:
    return check_args(name, find(name), given)


RESTRICTED_NEVER = ("metrics", "doctor", "mesh.server", "mesh.forget", "mesh.user.add", "mesh.user.remove",
                    "mesh.user.list", "mesh.user.export", "mesh.user.import", "become", "federation.name.add",
                    "federation.name.list", "federation.name.remove")  # fmt: skip


@pytest.mark.parametrize("name", RESTRICTED_NEVER)
def test_a_restricted_console_gets_no_export_settings_or_dialling(name: str) -> None:
    for role in Role:
        with pytest.raises(DeniedError):
            check_role(name, find(name), _caller(role, restricted=True))


@pytest.mark.parametrize(
    "name",
    [
        *("become", "mesh.send", "mesh.inbox", "mesh.outbox", "mesh.delete", "mesh.block", "mesh.name", "mesh.ping"),
        *("mesh.trace", "mesh.broadcast", "mesh.subscribe", "mesh.unsubscribe", "mesh.channels"),
    ],
)
def test_the_read_only_see_and_change_nothing_of_anybody(name: str) -> None:
    with pytest.raises(DeniedError, match="members of the socket's group"):
        check_role(name, find(name), _caller(Role.READ_ONLY))


@pytest.mark.parametrize(
    "name", ["mesh.server", "mesh.forget", "mesh.user.add", "mesh.user.remove", "mesh.user.export", "mesh.user.import"]
)
def test_only_an_admin_dials_and_handles_identities(name: str) -> None:
    check_role(name, find(name), _caller(Role.ADMIN))
    with pytest.raises(DeniedError, match="root and the node's own user"):
        check_role(name, find(name), _caller(Role.USER))


def test_a_restricted_user_can_read_and_write_messages() -> None:
    mesh = "send inbox outbox delete peers route store ping trace subscribe unsubscribe channels broadcast"
    for name in ("watch", "status", "version", *[f"mesh.{word}" for word in mesh.split()]):
        check_role(name, find(name), _caller(Role.USER, restricted=True))


def test_every_command_of_the_console_is_in_the_table() -> None:
    mesh = [
        "peers",
        "server",
        "send",
        "inbox",
        "outbox",
        "delete",
        "block",
        "unblock",
        "mute",
        "unmute",
        "identity",
        "name",
        "store",
        "route",
        "ping",
        "trace",
        "subscribe",
        "unsubscribe",
        "channels",
        "broadcast",
        "forget",
    ]
    users = ["add", "remove", "list", "export", "import"]
    expected = {"status", "version", "metrics", "watch", "become", "doctor", "verify", "privacy"}
    expected |= {"client.token.add", "client.token.list", "client.token.revoke"}
    expected |= {"federation.name.add", "federation.name.list", "federation.name.remove"}
    expected |= {"lock.set", "lock.key_file", "lock.off", "unlock", "wipe", "federation.status"}
    assert set(COMMANDS) == expected | {f"mesh.{word}" for word in mesh} | {f"mesh.user.{word}" for word in users}


def test_an_unknown_command_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"did you mean mesh.peers\?"):
        find("mesh.pers")
    with pytest.raises(UsageError) as caught:
        find("\x1b]0;x\x07")
    assert str(caught.value).isprintable()


def test_arguments_that_are_not_given_have_their_default() -> None:
    args = _check("mesh.send", peer="anna", text="hello")
    assert args == {"peer": "anna", "text": "hello", "ttl": None, "urgent": False}
    assert (args.text("text"), args.number("ttl"), args.flag("urgent")) == ("hello", None, False)
    imported = check_args("mesh.user.import", find("mesh.user.import"), {"armour": "x", "passphrase": "y"})
    assert imported.text("name") == ""
    assert _check("mesh.inbox", all=True, limit=5) == {"all": True, "limit": 5}
    assert _check("mesh.name", peer="anna", petname="") == {"peer": "anna", "petname": ""}
    assert _check("mesh.name", peer="anna", petname=None).text("petname") == ""


@pytest.mark.parametrize(
    ("name", "given", "part"),
    [
        ("mesh.send", {"peer": "anna"}, "needs text"),
        ("mesh.send", {"peer": "anna", "text": ""}, "text must be"),
        ("mesh.send", {"peer": "anna", "text": 5}, "text must be"),
        ("mesh.send", {"peer": "anna", "text": "\ud800"}, "text must be"),
        ("mesh.send", {"peer": "anna", "text": "ü" * (MAX_TEXT // 2 + 1)}, f"at most {MAX_TEXT}"),
        ("mesh.send", {"peer": "an\nna", "text": "x"}, "peer must be"),
        ("mesh.send", {"peer": "\x1b[2J", "text": "x"}, "peer must be"),
        ("mesh.send", {"peer": "x" * 321, "text": "x"}, "at most 320"),
        ("mesh.send", {"peer": "a", "text": "x", "ttl": 0}, "ttl must be a whole number from 1 to 2592000"),
        ("mesh.send", {"peer": "a", "text": "x", "ttl": 2592001}, "ttl must be"),
        ("mesh.send", {"peer": "a", "text": "x", "ttl": True}, "ttl must be"),
        ("mesh.send", {"peer": "a", "text": "x", "ttl": 1.5}, "ttl must be"),
        ("mesh.send", {"peer": "a", "text": "x", "urgent": 1}, "urgent must be true or false"),
        ("mesh.send", {"peer": "a", "text": "x", "urgnt": True}, "did you mean urgent?"),
        ("mesh.inbox", {"limit": 1001}, "limit must be"),
        ("mesh.delete", {"message": "abc"}, "message must be"),
        ("mesh.delete", {"message": "abc!"}, "message must be"),
        ("mesh.user.add", {"name": "Anna"}, "name must be 1 to 32 of a-z"),
        ("mesh.user.add", {"name": "../x"}, "name must be"),
        ("mesh.user.add", {}, "needs name"),
        ("become", {"user": "a" * 33}, "at most 32"),
        ("mesh.user.import", {"armour": "x" * 196609, "passphrase": "y"}, "at most 196608"),
        ("status", {"x": 1}, "takes no argument 'x'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(name: str, given: dict[str, object], part: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_args(name, find(name), given)
    assert part in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_message_may_hold_any_character_and_just_fit() -> None:
    for text in ("line\nbreak\tand \x1b", "x" * MAX_TEXT):
        assert _check("mesh.send", peer="anna", text=text).text("text") == text


def test_errors_carry_the_code_that_programs_read() -> None:
    assert [error("x").code for error in (CommandError, UsageError, DeniedError)] == ["failed", "usage", "denied"]
