"""uci-defaults under BusyBox ash: it fills what is missing, moves what was renamed, and keeps what somebody set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from init_kit import ROOT, SHIPPED, Router, ash

from qpq.daemon import config, uci

HERE = Path(__file__).resolve().parent
sys.path.append(str(ROOT / "uci"))

import make_options  # noqa: E402

SCRIPT = (ROOT / "uci/50-qpq").read_text(encoding="utf-8")


class Defaults:
    """A root directory on which uci-defaults run, with our stand-in for ``uci``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "etc/config/qpq"
        self.config.parent.mkdir(parents=True)
        (root / "tmp").mkdir()
        self.script = SCRIPT.replace("/etc/", f"{root}/etc/")

    def run(self, text: str | None = None) -> str:
        """Run the script on a configuration (None: the one that is there) and return what it made of it."""
        if text is not None:
            self.config.write_text(text, encoding="utf-8")
        environment = {
            "PATH": f"{HERE}:{os.environ['PATH']}",
            "QPQ_TEST_PYTHON": sys.executable,
            "QPQ_TEST_ROOT": str(self.root),
        }
        done = subprocess.run(
            [*ash(), "-c", self.script], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return self.config.read_text(encoding="utf-8")

    def options(self) -> dict[str, list[str]]:
        """Return the options of section main."""
        (section,) = uci.parse(self.config.read_bytes()).sections
        assert section.name == "main"
        return {option.name: [item.text for item in option.items] for option in section.options.values()}


@pytest.fixture
def defaults(tmp_path: Path) -> Defaults:
    return Defaults(tmp_path)


def test_the_shipped_configuration_keeps_its_comments_since_nothing_is_missing(defaults: Defaults) -> None:
    assert defaults.run(SHIPPED) == SHIPPED


def test_what_is_missing_is_filled_in_and_a_second_run_changes_nothing(defaults: Defaults) -> None:
    first = defaults.run("config qpq 'main'\n\toption role 'hub'\n")
    assert defaults.options() == {"role": ["hub"], "enabled": ["1"], "jail": ["1"]}
    before = defaults.config.stat().st_mtime_ns
    assert defaults.run() == first
    assert defaults.config.stat().st_mtime_ns == before  # no write to flash


def test_what_somebody_set_stays(defaults: Defaults) -> None:
    defaults.run(
        "config qpq 'main'\n\toption enabled '0'\n\toption jail 'off'\n\tlist peer 'a.example:7000'\n"
        "\tlist peer 'b.example:7000'\n"
    )
    assert defaults.options() == {
        "enabled": ["0"],
        "jail": ["off"],
        "peer": ["a.example:7000", "b.example:7000"],
    }


@pytest.mark.parametrize("text", [None, "", "config qpq\n\toption role 'leaf'\n"])
def test_a_file_without_the_section_gets_it(defaults: Defaults, text: str | None) -> None:
    defaults.run(text)
    expected = {"role": ["leaf"]} if text else {}
    assert defaults.options() == expected | {"enabled": ["1"], "jail": ["1"]}


def test_a_renamed_option_moves_with_its_value_unless_the_new_one_is_set(defaults: Defaults) -> None:
    block = "# BEGIN options: former names, made from uci/schema.json by uci/make_options.py\n"
    defaults.script = defaults.script.replace(block, f"{block}loglevel log_level\nwas role\nnever domain\n")
    defaults.run("config qpq 'main'\n\toption loglevel 'debug'\n\toption was 'hub'\n\toption role 'leaf'\n")
    assert defaults.options() == {"log_level": ["debug"], "role": ["leaf"], "enabled": ["1"], "jail": ["1"]}


def test_former_names_come_from_the_option_table() -> None:
    table = json.loads((ROOT / "uci/schema.json").read_text(encoding="utf-8"))
    table["options"][-2]["was"] = ["group_of_socket", "socketgroup"]
    name = table["options"][-2]["name"]
    script = make_options.render(json.dumps(table))[Path("uci/50-qpq")]
    assert f"\ngroup_of_socket {name}\nsocketgroup {name}\n# END options\n" in script


def test_only_root_reads_the_configuration_and_only_the_node_its_data(defaults: Defaults) -> None:
    defaults.run("config qpq 'main'\n")
    assert defaults.config.stat().st_mode & 0o777 == 0o600
    assert (defaults.root / "etc/qpq").stat().st_mode & 0o777 == 0o700


def test_identities_and_store_stay(defaults: Defaults) -> None:
    data = defaults.root / "etc/qpq"
    data.mkdir()
    for name in ("identity.json", "qpq.snap"):
        (data / name).write_text(name)
    defaults.run("config qpq 'main'\n")
    defaults.run()
    assert {path.name: path.read_text() for path in data.iterdir()} == {
        "identity.json": "identity.json",
        "qpq.snap": "qpq.snap",
    }


@pytest.mark.parametrize("role", ["leaf", "relay", "hub"])
def test_every_role_starts(tmp_path: Path, role: str) -> None:
    router = Router(tmp_path)
    router.configure(SHIPPED.replace("#option role 'auto'", f"option role '{role}'"))
    ran = router.run("start")
    assert (ran.status, ran.log()) == (0, [])
    copy = (router.root / "var/etc/qpq").read_bytes()
    assert config.load([], {"HOME": "/"}, lambda _: copy).config.role == role
