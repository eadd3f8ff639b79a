"""Whatever bytes come: the UCI parser, the control lines and the configuration decide, and never break."""

# ruff: noqa: PT017 (where any input may be right or wrong, the wrong ones are looked at in passing)

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpq.daemon import commands, config, control_line, logs, uci
from qpq.daemon.kinds import BadValueError, parse_value
from qpq.daemon.nearest import nearest
from qpq.daemon.options import OPTIONS
from qpq.errors import QpqError

_NAMES = st.from_regex(r"[A-Za-z0-9_]{1,12}", fullmatch=True)
_TYPES = st.from_regex(r"[!-~]{1,12}", fullmatch=True)
_TEXTS = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" \t\n'\"\\#;"), max_size=40).filter(
    lambda text: all(character.isprintable() or character in "\t\n" for character in text)
)
_SOUP = st.lists(
    st.sampled_from(
        ["config", "option", "list", "package", " ", "\n", "'", '"', "\\", "#", ";", "a", "b-", "\t", "\r\n"]
    ),
    max_size=40,
).map("".join)


# --- UCI -----------------------------------------------------------------------------------


def _quoted(text: str, style: int) -> str:
    """Write a word in one of the forms that mean ``text``."""
    if style == 0:
        return "'" + text.replace("'", "'\\''") + "'"
    if style == 1:
        return '"' + "".join("\\" + c if c in '"\\' else c for c in text) + '"'
    return "".join(f"'{c}'" if c == "\n" else "\\" + c for c in text) or "''"


@given(st.lists(st.tuples(_TYPES, st.lists(st.tuples(_NAMES, _TEXTS, st.integers(0, 2))))))
def test_what_is_written_is_read_in_every_quoting(
    sections: list[tuple[str, list[tuple[str, str, int]]]],
) -> None:
    lines: list[str] = []
    for kind, options in sections:
        lines.append("config " + _quoted(kind, 0))
        lines += [f"\toption {name} {_quoted(text, style)} # note" for name, text, style in options]
    file = uci.parse("\n".join(lines).encode())
    found = [
        (section.type, {name: option.items[0].text for name, option in section.options.items()})
        for section in file.sections
    ]
    assert found == [(kind, {name: text for name, text, _ in options}) for kind, options in sections]


@given(st.one_of(st.binary(max_size=200), _SOUP.map(str.encode)))
def test_any_file_is_read_or_refused_with_a_line_that_exists(data: bytes) -> None:
    try:
        file = uci.parse(data)
    except uci.UciError as error:
        assert 1 <= error.line <= data.count(b"\n") + 1
        assert str(error).isprintable()
        return
    for section in file.sections:
        for option in section.options.values():
            assert option.is_list or len(option.items) == 1
            assert all(item.line <= data.count(b"\n") + 1 for item in option.items)


# --- control lines -------------------------------------------------------------------------

_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
_REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(st.integers(-2, 2**60), _JSON),
        "command": st.one_of(st.sampled_from(sorted(commands.COMMANDS)), _JSON),
        "args": st.one_of(
            st.dictionaries(st.sampled_from(["peer", "text", "ttl", "urgent", "name", "user"]), _JSON, max_size=3),
            _JSON,
        ),
        "user": st.one_of(st.just("anna"), _JSON),
        "more": _JSON,
    },
)


@given(st.one_of(st.binary(max_size=200), _REQUESTS.map(lambda value: json.dumps(value).encode()), _JSON.map(
    lambda value: json.dumps(value).encode()
)))  # fmt: skip
def test_any_line_is_a_request_or_refused(line: bytes) -> None:
    try:
        request = control_line.decode(line)
    except control_line.RequestError as error:
        answer = json.loads(control_line.refusal(error.id, error))
        assert answer["error"]["code"] == "usage"
        return
    assert 0 <= request.id <= control_line.MAX_ID
    try:
        command = commands.find(request.command)
        checked = commands.check_args(request.command, command, request.args)
    except commands.UsageError as error:
        assert str(error).isprintable()
        return
    assert set(checked) == set(command.args)


