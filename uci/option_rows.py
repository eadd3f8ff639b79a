"""The option table, schema.json, read strictly into rows."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "node"))

from qpq.daemon.kinds import Kind, Option, Setter, parse_items, parse_value

_KEYS = frozenset({
    "name", "kind", "default", "flag", "meta", "uci", "lowest", "highest", "unit", "zero", "zero_de", "choices",
    "reload", "setter", "was", "en", "de",
})  # fmt: skip


class SchemaError(Exception):
    """The option table itself is wrong."""


@dataclass(frozen=True, slots=True)
class Row:
    """One option with what only the documentation needs."""

    option: Option
    written: tuple[str, ...]
    german: str
    zero_german: str
    was: tuple[str, ...] = ()


def read_rows(text: str, part: str = "options") -> list[Row]:
    """Read one table of schema.json strictly. Raises SchemaError, or BadValueError where a default is not allowed."""
    table = json.loads(text)
    if table["package"] != "qpq" or set(table) != {"package", "section", "options", "relay"}:
        raise SchemaError("schema.json: package, section, options and relay are wanted, nothing else")
    rows = [_row(entry) for entry in table[part]]
    names = [row.option.name for row in rows]
    if len(set(names)) != len(names):
        raise SchemaError("schema.json: an option is there twice")
    return rows


def _row(entry: dict[str, object]) -> Row:
    name = str(entry.get("name", ""))
    if not name.isidentifier() or not name.islower() or not set(entry) <= _KEYS:
        raise SchemaError(f"schema.json: option {name!r}: bad name, or unknown keys {sorted(set(entry) - _KEYS)}")
    kind = Kind(entry["kind"])
    dashed, upper = name.replace("_", "-"), name.upper()
    flagged = bool(entry.get("flag"))
    switch = flagged and kind is Kind.BOOL
    choices = entry.get("choices", [])
    lowest, highest = entry.get("lowest"), entry.get("highest")
    default = entry["default"]
    if not isinstance(choices, list) or not isinstance(lowest, int | None) or not isinstance(highest, int | None):
        raise SchemaError(f"schema.json: option {name!r}: choices must be a list, lowest and highest numbers")
    if (lowest is None) != (highest is None) or (kind in {Kind.INT, Kind.DURATION, Kind.SIZE}) != (lowest is not None):
        raise SchemaError(f"schema.json: option {name!r}: int, duration and size have a lowest and a highest value")
    written = tuple(str(item) for item in default) if isinstance(default, list) else (_word(default),)
    bare = Option(
        name=name, kind=kind, default="", help=str(entry["en"]), meta=str(entry.get("meta", "")),
        flag=f"--{dashed}" if flagged else None, negative=f"--no-{dashed}" if switch else None,
        env=f"QPQ_{upper}", env_negative=f"QPQ_NO_{upper}" if switch else None, uci=bool(entry.get("uci", True)),
        lowest=lowest, highest=highest, unit=str(entry.get("unit", "")), zero=str(entry.get("zero", "")),
        choices=tuple(str(choice) for choice in choices), reload=bool(entry.get("reload")),
        setter=Setter(entry.get("setter", "user")),
    )  # fmt: skip
    value = parse_items(bare, list(written)) if bare.is_list else parse_value(bare, written[0])
    fields = {field: getattr(bare, field) for field in Option.__slots__} | {"default": value}
    was = entry.get("was", [])
    if not isinstance(was, list):
        raise SchemaError(f"schema.json: option {name!r}: was must be a list of the names that it had before")
    return Row(Option(**fields), written, str(entry["de"]), str(entry.get("zero_de", "")), tuple(map(str, was)))


def _word(default: object) -> str:
    return ("1" if default else "0") if isinstance(default, bool) else str(default)
