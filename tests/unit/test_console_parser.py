"""From a line to a checked command: words.py, parser.py, values.py, commands.py, arguments.py."""

from __future__ import annotations

import pytest

from qpq.console.arguments import read
from qpq.console.commands import COMMANDS, Role, available
from qpq.console.errors import DeniedError, UsageError
from qpq.console.parser import Invocation, find, parse
from qpq.console.values import Kind, check_text, convert
from qpq.console.words import from_arguments, quote, split


def spoken(line: str, *, restricted: bool = False, interactive: bool = False) -> Invocation:
    return parse(line, split(line), restricted=restricted, interactive=interactive)


def given(*words: str) -> Invocation:
    return parse(*from_arguments(list(words)))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  a  b ", ["a", "b"]),
        ('a "b c" d', ["a", "b c", "d"]),
        ("'a b'", ["a b"]),
        ("it's fine", ["it's", "fine"]),
        ("'it's me'", ["it's me"]),
        ('"open', ['"open']),
        ('"a\\"b\\\\c"', ['a"b\\c']),
        ("'a\\'", ["a\\"]),
        ('""', [""]),
        ("$(reboot) `x` $HOME ~ * ; | && > x", ["$(reboot)", "`x`", "$HOME", "~", "*", ";", "|", "&&", ">", "x"]),
        ("a\\ b", ["a\\", "b"]),
        ('"a\\', ['"a\\']),
    ],
)
def test_words_are_cut_without_any_expansion(line: str, words: list[str]) -> None:
    assert [word.value for word in split(line)] == words


@pytest.mark.parametrize("value", ["", "a", "a b", 'a"b', "'x", '"', "a\\", "\n"])
def test_a_quoted_value_comes_back_as_one_word(value: str) -> None:
    assert [word.value for word in split(quote(value))] == [value]


def test_the_slash_is_optional_and_both_spellings_are_the_same() -> None:
    assert given("/mesh", "peers").command is given("mesh", "peers").command
    assert spoken("/status").command.control == "status"
    assert spoken("/mesh user add anna").values == {"name": "anna"}


def test_a_text_keeps_its_spaces_and_apostrophes() -> None:
    assert spoken("/mesh send anna it's  me,   'me'").values == {"peer": "anna", "text": "it's  me,   'me'"}
    assert spoken('/mesh send anna "  quoted  "').values["text"] == "  quoted  "
    assert given("mesh", "send", "anna", "two  blanks", "x").values["text"] == "two  blanks x"
    assert spoken("/mesh send anna one\ntwo").values["text"] == "one\ntwo"


def test_options_stand_before_or_behind_a_text() -> None:
    before = spoken("/mesh send --ttl 7d --urgent anna hello you")
    behind = spoken("/mesh send anna hello you --ttl=7d --urgent")
    assert before == behind
    assert before.number("--ttl") == 604800
    assert before.flag("--urgent")
    assert before.number("--wait") is None
    assert spoken("/mesh send anna hello --urgent you").values["text"] == "hello you"


def test_after_two_dashes_everything_is_text() -> None:
    assert spoken("/mesh send anna -- --ttl 5").values["text"] == "--ttl 5"
    assert spoken("/mesh send anna hello -- you").values["text"] == "hello -- you"
    assert spoken('/mesh send anna "--ttl"').values["text"] == "--ttl"
    assert spoken("/mesh send anna --5 -x").values["text"] == "--5 -x"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "/",
        "/nonsense",
        "/mesh",
        "/mesh user",
        "/mesh nonsense",
        "/mesh send",
        "/mesh server",
        "/mesh server host:99999",
        "/mesh peers too much",
        "/mesh send anna --ttl",
        "/mesh send anna --ttl 31d x",
        "/mesh send anna --ttl 0 x",
        "/mesh send anna --nonsense x",
        "/mesh send anna --urgent=yes x",
        "/mesh inbox --limit 0",
        "/mesh inbox --limit ten",
        "/mesh peers --socket /x",
        "/mesh user add Anna",
        "/mesh user add ../x",
        "/mesh delete ab",
        "/mesh delete ABC1",
        "/mesh name anna " + "x" * 33,
        "/mesh block " + "x" * 321,
        "/mesh block a\x1bb",
        "/to anna",
        "/status nonsense",
    ],
)
def test_what_is_not_in_the_table_is_wrong_usage(line: str) -> None:
    with pytest.raises(UsageError):
        spoken(line)


def test_an_error_never_repeats_control_characters() -> None:
    for line in ("/\x1b[2J", "/status \x1b[2J", "/mesh block a\x1b", "/mesh send a --x-y"):
        with pytest.raises(UsageError) as caught:
            spoken(line)
        assert "\x1b" not in str(caught.value)


def test_aliases_lead_to_the_command() -> None:
    assert find(split("/?"))[0].name == "help"
    assert find(split("/exit"))[0].name == "quit"


def test_a_restricted_console_has_no_way_out() -> None:
    for line in (
        "mesh server host:1",
        "mesh user list",
        "mesh user add x",
        "mesh user remove x",
        "mesh user export me",
        "mesh user import",
        "metrics",
        "doctor",
        "mesh send anna --file /etc/shadow",
        "mesh inbox --user bob",
    ):
        with pytest.raises(DeniedError):
            spoken(line, restricted=True)
    assert spoken("mesh send anna hello", restricted=True).values["text"] == "hello"