@given(st.integers(0, control_line.MAX_ID), st.sampled_from(sorted(commands.COMMANDS)), st.text(max_size=50))
def test_a_request_is_read_as_it_was_written(number: int, command: str, text: str) -> None:
    line = json.dumps({"id": number, "command": command, "args": {"text": text}, "user": "anna"}).encode()
    assert control_line.decode(line) == control_line.Request(number, command, {"text": text}, "anna")


@given(_JSON.filter(lambda value: value == value), st.text(max_size=20))  # noqa: PLR0124 (no NaN)
def test_an_answer_is_one_line_of_ascii(value: object, name: str) -> None:
    for line in (control_line.answer(1, value), control_line.event(name, {"x": value})):
        assert line.isascii()
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
    assert b"\x1b" not in line


def test_a_line_one_byte_too_long_is_refused_and_one_that_fits_is_read() -> None:
    head, tail = b'{"id":1,"command":"status","user":"a"', b"}"
    fits = head + b" " * (control_line.MAX_LINE - len(head) - len(tail)) + tail
    assert control_line.decode(fits).id == 1
    with pytest.raises(control_line.RequestError):
        control_line.decode(b" " + fits)


# --- configuration -------------------------------------------------------------------------

_VALUES = {
    "role": st.sampled_from(["leaf", "relay", "hub", "auto"]),
    "log_level": st.sampled_from(["error", "warning", "info", "debug"]),
    "max_links": st.integers(1, 1000).map(str),
    "domain": st.sampled_from(["ff.example", "kiel", "x-1"]),
}
_LAYERS = st.fixed_dictionaries({}, optional=_VALUES)


@given(_LAYERS, _LAYERS, _LAYERS)
def test_the_first_source_that_says_something_wins(
    flags: dict[str, str], variables: dict[str, str], file: dict[str, str]
) -> None:
    argv = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    environ = {"HOME": "/root"} | {f"QPQ_{name.upper()}": value for name, value in variables.items()}
    content = "config qpq main\n" + "".join(f"option {name} '{value}'\n" for name, value in file.items())
    loaded = config.load(argv, environ, lambda _: content.encode())
    defaults = config.load([], {"HOME": "/root"}, lambda _: None).config
    for name in _VALUES:
        written = flags.get(name) or variables.get(name) or file.get(name) or str(getattr(defaults, name))
        assert str(getattr(loaded.config, name)) == written
        assert (loaded.origins[name] == config.DEFAULT) == (name not in {**flags, **variables, **file})


@given(
    st.lists(st.one_of(st.text(max_size=12), st.sampled_from([option.flag or "-" for option in OPTIONS])), max_size=5)
)
def test_any_command_line_is_read_or_refused(argv: list[str]) -> None:
    try:
        config.load(argv, {"HOME": "/root"}, lambda _: None)
    except QpqError as error:
        assert all(line.isprintable() for line in str(error).splitlines())


@given(st.sampled_from(OPTIONS), st.text(max_size=30))
def test_any_value_is_read_or_refused_in_printable_words(option: config.Option, text: str) -> None:
    try:
        value = parse_value(option, text)
    except BadValueError as error:
        assert str(error).isprintable()
        return
    if isinstance(value, int) and not isinstance(value, bool) and option.highest is not None:
        assert value == 0 or (option.lowest or 0) <= value <= option.highest


@given(st.text(max_size=40))
def test_a_log_line_is_printable_whatever_is_in_it(text: str) -> None:
    assert logs.escaped(text).isprintable()


@given(st.text(max_size=50), st.lists(st.text(max_size=10), max_size=5))
def test_the_nearest_name_is_one_of_those_known(name: str, known: list[str]) -> None:
    assert nearest(name, known) in {None, *known}
