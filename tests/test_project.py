"""What must be true of the repository's files, whoever touches them next."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
MAX_BYTES = 512 * 1024
SEEDS = ("tests/fuzz/",)  # bytes by nature
NUL = b"\0"

# Written in pieces, so that this file does not name what it forbids.
REGISTRIES = ["pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "deb." + "debian.org", "proxy." + "golang"]
MACHINE_PATHS = re.compile(r"(?<![\w./-])/(?:work|root|home/[a-z]\w*|Users)/\w")


@cache
def files() -> list[Path]:
    """Return the files that are or would be committed."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git work tree")
    argv = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def text_files() -> list[tuple[str, str]]:
    found = []
    for path in files():
        data = path.read_bytes()
        if NUL not in data:
            found.append((path.relative_to(ROOT).as_posix(), data.decode("utf-8", "replace")))
    return found


def test_no_file_is_a_binary_or_too_large() -> None:
    for path in files():
        name, data = path.relative_to(ROOT).as_posix(), path.read_bytes()
        assert not data.startswith((b"\x7fELF", b"!<arch>", b"PK\x03\x04", b"\x1f\x8b", b"SQLite format 3")), name
        assert len(data) <= MAX_BYTES, f"{name} has {len(data)} bytes"
        assert NUL not in data or name.startswith(SEEDS), f"{name} is no text"


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    for name, text in text_files():
        found = MACHINE_PATHS.search(text)
        assert found is None, f"{name}: {found[0]}"


def test_no_file_names_a_package_registry() -> None:
    for name, text in text_files():
        assert not [host for host in REGISTRIES if host in text], name


def test_no_private_key_lies_in_the_tree() -> None:
    for name, text in text_files():
        assert "PRIVATE " + "KEY-----" not in text, name


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_locked_package_is_pinned_and_hashed(lock: Path) -> None:
    blocks = re.split(r"\n(?=\S)", lock.read_text().strip())
    assert len(blocks) > 10
    for block in blocks:
        assert re.match(r"[a-z0-9-]+==[0-9][0-9a-z.]*( ;| \\)", block), block.partition("\n")[0]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.partition("\n")[0]
        assert "://" not in block


def locked(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==([0-9a-z.]+)", text, re.MULTILINE))


def test_the_lock_holds_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    run, dev = locked("run.lock"), locked("dev.lock")
    for requirement in (*project["project"]["dependencies"], *project["build-system"]["requires"]):
        name, exact, version = requirement.partition("==")
        name = re.match(r"[a-z0-9-]+", name)[0]  # type: ignore[index]
        assert name in run, requirement
        assert not exact or run[name] == version, requirement
    assert run.items() <= dev.items()
    wanted = {re.match(r"[a-z0-9-]+", entry)[0] for entry in project["dependency-groups"]["dev"]}  # type: ignore[index]
    assert wanted <= set(dev)


def test_the_licence_is_apache_and_is_declared() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert project["license-files"] == ["LICENSE", "NOTICE"]


def test_the_notice_names_every_package_the_program_runs_on() -> None:
    notice = (ROOT / "NOTICE").read_text().lower().replace("_", "-")
    for name, version in locked("run.lock").items():
        assert re.search(rf"\b{re.escape(name)} +{re.escape(version)}\b", notice), f"{name} {version}"


def test_git_ignores_keys_stores_and_binaries() -> None:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git work tree")
    names = [
        "identity.json", "node/identity.json.tmp", "a.key", "a.pem", "store.db", "store.db-wal", "qpq.sock", "run.log",
        "x.so", "dist/bench.json", "build/x", ".venv/bin/python", "qpq.ipk", "qpq.apk", "qpq.elf", "capture.pcap",
    ]  # fmt: skip
    argv = ["git", "-C", str(ROOT), "check-ignore", "--no-index", *names]
    ignored = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60).stdout.split()
    assert ignored == names


def test_an_old_python_is_refused_with_a_clear_message(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && { echo Python 3.9.2; exit 0; }\nexit 1\n')
    old.chmod(0o755)
    argv = ["sh", str(ROOT / "tests/rigs/find_python.sh"), str(tmp_path / "venv"), str(old)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "not Python 3.11 or later: Python 3.9.2" in done.stderr


def test_a_python_that_fits_is_found(tmp_path: Path) -> None:
    argv = ["sh", str(ROOT / "tests/rigs/find_python.sh"), str(tmp_path / "venv"), sys.executable]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout.strip()) == (0, sys.executable)


def test_an_environment_that_broke_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    argv = ["sh", str(ROOT / "tests/rigs/find_python.sh"), str(tmp_path / "venv")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert "make distclean" in done.stderr


def test_make_help_names_every_target_people_use() -> None:
    argv = ["make", "-C", str(ROOT), "-s", "help"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30)
    named = set(re.findall(r"^  make (\S+)", done.stdout, re.MULTILINE))
    assert {"bench", "clean", "demo", "env", "fuzz", "help", "lint", "lock", "run", "test"} <= named
