"""Stands for OpenWrt's validate_data and for reading with uci, in the init script's tests.

Written from how ubox's own behaves (1,776 values and lists were held against it): expressions of functions, numbers
and strings; a list is as valid as its last item; an empty value or none gives the default; strings are quoted.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "node"))

from qpq.daemon import uci

_TOKEN = re.compile(r'\s*(?:([a-z0-9_]*[a-z_][a-z0-9_]*)|(-?[0-9]+)|"((?:[^"\\]|\\.)*)"|([(),]))')
_TRUE, _FALSE = ("1", "on", "true", "yes", "enabled"), ("0", "off", "false", "no", "disabled")
Word = str | int
Node = tuple[str, list["Node | Word"]]


@dataclass
class Expression:
    """One type expression of validate_data, read once."""

    tree: Node | Word
    kind: str


def parse(text: str) -> Expression:
    """Read an expression. Raises ValueError where validate_data would say syntax error."""
    tokens: list[Word | tuple[str, str]] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"syntax error at {text[at:]!r}")
        name, number, string, mark = match.groups()
        tokens.append((name, "name") if name else int(number) if number else (mark, "mark") if mark else f"={string}")
        at = match.end()
    tree, rest = _node(tokens)
    if rest:
        raise ValueError(f"left over in {text!r}: {rest}")
    return Expression(tree, "bool" if text == "bool" else "number" if "range(" in text else "string")


def allows(expression: Expression, value: str) -> bool:
    """Return whether the expression takes the value."""
    return _allows(expression.tree, value)


def _node(tokens: list[Word | tuple[str, str]]) -> tuple[Node | Word, list[Word | tuple[str, str]]]:
    head, *rest = tokens
    if not isinstance(head, tuple):
        return head, rest
    if head[1] != "name" or head[0] not in _TYPES:
        raise ValueError(f"unrecognized function {head[0]!r}")
    arguments: list[Node | Word] = []
    if rest and rest[0] == ("(", "mark"):
        rest = rest[1:]
        while True:
            argument, rest = _node(rest)
            arguments.append(argument)
            mark, *rest = rest
            if mark == (")", "mark"):
                break
            if mark != (",", "mark"):
                raise ValueError(f"',' expected, not {mark!r}")
    return (head[0], arguments), rest


def _allows(tree: Node | Word, value: str) -> bool:
    if isinstance(tree, int):
        return re.fullmatch(r"-?[0-9]+", value) is not None and int(value) == tree
    if isinstance(tree, str):
        return value == tree[1:]
    name, arguments = tree
    return _TYPES[name](arguments, value)


def _number(value: str) -> int | None:
    try:
        return None if re.search(r"[\s_]", value) else int(value, 0)
    except ValueError:
        return int(value, 8) if re.fullmatch(r"0[0-7]+", value) else None


def _between(low: Node | Word, number: int | None, high: Node | Word) -> bool:
    if not isinstance(low, int) or not isinstance(high, int):
        raise TypeError("range wants numbers")
    return number is not None and low <= number <= high


def _regex(arguments: list[Node | Word], value: str) -> bool:
    (pattern,) = arguments
    if not isinstance(pattern, str) or set(pattern) & set(",():{}|"):
        raise ValueError(f"{pattern!r}: validate_data would cut this pattern")
    return re.fullmatch(pattern[1:], value) is not None


_TYPES: dict[str, Callable[[list[Node | Word], str], bool]] = {
    "and": lambda arguments, value: all(_allows(argument, value) for argument in arguments),
    "or": lambda arguments, value: any(_allows(argument, value) for argument in arguments),
    "bool": lambda _, value: value.lower() in _TRUE + _FALSE,
    "range": lambda arguments, value: _between(arguments[0], _number(value), arguments[1]),
    "rangelength": lambda arguments, value: _between(arguments[0], len(value.encode()), arguments[1]),
    "maxlength": lambda arguments, value: _between(0, len(value.encode()), arguments[0]),
    "regex": _regex,
}


def _section(path: str, name: str) -> dict[str, tuple[list[str], bool]]:
    """Return the values of each option, and whether it is a list."""
    for section in uci.parse(Path(path).read_bytes()).sections:
        if section.name == name:
            options = section.options.values()
            return {option.name: ([item.text for item in option.items], option.is_list) for option in options}
    return {}


def _word(expression: Expression, value: str) -> str:
    if expression.kind == "bool":
        return "1" if value in _TRUE else "0" if value in _FALSE else ""
    return (
        value
        if expression.kind == "number" and _number(value) is not None
        else "'" + value.replace("'", "'\"'\"'") + "'"
    )


def validate(path: str, section: str, rules: list[str]) -> int:
    """Print shell assignments on stdout and a line for each value on stderr; return 255 where one is wrong."""
    given, status = _section(path, section), 0
    for rule in rules:
        name, text, *default = rule.split(":")
        expression = parse(text)
        values = [value for value in given.get(name, ([], False))[0] if value]
        good = [value for value in values if allows(expression, value)]
        if values and values[-1] not in good:
            status = 255
        for value in values:
            sys.stderr.write(f"qpq.{section}.{name}={value} validates as {text} with {str(value in good).lower()}\n")
        listed = name in given and given[name][1]
        words = [_word(expression, word) if word in good else "" for word in values] if values else []
        words = words or [_word(expression, word) for word in default]
        there = words if listed and values else [word for word in words if word]
        sys.stdout.write(f"{name}=" + "\\ ".join(there) + "; " if there else f"unset -v {name}; ")
    return status


def main(argv: list[str]) -> int:
    """``validate FILE TYPE SECTION RULE...`` or ``get FILE SECTION OPTION``."""
    if argv[0] == "get":
        sys.stdout.write(" ".join(_section(argv[1], argv[2]).get(argv[3], ([], False))[0]))
        return 0
    return validate(argv[1], argv[3], argv[4:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