def test_no_restricted_command_is_for_admins() -> None:
    allowed = available(restricted=True, interactive=True)
    assert {command.role for command in allowed} <= {Role.READ, Role.USER}
    assert {command.name for command in allowed} == {
        "mesh peers", "mesh send", "mesh inbox", "mesh outbox", "mesh delete", "mesh block", "mesh unblock",
        "mesh mute", "mesh unmute", "mesh identity", "mesh name", "status", "version", "watch", "help", "to", "quit",
        "mesh store", "mesh route", "mesh ping", "mesh trace", "mesh subscribe", "mesh unsubscribe", "mesh channels",
        "mesh broadcast", "verify", "privacy",
    }  # fmt: skip


def test_the_table_agrees_with_the_daemons() -> None:
    from qpq.daemon.commands import COMMANDS as DAEMONS  # noqa: PLC0415
    from qpq.daemon.commands import Role as DaemonRole  # noqa: PLC0415

    roles = {Role.READ: DaemonRole.READ_ONLY, Role.USER: DaemonRole.USER, Role.ADMIN: DaemonRole.ADMIN}
    ours = {command.control: command for command in COMMANDS if command.control}
    assert set(ours) == set(DAEMONS) - {"become"}
    for name, command in ours.items():
        assert roles[command.role] == DAEMONS[name].role, name
        assert command.restricted == DAEMONS[name].restricted, name
        assert {argument.name for argument in command.arguments} <= set(DAEMONS[name].args), name


def test_a_command_tells_how_it_is_written() -> None:
    command = spoken("/mesh server host:1").command
    assert command.usage() == "mesh server <host:port>"
    assert spoken("/mesh send a b").command.usage(options=False) == "mesh send <peer> [<text...>]"
    assert "[--ttl TTL]" in spoken("/mesh send a b").command.usage()


@pytest.mark.parametrize(
    ("word", "seconds"), [("7d", 604800), ("12h", 43200), ("90m", 5400), ("45", 45), ("1W", 604800)]
)
def test_times_to_live_are_written_with_units(word: str, seconds: int) -> None:
    assert convert(Kind.TTL, word) == seconds


@pytest.mark.parametrize("word", ["", "-1", "1.5h", "7x", "9999999999", "d", "7 d", "\u0667d"])
def test_other_times_to_live_are_refused(word: str) -> None:
    with pytest.raises(UsageError):
        convert(Kind.TTL, word)


def test_values_are_checked_by_kind() -> None:
    assert convert(Kind.ADDRESS, "[fe80::1]:7000") == "[fe80::1]:7000"
    assert convert(Kind.MESSAGE, "ABCD2") == "abcd2"
    assert convert(Kind.COUNT, "10") == 10
    assert convert(Kind.FILE, "x\x01") == "x\x01"
    assert convert(Kind.PETNAME, "Änne") == "Änne"
    assert convert(Kind.SECONDS, "0") == 0


def test_a_text_is_at_most_32_kib_of_valid_utf8() -> None:
    assert check_text("x" * 32768)
    for text in ("", "x" * 32769, "ü" * 20000, "\udcff"):
        with pytest.raises(UsageError):
            check_text(text)


def test_global_options_stand_anywhere() -> None:
    found = read(["mesh", "--json", "peers", "--socket=/s", "--data-dir", "/d", "-h"])
    assert found.words == ["mesh", "peers"]
    assert found.options == {"--json": "", "--socket": "/s", "--data-dir": "/d", "--help": ""}
    assert read(["mesh", "send", "a", "--", "--json"]).words == ["mesh", "send", "a", "--", "--json"]


def test_what_follows_daemon_is_the_daemons() -> None:
    found = read(["--data-dir", "/d", "daemon", "--listen", "x", "--json"])
    assert (found.program, found.words) == ("daemon", ["--listen", "x", "--json"])
    assert found.for_daemon() == ["--data-dir", "/d", "--listen", "x", "--json"]


def test_run_keeps_its_own_options_and_hands_on_the_rest() -> None:
    found = read(["run", "--listen", "[::]:0", "--user", "anna", "--data-dir", "/d", "--no-mdns"])
    assert found.program == "run"
    assert found.options == {"--user": "anna", "--data-dir": "/d"}
    assert found.for_daemon() == ["--data-dir", "/d", "--listen", "[::]:0", "--no-mdns"]


@pytest.mark.parametrize(
    "argv",
    [
        ["--socket"],
        ["--socket="],
        ["--json=1"],
        ["--user", "../x"],
        ["--restricted"],
        ["--as", "anna"],
        ["--restricted", "--as", "anna", "--socket", "/s"],
        ["--restricted", "--as", "anna", "--data-dir", "/s"],
        ["--restricted", "--as", "anna", "--config", "/s"],
        ["--restricted", "--as", "anna", "--history", "/s"],
        ["--restricted", "--as", "anna", "--user", "bob"],
        ["--restricted", "--as", "anna", "daemon"],
        ["--restricted", "--as", "anna", "run"],
    ],
)
def test_wrong_global_options_are_wrong_usage(argv: list[str]) -> None:
    with pytest.raises(UsageError):
        read(argv)
