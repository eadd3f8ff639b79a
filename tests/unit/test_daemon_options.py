"""The option table, what is made from it, the kinds of values, and the flags."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qpq.daemon import config, flags, uci
from qpq.daemon.kinds import BadValueError, Kind, Option, allowed, parse_items, parse_value, split_items
from qpq.daemon.nearest import hint, nearest
from qpq.daemon.options import OPTIONS, SECTION_NAME, SECTION_TYPE, Config

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = (ROOT / "uci/schema.json").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def make_options() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_options", ROOT / "uci/make_options.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_options"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def _option(kind: Kind, **more: Any) -> Option:
    return Option(name="it", kind=kind, default="", help="", **more)


# --- what is generated ---------------------------------------------------------------------


def test_every_file_made_from_the_table_is_current(make_options: ModuleType) -> None:
    for path, content in make_options.render(SCHEMA).items():
        assert (ROOT / path).read_text(encoding="utf-8") == content, f"{path}: run uci/make_options.py"
    assert make_options.main(["--check"]) == 0


def test_the_generator_writes_what_is_not_current(
    make_options: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("uci", "docs", "node/qpq/daemon", "procd"):
        (tmp_path / folder).mkdir(parents=True)
    for script in ("procd/qpq.init", "uci/50-qpq"):
        (tmp_path / script).write_text("#!/bin/sh\n# BEGIN options: made\nstale\n# END options\necho kept\n")
    (tmp_path / "uci/schema.json").write_text(SCHEMA, encoding="utf-8")
    monkeypatch.setattr(make_options, "ROOT", tmp_path)
    assert make_options.main(["--check"]) == 1
    assert "not current: docs/options.de.md" in capsys.readouterr().out
    assert not (tmp_path / "docs/options.md").exists()
    assert make_options.main([]) == 0
    assert make_options.main(["--check"]) == 0
    script = (tmp_path / "procd/qpq.init").read_text()
    assert "stale" not in script
    assert script.endswith("}\n# END options\necho kept\n")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Bad-Name"},
        {"unknown": 1},
        {"kind": "int"},
        {"lowest": 1},
        {"choices": "leaf"},
        {"default": "no address", "kind": "address"},
        {"kind": "enum", "choices": ["a"], "default": "b"},
        {"was": "old_name"},
    ],
)
def test_a_faulty_table_makes_nothing(make_options: ModuleType, change: dict[str, object]) -> None:
    row = {"name": "it", "kind": "path", "default": "", "en": "It.", "de": "Es."} | change
    table = {"package": "qpq", "section": {"type": "qpq", "name": "main"}, "options": [row]}
    with pytest.raises((make_options.SchemaError, BadValueError)):
        make_options.render(json.dumps(table))


def test_an_option_cannot_be_in_the_table_twice(make_options: ModuleType) -> None:
    table = json.loads(SCHEMA)
    table["options"].append(table["options"][0])
    with pytest.raises(make_options.SchemaError):
        make_options.render(json.dumps(table))
    with pytest.raises(make_options.SchemaError):
        make_options.render(json.dumps(table | {"package": "other"}))


def test_the_configuration_has_one_field_an_option_with_its_default() -> None:
    defaults = Config()
    assert [field.name for field in fields(Config)] == [*(option.name for option in OPTIONS), "relays"]
    assert all(getattr(defaults, option.name) == option.default for option in OPTIONS)


def test_the_options_that_scripts_rely_on_are_there() -> None:
    by_name = {option.name: option for option in OPTIONS}
    expected = {
        "config": "--config",
        "data_dir": "--data-dir",
        "socket": "--socket",
        "listen": "--listen",
        "peer": "--peer",
    }
    assert {name: by_name[name].flag for name in expected} == expected
    assert by_name["mdns"].negative == "--no-mdns"
    assert by_name["beacon"].negative == "--no-beacon"
    assert by_name["data_dir"].env == "QPQ_DATA_DIR"


def test_the_example_file_holds_every_option_and_gives_the_defaults() -> None:
    example = (ROOT / "uci/qpq.config").read_bytes()
    loaded = config.load([], {"HOME": "/root"}, lambda _: example)
    assert loaded.config == config.load([], {"HOME": "/root"}, lambda _: None).config
    (section,) = uci.parse(re.sub(rb"\t#(?=\w)", b"\t", example)).sections
    assert (section.type, section.name) == (SECTION_TYPE, SECTION_NAME)
    assert set(section.options) == {option.name for option in OPTIONS if option.uci}


def test_the_example_file_has_one_line_of_comment_for_every_option() -> None:
    lines = (ROOT / "uci/qpq.config").read_text(encoding="utf-8").splitlines()
    for at, line in enumerate(lines):
        if line.startswith(("\t#option", "\toption", "\t#list", "\tlist")):
            assert lines[at - 1].startswith("\t# "), line
            assert not lines[at - 2].startswith("\t# "), line


def test_the_documentation_names_every_option_flag_and_variable_in_both_languages() -> None:
    for name in ("docs/options.md", "docs/options.de.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for option in OPTIONS:
            for word in (f"## {option.name}\n", option.flag, option.negative, option.env, option.env_negative):
                assert word is None or word in text, f"{name}: {word}"


# --- kinds ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        (_option(Kind.BOOL), "1", True),
        (_option(Kind.BOOL), "enabled", True),
        (_option(Kind.BOOL), "off", False),
        (_option(Kind.PORT), "65535", 65535),
        (_option(Kind.INT, lowest=2, highest=9), "2", 2),
        (_option(Kind.INT, lowest=2, highest=9, zero="none"), "0", 0),
        (_option(Kind.DURATION, lowest=1, highest=10**6), "90", 90),
        (_option(Kind.DURATION, lowest=1, highest=10**6), "15m", 900),
        (_option(Kind.DURATION, lowest=1, highest=10**6), "1w", 604800),
        (_option(Kind.SIZE, lowest=1, highest=10**9), "512K", 512 * 1024),
        (_option(Kind.SIZE, lowest=1, highest=10**9), "2MiB", 2 << 20),
        (_option(Kind.SIZE, lowest=1, highest=10**9), "2mb", 2 << 20),
        (_option(Kind.SIZE, lowest=1, highest=10**9), "77B", 77),
        (_option(Kind.ENUM, choices=("a", "b")), "b", "b"),
        (_option(Kind.PATH), "", ""),
        (_option(Kind.PATH), "/tmp/x y", "/tmp/x y"),  # noqa: S108 (no file is made)
        (_option(Kind.STRING), "", ""),
        (_option(Kind.STRING), "ff.example-net", "ff.example-net"),
        (_option(Kind.STRINGS), "word", "word"),
        (_option(Kind.INTERFACES), "br-client", "br-client"),
        (_option(Kind.INTERFACES), "eth0.2@x", "eth0.2@x"),
        (_option(Kind.ADDRESS), "[::]:7000", "[::]:7000"),
        (_option(Kind.ADDRESSES), "node.example:7000", "node.example:7000"),
        (_option(Kind.ADDRESSES), "[fe80::1%not-there-yet]:7000", "[fe80::1%not-there-yet]:7000"),
    ],
)
def test_a_value_is_read(option: Option, text: str, value: object) -> None:
    assert parse_value(option, text) == value


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (_option(Kind.BOOL), "maybe"),
        (_option(Kind.BOOL), "On"),  # to uci, and the shell functions that read it, this is neither
        (_option(Kind.BOOL), ""),
        (_option(Kind.PORT), "0"),
        (_option(Kind.PORT), "65536"),
        (_option(Kind.PORT), "+1"),
        (_option(Kind.INT, lowest=2, highest=9), "1"),
        (_option(Kind.INT, lowest=2, highest=9), "10"),
        (_option(Kind.INT, lowest=2, highest=9), "٣"),
        (_option(Kind.INT, lowest=2, highest=9), "9" * 400),
        (_option(Kind.DURATION, lowest=5, highest=60), "2m"),
        (_option(Kind.DURATION, lowest=5, highest=60), "10 s"),
        (_option(Kind.DURATION, lowest=5, highest=60), "1y"),
        (_option(Kind.SIZE, lowest=5, highest=60), "1K"),
        (_option(Kind.SIZE, lowest=5, highest=60), "10ib"),
        (_option(Kind.ENUM, choices=("a", "b")), "A"),
        (_option(Kind.PATH), "/x\ny"),
        (_option(Kind.PATH), "/" + "x" * 1024),
        (_option(Kind.STRING), "two words"),
        (_option(Kind.STRING), "-dash-first"),
        (_option(Kind.STRINGS), ""),
        (_option(Kind.INTERFACES), ""),
        (_option(Kind.INTERFACES), "a/b"),
        (_option(Kind.INTERFACES), "x" * 16),
        (_option(Kind.ADDRESS), "node.example:7000"),
        (_option(Kind.ADDRESS), "[::]:0"),
        (_option(Kind.ADDRESSES), ""),
        (_option(Kind.ADDRESSES), "host:99999"),
        (_option(Kind.ADDRESSES), "[fe80::1]:7000"),
        (_option(Kind.ADDRESSES), "[fe80::1%a/b]:7000"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(option: Option, text: str) -> None:
    with pytest.raises(BadValueError) as caught:
        parse_value(option, text)
    assert str(caught.value).endswith("allowed: " + allowed(option))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_lists_are_split_at_blanks_and_commas_without_doubles() -> None:
    option = _option(Kind.ADDRESSES)
    assert split_items(option, " a:1, b:2 a:1 ") == ("a:1", "b:2")
    with pytest.raises(BadValueError, match="at most 64"):
        parse_items(option, [f"h{n}:1" for n in range(65)])


def test_a_mistyped_name_finds_its_neighbour() -> None:
    known = ("listen", "peer", "mdns", "data_dir")
    assert nearest("listn", known) == "listen"
    assert nearest("data", known) == "data_dir"
    assert nearest("peer", ()) is None
    assert nearest("", known) is None
    assert nearest("something", known) is None
    assert nearest("x" * 1000, known) is None
    assert nearest("pier", known) == "peer"
    assert nearest("pxxr", known) is None
    assert hint("MDNs", known) == "; did you mean mdns?"
    assert hint("zzzzzz", known) == ""


# --- flags ---------------------------------------------------------------------------------


def _given(*argv: str) -> dict[str, tuple[str, ...]]:
    return {name: given.texts for name, given in flags.parse(list(argv)).given.items()}


def test_flags_are_read_in_both_forms() -> None:
    assert _given("--listen", "1.2.3.4:1", "--data-dir=/x", "--peer", "a:1", "--peer=b:2") == {
        "listen": ("1.2.3.4:1",),
        "data_dir": ("/x",),
        "peer": ("a:1", "b:2"),
    }


def test_switches_have_an_on_and_an_off_form() -> None:
    assert _given("--mdns") == {"mdns": ("1",)}
    assert _given("--no-mdns") == {"mdns": ("0",)}
    assert _given("--mdns=off") == {"mdns": ("off",)}


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["--lsten", "x"], "did you mean --listen?"),
        (["extra"], "unknown flag 'extra'"),
        (["--listen"], "needs a value: --listen ADDR:PORT"),
        (["--no-mdns=1"], "takes no value"),
        (["--role", "leaf", "--role", "hub"], "given twice"),
        (["--mdns", "--no-mdns"], "given twice"),
        (["\x1b[31m"], "'\\x1b[31m'"),
    ],
)
def test_a_bad_command_line_is_told(argv: list[str], part: str) -> None:
    with pytest.raises(flags.FlagError) as caught:
        flags.parse(argv)
    assert part in str(caught.value)


def test_help_tells_every_flag_within_the_width_of_a_terminal() -> None:
    assert flags.parse(["--listen", "x", "-h"]).help
    text = flags.help_text()
    assert all(len(line) <= 104 for line in text.splitlines())
    assert all(option.flag in text for option in OPTIONS if option.flag)
