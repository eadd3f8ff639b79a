"""The Gluon package's provider for respondd, against the real json-c, with the sanitizers.

respondd is a harness that loads the provider in the same way (``gluon/harness.c``).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from qpq.daemon import places, published

SOURCE = Path(__file__).resolve().parents[2] / "openwrt/gluon/gluon-qpq/src"
HERE = Path(__file__).parent / "gluon"
JSON_C = Path("/usr/include/json-c/json.h")
TIMEOUT = 30.0
GOOD = {"version": "0.1.0", "peers": 3, "relayed": 12, "relayed_bytes": 3456}
STRICT = ("-Wall", "-Wextra", "-Werror", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
NOTHING: dict[str, object] = {"nodeinfo": {}, "statistics": {}}


class Respondd:
    """The provider, built with the sanitizers, and the file that it reads."""

    def __init__(self, path: Path) -> None:
        self.file = path / "respondd.json"
        self._harness, self._provider = path / "harness", path / "respondd.so"
        include = ("-I", str(HERE))
        run("gcc", str(HERE / "harness.c"), *include, "-o", str(self._harness), *STRICT, "-ljson-c")
        # as the package's own Makefile calls the compiler
        flags = " ".join([*STRICT, *include])
        define = f"-DQPQ_FILE='\"{self.file}\"'"
        shutil.copytree(SOURCE, path / "src")
        run("make", "-C", str(path / "src"), f"CFLAGS={flags} {define}", "CC=gcc", MAKEFLAGS="")
        (path / "src/respondd.so").rename(self._provider)

    def answers(self, text: str | bytes | None = None) -> Any:
        """Return what respondd gets when the file holds ``text``; None: leave it as it is."""
        if text is not None:
            self.file.write_bytes(text.encode() if isinstance(text, str) else text)
        return json.loads(run(str(self._harness), str(self._provider)))


def run(*argv: str, **variables: str) -> str:
    """Run a program to its end; return its output."""
    done = subprocess.run(
        argv, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def respondd(tmp_path_factory: pytest.TempPathFactory) -> Respondd:
    if not shutil.which("gcc") or not JSON_C.exists():
        pytest.skip("json-c is not installed (Debian: gcc libjson-c-dev)")
    return Respondd(tmp_path_factory.mktemp("respondd"))


def test_respondd_tells_version_neighbours_and_what_is_carried(respondd: Respondd) -> None:
    assert respondd.answers(json.dumps(GOOD) + "\n") == {
        "nodeinfo": {"software": {"qpq": {"version": "0.1.0"}}},
        "statistics": {"qpq": {"peers": 3, "relayed": 12, "relayed_bytes": 3456}},
    }


def test_the_provider_knows_the_name_of_the_file_that_the_node_writes() -> None:
    source = (SOURCE / "respondd.c").read_text()
    assert f'"{places.RUNTIME}/{published.MAP_NAME}"' in source
    assert f"MAX_AGE {int(3 * published.MAP_SECONDS)}" in source


def test_what_else_stands_in_the_file_is_not_passed_on(respondd: Respondd) -> None:
    answers = respondd.answers(json.dumps({**GOOD, "id": "abc", "users": ["anna"], "inbox": 7}))
    assert set(answers["statistics"]["qpq"]) == {"peers", "relayed", "relayed_bytes"}
    assert set(answers["nodeinfo"]["software"]["qpq"]) == {"version"}


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "{", "[]", "3", "null", '"x"', '{"peers": 3', '{"peers": 3} more', '{"peers": 3}{}', "\0", "{\0}",
        '{"a": {"b": {"c": {"d": {}}}}}', "[" * 1024, '{"peers": 3}' + " " * 1024, b"\xff\xfe", b"x" * 100_000,
    ],
)  # fmt: skip
def test_a_file_that_is_none_of_ours_says_nothing_and_breaks_nothing(respondd: Respondd, text: str | bytes) -> None:
    assert respondd.answers(text) == NOTHING


@pytest.mark.parametrize(
    "wrong",
    [
        {"peers": -1}, {"peers": 1.5}, {"peers": "3"}, {"peers": None}, {"peers": [3]}, {"peers": 2**31},
        {"peers": 10**30}, {"version": 1}, {"version": ""}, {"version": "x" * 33}, {"version": "<b>"},
        {"version": "1\0"}, {"version": "é"}, {"version": {"a": 1}},
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_left_out(respondd: Respondd, wrong: dict[str, object]) -> None:
    answers = respondd.answers(json.dumps({**GOOD, **wrong}, ensure_ascii=False))
    told = {**answers["statistics"]["qpq"], **answers["nodeinfo"]["software"]["qpq"]}
    assert told == {key: value for key, value in GOOD.items() if key not in wrong}


def test_a_file_that_is_absent_old_or_no_file_says_nothing(respondd: Respondd, tmp_path: Path) -> None:
    file = respondd.file
    for shift in (-901.0, 1000.0):
        file.write_text(json.dumps(GOOD))
        os.utime(file, (time.time() + shift,) * 2)
        assert respondd.answers() == NOTHING
    file.unlink()
    assert respondd.answers() == NOTHING
    for make in (os.mkfifo, os.mkdir):
        make(file)
        assert respondd.answers() == NOTHING
        (os.rmdir if file.is_dir() else os.unlink)(file)
    (tmp_path / "elsewhere").write_text(json.dumps(GOOD))
    file.symlink_to(tmp_path / "elsewhere")
    assert respondd.answers() == NOTHING
    file.unlink()
