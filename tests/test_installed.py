"""`pip install .` gives a program that works, wherever pip puts it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "node/qpq", "schemas")
DEADLINE = 60.0


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of what is installed, since pip builds in the tree."""
    folder = tmp_path_factory.mktemp("tree")
    for name in NEEDED:
        (folder / name).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    return folder


@pytest.mark.parametrize("way", ["--target", "--prefix"])
def test_the_installed_program_computes_right_and_reads_its_schemas(way: str, tree: Path, tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--ignore-installed", way, tmp_path, tree], check=True, timeout=DEADLINE)
    names = {"base": str(tmp_path), "platbase": str(tmp_path)}
    packages = tmp_path if way == "--target" else Path(sysconfig.get_path("purelib", "posix_prefix", vars=names))
    # Not measured with the tests: the files it runs are gone when these have ended.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment["PYTHONPATH"] = str(packages)
    command = [sys.executable, str(tmp_path / "bin/qpq"), "selftest"]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok: a call over Cap'n Proto RPC" in done.stdout
    assert list(packages.glob("qpq/__main__.py")), "it was this one that ran"
