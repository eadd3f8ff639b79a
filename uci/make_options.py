#!/usr/bin/env python3
"""Makes all that repeats the option table, schema.json: options.py, docs/options*.md, qpq.config, blocks of scripts.

``python uci/make_options.py`` writes the files; with ``--check`` it writes nothing and fails where one is not current.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "node"))

from qpq.daemon.kinds import (  # noqa: E402
    MAX_INTERFACE,
    MAX_NAME,
    MAX_PATH,
    Kind,
    Option,
    Setter,
    allowed,
    parse_items,
    parse_value,
)

_KEYS = frozenset({
    "name", "kind", "default", "flag", "meta", "uci", "lowest", "highest", "unit", "zero", "zero_de", "choices",
    "reload", "setter", "was", "en", "de",
})  # fmt: skip
_SHORTEST, _LONGEST = len("::"), 280  # characters of an address (qpq.netaddress)
_ANNOTATIONS = {Kind.BOOL: "bool", Kind.PORT: "int", Kind.INT: "int", Kind.DURATION: "int", Kind.SIZE: "int"}


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


def render(text: str) -> dict[Path, str]:
    """Return every generated file, by its path below the repository, made from the text of schema.json."""
    rows, relay = read_rows(text), read_rows(text, "relay")
    section = json.loads(text)["section"]
    return {
        Path("node/qpq/daemon/options.py"): _python(rows, section),
        Path("node/qpq/daemon/relay_options.py"): _relay_python(relay),
        Path("docs/options.md"): _reference(rows, section, _ENGLISH) + _relay_reference(relay, _ENGLISH),
        Path("docs/options.de.md"): _reference(rows, section, _GERMAN) + _relay_reference(relay, _GERMAN),
        Path("uci/qpq.config"): _example(rows, section),
        _INIT: _with_block(_INIT, _validation(rows, section)),
        _DEFAULTS: _with_block(_DEFAULTS, _renamed(rows)),
    }


def main(argv: list[str]) -> int:
    """Write the files, or with ``--check`` name those that are not current and return 1."""
    stale = []
    for path, content in render((ROOT / "uci/schema.json").read_text(encoding="utf-8")).items():
        target = ROOT / path
        if target.exists() and target.read_text(encoding="utf-8") == content:
            continue
        stale.append(str(path))
        if "--check" not in argv:
            target.parent.mkdir(exist_ok=True)
            target.write_text(content, encoding="utf-8")
    verb = "not current" if "--check" in argv else "written"
    sys.stdout.writelines(f"{verb}: {path}\n" for path in stale)
    return 1 if stale and "--check" in argv else 0


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


# --- options.py ----------------------------------------------------------------------------


def _python(rows: list[Row], section: dict[str, str]) -> str:
    lines = [
        '"""The option table and the configuration it makes: generated by uci/make_options.py from uci/schema.json."""',
        "",
        "from __future__ import annotations",
        "",
        "from dataclasses import dataclass",
        "from typing import TYPE_CHECKING",
        "",
        "from qpq.daemon.kinds import Kind, Option, Setter",
        "",
        "if TYPE_CHECKING:",
        "    from qpq.daemon.relay_options import RelayConfig",
        "",
        f"SECTION_TYPE = {_quoted(section['type'])}",
        f"SECTION_NAME = {_quoted(section['name'])}",
        "",
        "OPTIONS: tuple[Option, ...] = (",
    ]
    lines += _options(rows)
    lines += [
        ")",
        "",
        "",
        "@dataclass(frozen=True, slots=True)",
        "class Config:",
        '    """The settings of a node, as docs/options.md tells them; times in seconds, sizes in bytes."""',
        "",
    ]
    lines += [*_fields(rows), "    relays: tuple[RelayConfig, ...] = ()"]
    return "\n".join(lines) + "\n"


def _options(rows: list[Row]) -> list[str]:
    lines = []
    for row in rows:
        lines += ["    Option(", *(f"        {line}," for line in _arguments(row.option)), "    ),"]
    return lines


def _fields(rows: list[Row]) -> list[str]:
    return [f"    {row.option.name}: {_annotation(row.option)} = {_literal(row.option.default)}" for row in rows]


def _relay_python(rows: list[Row]) -> str:
    lines = [
        '"""The options of relays of other domains: generated by uci/make_options.py from uci/schema.json."""',
        "",
        "from __future__ import annotations",
        "",
        "from dataclasses import dataclass",
        "",
        "from qpq.daemon.kinds import Kind, Option",
        "",
        "RELAY_OPTIONS: tuple[Option, ...] = (",
        *_options(rows),
        ")",
        "",
        "",
        "@dataclass(frozen=True, slots=True)",
        "class RelayConfig:",
        '    """One section ``config relay``; ``name`` is the section\'s, ``where`` the file and line it begins at."""',
        "",
        "    name: str",
        "    where: str",
        *_fields(rows),
    ]
    return "\n".join(lines) + "\n"


