"""Flags over variables over the file over defaults; a fault names its place and what is allowed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from qpq.daemon import config
from qpq.daemon.config import ConfigError, Loaded
from qpq.daemon.options import Config

if TYPE_CHECKING:
    from pathlib import Path

HOME = {"HOME": "/home/anna"}


def _load(argv: list[str] | None = None, environ: dict[str, str] | None = None, file: str | None = None) -> Loaded:
    content = None if file is None else f"config qpq 'main'\n{file}".encode()
    return config.load(argv or [], HOME | (environ or {}), lambda _: content)


def _faults(**more: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        _load(**more)  # type: ignore[arg-type]
    return str(caught.value).splitlines()


def test_without_anything_the_defaults_hold() -> None:
    loaded = _load()
    assert loaded.config.listen == "[::]:7000"
    assert loaded.config.data_dir == "/home/anna/.local/share/qpq"
    assert loaded.config.socket == "/home/anna/.local/share/qpq/qpq.sock"
    assert set(loaded.origins.values()) == {config.DEFAULT}
    assert loaded.warnings == ()


def test_a_flag_wins_over_a_variable_and_that_over_the_file() -> None:
    file = "option role leaf\noption log_level error\noption max_links 5\n"
    loaded = _load(["--role", "hub"], {"QPQ_ROLE": "relay", "QPQ_LOG_LEVEL": "debug"}, file)
    assert (loaded.config.role, loaded.config.log_level, loaded.config.max_links) == ("hub", "debug", 5)
    assert loaded.origins["role"] == "--role"
    assert loaded.origins["log_level"] == "QPQ_LOG_LEVEL"
    assert loaded.origins["max_links"] == "/etc/config/qpq:4: option max_links"


def test_a_list_replaces_the_list_below_it() -> None:
    file = "list peer 'a:1'\nlist peer 'b:2'\n"
    assert _load(file=file).config.peer == ("a:1", "b:2")
    assert _load(environ={"QPQ_PEER": "c:3,d:4"}, file=file).config.peer == ("c:3", "d:4")
    assert _load(["--peer", "e:5"], {"QPQ_PEER": "c:3"}, file).config.peer == ("e:5",)


def test_switches_can_be_turned_off_by_variables_of_both_names() -> None:
    assert not _load(environ={"QPQ_MDNS": "0"}).config.mdns
    assert not _load(environ={"QPQ_NO_MDNS": "1"}).config.mdns
    assert _load(environ={"QPQ_NO_MDNS": "0"}).config.mdns
    assert "both set" in _faults(environ={"QPQ_MDNS": "1", "QPQ_NO_MDNS": "1"})[0]


def test_empty_variables_and_empty_uci_values_say_nothing() -> None:
    assert _load(environ={"QPQ_ROLE": ""}, file="option log_level ''\n").config == _load().config


def test_every_fault_is_told_with_file_line_option_and_what_is_allowed() -> None:
    faults = _faults(argv=["--max-links", "2000"], environ={"QPQ_ROLE": "boss"}, file="option listen 'x:1'\n")
    where = [fault.partition(" is not allowed for ")[0] for fault in faults]
    assert where == ["/etc/config/qpq:2: option listen: 'x:1'", "QPQ_ROLE: 'boss'", "--max-links: '2000'"]
    what = [fault.partition("; allowed: ")[2] for fault in faults]
    assert what[1:] == ["one of leaf, relay, hub, auto", "a whole number from 1 to 1000 links, or 0 (by memory)"]
    assert what[0].startswith("an IP address and a port: ")


def test_a_bad_value_is_an_error_also_where_a_better_source_overrides_it() -> None:
    assert _faults(argv=["--role", "leaf"], file="option role boss\n")


@pytest.mark.parametrize(
    ("file", "fault"),
    [
        ("option listn 'x'\n", "/etc/config/qpq:2: option 'listn' is not known; did you mean listen?"),
        ("option config '/x'\n", "/etc/config/qpq:2: option 'config' is not known"),
        ("option peer 'a:1'\n", "/etc/config/qpq:2: peer is written: list peer '...'"),
        ("list role leaf\n", "/etc/config/qpq:2: role is written: option role '...'"),
        ("config other\n", "/etc/config/qpq:2: config other '' is not known; allowed: config qpq 'main'"),
        ("config qpq 'second'\n", "/etc/config/qpq:2: config qpq 'second' is not known; allowed: config qpq 'main'"),
        ("bad\n", "/etc/config/qpq:2: 'bad' is no command; package, config, option and list are"),
        (
            "option data_dir 'relative'\n",
            "/etc/config/qpq:2: option data_dir: 'relative' is not allowed for data_dir; allowed: an absolute path",
        ),
    ],
)
def test_what_does_not_exist_in_the_file_is_told(file: str, fault: str) -> None:
    assert _faults(file=file)[0].startswith(fault)


def test_another_package_is_refused() -> None:
    with pytest.raises(ConfigError, match="package other is not qpq"):
        config.load([], HOME, lambda _: b"package other\n")
    assert config.load([], HOME, lambda _: b"package qpq\n").config == _load().config


def test_the_default_file_may_be_absent_and_a_named_one_not(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    assert _load().config.config == "/etc/config/qpq"
    for argv, environ in ((["--config", missing], {}), ([], {"QPQ_CONFIG": missing})):
        with pytest.raises(ConfigError, match="no such file"):
            config.load(argv, HOME | environ)
    with pytest.raises(ConfigError, match="--config: "):
        config.load(["--config", "/x\ny"], HOME)


def test_a_named_file_is_read_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").write_text("config qpq main\n\toption role hub\n")
    monkeypatch.chdir(tmp_path)
    loaded = config.load(["--config", "mine", "--data-dir", "data"], HOME)
    assert loaded.config.role == "hub"
    assert loaded.config.config == str(tmp_path / "mine")
    assert loaded.config.data_dir == str(tmp_path / "data")
    assert loaded.config.socket == str(tmp_path / "data/qpq.sock")


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, part in (("pipe", "not a regular file"), (".", "not a regular file")):
        with pytest.raises(ConfigError, match=part):
            config.read_file(str(tmp_path / path))
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ConfigError, match="symbolic links"):
        config.read_file(str(tmp_path / "loop"))
    assert config.read_file(str(tmp_path / "absent" / "file")) is None


def test_a_socket_path_that_no_socket_can_have_is_refused() -> None:
    assert "longer than 107 bytes" in _faults(argv=["--socket", "/" + "s" * 107])[0]
    assert "longer than 107 bytes" in _faults(argv=["--data-dir", "/" + "ü" * 55])[0]


def test_a_variable_that_looks_mistyped_is_warned_of_and_others_are_left_alone() -> None:
    loaded = _load(environ={"QPQ_LISTN": "x", "QPQ_USER": "anna", "QPQ_SHARED_DATA": "/x", "OTHER": "y"})
    assert loaded.warnings == ("the variable 'QPQ_LISTN' is not known; did you mean QPQ_LISTEN?",)


def test_a_reload_takes_what_it_can_and_names_the_rest() -> None:
    running = Config(peer=("a:1",), listen="[::]:7000")
    wanted = Config(peer=("b:2",), listen="[::]:7001", log_level="debug", role="hub")
    taken, left = config.reloaded(running, wanted)
    assert taken == Config(peer=("b:2",), listen="[::]:7000", log_level="debug")
    assert left == ("listen", "role")
    assert config.reloaded(running, running) == (running, ())
