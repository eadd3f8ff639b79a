"""What the pages tell people to type is typed: every ``sh`` block of the READMEs runs in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from node import free_port

from qpq.console.commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README.de.md")
MORE = ("openwrt/gluon/gluon-qpq/README.md", "openwrt/keys/README.md")
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / name for name in (*READMES, *MORE))])
DEADLINE = 150  # seconds for one block; the first one downloads packages
# Targets that would run these tests again, or run for minutes: they are only read by make.
READ_ONLY = ("make test", "make lint", "make bench", "make fuzz")
SKIPPED_FOLDERS = {".venv", ".git", "build", "dist", ".hypothesis", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


def blocks(page: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a copy of the project without anything that was built."""
    folder = tmp_path_factory.mktemp("copy") / "qpq"
    shutil.copytree(ROOT, folder, ignore=lambda _, names: SKIPPED_FOLDERS & set(names), symlinks=True)
    argv = ["make", "-C", str(folder), "env"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=DEADLINE)
    if done.returncode and re.search("resolution|unreachable|timed out|ConnectionError|NewConnection", done.stderr):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    yield folder
    shutil.rmtree(folder)


def environment(home: Path) -> dict[str, str]:
    """Return what a newcomer's shell has; the port is free, since this machine may run a node already.

    Nothing leaves this machine: a test speaks to loopback only.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("QPQ_", "COV", "MAKE", "PYTHON"))}
    quiet = {"QPQ_LISTEN": f"[::]:{free_port()}", "QPQ_MESH_INTERFACE": "lo", "QPQ_NO_MDNS": "1"}
    return {**kept, **quiet, "HOME": str(home), "XDG_DATA_HOME": str(home / "data")}


@pytest.mark.parametrize(("page", "number"), [(page, n) for page in READMES for n in range(len(blocks(page)))])
def test_every_command_of_the_readme_works(page: str, number: int, copy: Path, tmp_path: Path) -> None:
    lines = blocks(page)[number].splitlines()
    script = "\n".join(line.replace("make", "make -n", 1) if line.startswith(READ_ONLY) else line for line in lines)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-m", "-c", script],
        cwd=copy, env=environment(tmp_path), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=DEADLINE,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_the_readme_leads_a_newcomer_in_two_commands() -> None:
    assert blocks("README.md")[0].split("\n")[:2] == ["make env", "make run"]


def test_every_make_target_that_the_pages_name_exists() -> None:
    named = {target for page in PAGES for target in re.findall(r"`make ([a-z-]+)", page.read_text())}
    made = "".join((ROOT / name).read_text() for name in ("Makefile", "cross/cross.mk", "openwrt/openwrt.mk"))
    targets = set(re.findall(r"^([a-z-]+):", made, re.MULTILINE))
    assert named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", ["usage.md", "usage.de.md"])
def test_the_pages_on_usage_name_every_command_and_no_other(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    for command in COMMANDS:
        assert f"/{command.name}" in text, command.name
    known = {command.name for command in COMMANDS} | {command.words[0] for command in COMMANDS}
    for words in re.findall(r"`/((?:[a-z]+ ?)+)", text):
        assert any((words.strip() + " ").startswith(name + " ") for name in known), words


@pytest.mark.parametrize("page", ["usage.md", "usage.de.md"])
def test_the_pages_on_usage_name_only_flags_that_exist(page: str) -> None:
    flags = {option.name for command in COMMANDS for option in command.options}
    known = flags | {"--json", "--user", "--socket", "--data-dir", "--restricted", "--as", "--no-mdns", "--no-beacon"}
    assert set(re.findall(r"--[a-z][a-z-]+", (ROOT / "docs" / page).read_text())) <= known