def _arguments(option: Option) -> list[str]:
    """Return the keyword arguments that differ from Option's defaults, as source text."""
    lines = [f"name={_quoted(option.name)}", f"kind=Kind.{option.kind.name}", f"default={_literal(option.default)}"]
    lines.append(f"help={_quoted(option.help)}")
    lines += [
        f"{field}={_literal(getattr(option, field))}"
        for field in ("flag", "negative", "env", "env_negative", "lowest", "highest", "unit", "zero", "meta", "choices")
        if getattr(option, field)
    ]
    lines += [] if option.uci else ["uci=False"]
    lines += ["reload=True"] if option.reload else []
    lines += [] if option.setter is Setter.USER else [f"setter=Setter.{option.setter.name}"]
    return lines


def _annotation(option: Option) -> str:
    return "tuple[str, ...]" if option.is_list else _ANNOTATIONS.get(option.kind, "str")


def _literal(value: object) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, tuple):
        inner = ", ".join(_literal(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 10**5:
        return f"{value:_}"
    return repr(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=True)


# --- docs/options*.md ----------------------------------------------------------------------

_ENGLISH = {
    "title": "Options of the node",
    "intro": (
        "Made from `uci/schema.json` by `uci/make_options.py`; change the table, not this page.\n\n"
        "A flag of `qpq daemon` wins over an environment variable, that over the UCI file (`/etc/config/qpq`, or\n"
        "what `--config` names), that over the default. A list given in one place replaces the list of the places\n"
        "below it; in an environment variable its items stand between blanks or commas. A value that is not\n"
        "allowed, or a name that does not exist, is an error with file, line, option and what is allowed, and the\n"
        "node does not start. `kill -HUP` makes the node read everything again: what is marked *at once* then\n"
        "holds, the rest after a restart; if anything is wrong the node says so and keeps what it had.\n"
    ),
    "overview": "| option | default | what for |",
    "relays": (
        "## config relay\n\nThe relays of other domains stand in the file only, each in a section of its own with any "
        "name:\n`config relay 'berlin'`; at most 64. [federation.md](federation.md) tells what they are for. A change "
        "is taken over\nby SIGHUP.\n"
    ),
    "relay_overview": "| in the section | default | allowed | what for |",
    "file": "In the file", "flag": "Flag", "env": "Environment", "kind": "Type", "allowed": "Allowed",
    "default": "Default", "reload": "Change holds", "now": "at once (SIGHUP)", "later": "after a restart",
    "setter": "Set by", "none": "nothing",
    "user": "whoever runs the node", "init": "the init script reads it", "site": "the community's site configuration",
}  # fmt: skip
_GERMAN = {
    "title": "Optionen des Knotens",
    "intro": (
        "Aus `uci/schema.json` mit `uci/make_options.py` gemacht; zu ändern ist die Tabelle, nicht diese Seite.\n\n"
        "Ein Schalter von `qpq daemon` geht vor der Umgebungsvariablen, diese vor der UCI-Datei (`/etc/config/qpq`\n"
        "oder was `--config` nennt), diese vor der Vorgabe. Eine Liste ersetzt die Liste der Stellen darunter; in\n"
        "einer Umgebungsvariablen stehen ihre Einträge zwischen Leerzeichen oder Kommas. Ein unerlaubter Wert oder\n"
        "ein Name, den es nicht gibt, ist ein Fehler mit Datei, Zeile, Option und dem Erlaubten, und der Knoten\n"
        "startet nicht. Nach `kill -HUP` liest der Knoten alles neu: *sofort* Markiertes gilt dann, der Rest nach\n"
        "einem Neustart; ist etwas falsch, sagt er es und behält, was er hatte.\n"
    ),
    "overview": "| Option | Vorgabe | wofür |",
    "relays": (
        "## config relay\n\nDie Relays anderer Domains stehen nur in der Datei, jedes in einem eigenen Abschnitt mit "
        "beliebigem Namen:\n`config relay 'berlin'`; höchstens 64. Wozu sie dienen, sagt "
        "[federation.md](federation.md). Eine Änderung gilt\nnach SIGHUP.\n"
    ),
    "relay_overview": "| im Abschnitt | Vorgabe | Erlaubt | wofür |",
    "file": "In der Datei", "flag": "Schalter", "env": "Umgebung", "kind": "Typ", "allowed": "Erlaubt",
    "default": "Vorgabe", "reload": "Änderung gilt", "now": "sofort (SIGHUP)", "later": "nach einem Neustart",
    "setter": "Gesetzt von", "none": "nichts",
    "user": "wer den Knoten betreibt", "init": "das Init-Skript liest sie", "site": "die Gemeinschaft (Site)",
}  # fmt: skip
_GERMAN_KINDS = {
    Kind.BOOL: "1, on, true, yes, enabled oder 0, off, false, no, disabled",
    Kind.PORT: "ein Port von 1 bis 65535",
    Kind.ADDRESS: "IP-Adresse und Port: 192.0.2.1:7000 oder [2001:db8::1]:7000",
    Kind.ADDRESSES: "host:port, 192.0.2.1:7000, [2001:db8::1]:7000 oder [fe80::1%br-lan]:7000, bis zu 64",
    Kind.STRING: "Buchstaben, Ziffern, '.', '-' und '_', bis zu 63; oder nichts",
    Kind.STRINGS: "Wörter aus bis zu 63 Buchstaben, Ziffern, '.', '-' und '_', bis zu 64",
    Kind.INTERFACES: "Namen von Netzwerkschnittstellen, bis zu 64",
    Kind.PATH: "ein Pfad aus druckbaren Zeichen, in Dateien absolut und ohne Leerzeichen",
}
_GERMAN_UNITS = {"seconds": "Sekunden", "bytes": "Bytes", "links": "Verbindungen", "MB": "MB"}


def _reference(rows: list[Row], section: dict[str, str], words: dict[str, str]) -> str:
    german = words is _GERMAN
    parts = [f"# {words['title']}\n", words["intro"], _overview(rows, words, german=german)]
    parts += [_chapter(row, section, words, german=german) for row in rows]
    return "\n".join(parts)


def _relay_reference(rows: list[Row], words: dict[str, str]) -> str:
    """Return the chapter on relays of other domains, which only the file can name."""
    german = words is _GERMAN
    lines = ["", words["relays"], words["relay_overview"], "| --- | --- | --- | --- |"]
    for row in rows:
        text = row.german if german else row.option.help
        verb = "list" if row.option.is_list else "option"
        allows = _allowed_german(row) if german else allowed(row.option)
        lines.append(f"| `{verb} {row.option.name}` | {_default(row, words)} | {allows} | {text} |")
    return "\n".join(lines) + "\n"


def _overview(rows: list[Row], words: dict[str, str], *, german: bool) -> str:
    lines = [words["overview"], "| --- | --- | --- |"]
    for row in rows:
        text = row.german if german else row.option.help
        lines.append(f"| [{row.option.name}](#{row.option.name}) | {_default(row, words)} | {text} |")
    return "\n".join(lines) + "\n"


def _chapter(row: Row, section: dict[str, str], words: dict[str, str], *, german: bool) -> str:
    option = row.option
    facts = [(words["kind"], option.kind.value)]
    facts.append((words["allowed"], _allowed_german(row) if german else allowed(option)))
    facts.append((words["default"], _default(row, words)))
    if option.uci:
        verb = "list" if option.is_list else "option"
        facts.append((words["file"], f"`config {section['type']} '{section['name']}'`, `{verb} {option.name} '...'`"))
    if option.flag:
        flags = [option.flag + (f" {option.meta}" if option.meta else ""), option.negative]
        facts.append((words["flag"], ", ".join(f"`{flag}`" for flag in flags if flag)))
    names = [option.env, option.env_negative]
    facts.append((words["env"], ", ".join(f"`{name}`" for name in names if name)))
    facts.append((words["reload"], words["now" if option.reload else "later"]))
    facts.append((words["setter"], words[option.setter.value]))
    text = row.german if german else option.help
    lines = [f"## {option.name}\n", f"{text}\n", *(f"- {name}: {fact}" for name, fact in facts)]
    return "\n".join(lines) + "\n"


def _allowed_german(row: Row) -> str:
    option = row.option
    if option.kind in _GERMAN_KINDS:
        return _GERMAN_KINDS[option.kind]
    if option.kind is Kind.ENUM:
        return "eines von " + ", ".join(option.choices)
    bounds = f"von {option.lowest} bis {option.highest} {_GERMAN_UNITS.get(option.unit, option.unit)}".rstrip()
    bounds += f", oder 0 ({row.zero_german})" if option.zero else ""
    written = {
        Kind.DURATION: ", geschrieben 90, 90s, 15m, 12h, 7d oder 2w",
        Kind.SIZE: ", geschrieben 65536, 512K, 2M oder 1G",
    }
    return bounds + written.get(option.kind, "")


def _default(row: Row, words: dict[str, str]) -> str:
    return ", ".join(f"`{word}`" for word in row.written if word) or words["none"]


# --- qpq.config ----------------------------------------------------------------------------


def _example(rows: list[Row], section: dict[str, str]) -> str:
    """Return /etc/config/qpq as the package installs it: every option with one line of comment."""
    lines = ["# The values behind # are the defaults; more: docs/options.md", ""]
    lines.append(f"config {section['type']} '{section['name']}'")
    for row in rows:
        option = row.option
        if not option.uci:
            continue
        mark = "" if option.setter is Setter.INIT else "#"
        verb = "list" if option.is_list else "option"
        lines.append(f"\t# {option.help.replace('`', '')}")
        lines += [f"\t{mark}{verb} {option.name} '{word}'" for word in row.written or ("",)]
    return "\n".join(lines) + "\n"


# --- blocks in shell scripts ---------------------------------------------------------------

_INIT = Path("procd/qpq.init")
_DEFAULTS = Path("uci/50-qpq")
_BLOCK = re.compile(r"(?<=\n)# BEGIN options:[^\n]*\n(.*?)(?=# END options\n)", re.DOTALL)


def _with_block(path: Path, block: str) -> str:
    """Return the text of a script with what stands between its marks made anew."""
    text = (ROOT / path).read_text(encoding="utf-8")
    found = _BLOCK.search(text)
    if found is None:
        raise SchemaError(f"{path}: there are no lines '# BEGIN options: ...' and '# END options'")
    return text[: found.start(1)] + block + text[found.end(1) :]


def _validation(rows: list[Row], section: dict[str, str]) -> str:
    """Return the function that has ubox validate and set every option: ``validate_options SECTION CALLBACK``."""
    kind = section["type"]
    lines = ["validate_options() {", f'\tuci_load_validate {kind} {kind} "$1" "$2" \\']
    wanted = [row for row in rows if row.option.uci]
    for row in wanted:
        default = " ".join(row.written)
        rule = f"{row.option.name}:{_type(row.option)}"
        rule += "" if not default or ":" in default else f":{default}"
        lines.append(f"\t\t'{rule}' \\")
    lines[-1] = lines[-1].removesuffix(" \\")
    return "\n".join([*lines, "}"]) + "\n"


def _type(option: Option) -> str:
    """Return the type of ubox's validate_data that comes nearest to the option's kind and refuses nothing allowed.

    Its grammar knows no colon, comma or parenthesis in a pattern; what it lets pass ``qpq daemon --check`` finds.
    """
    bounds = f"range({option.lowest},{option.highest})"
    bounds = f"or(0,{bounds})" if option.zero else bounds
    seconds = f"or({'0,' if option.zero else ''}range({option.lowest},{option.highest})"
    return {
        Kind.BOOL: "bool",
        Kind.PORT: "range(1,65535)",
        Kind.ADDRESS: f"rangelength({_SHORTEST},{_LONGEST})",
        Kind.ADDRESSES: f"rangelength(1,{_LONGEST})",
        Kind.STRING: f'and(maxlength({MAX_NAME}),regex("[A-Za-z0-9_][A-Za-z0-9_.-]*"))',
        Kind.STRINGS: f'and(maxlength({MAX_NAME}),regex("[A-Za-z0-9_][A-Za-z0-9_.-]*"))',
        Kind.INTERFACES: f'and(maxlength({MAX_INTERFACE}),regex("[A-Za-z0-9_.@-]+"))',
        Kind.ENUM: "or({})".format(",".join(f'"{choice}"' for choice in option.choices)),
        Kind.INT: bounds,
        Kind.DURATION: seconds + ',regex("[0-9]+[smhdw]"))',
        Kind.SIZE: 'regex("[0-9]+[kmgtKMGT]?[iI]?[bB]?")',
        Kind.PATH: f'and(maxlength({MAX_PATH}),regex("/[^ ]*"))',
    }[option.kind]


def _renamed(rows: list[Row]) -> str:
    """Return a line for each former name of an option: ``old new``."""
    return "".join(f"{old} {row.option.name}\n" for row in rows for old in row.was)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
