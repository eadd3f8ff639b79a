"""A one-shot command on a router must not pay for what only a daemon needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from console_fake import FakeServer

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE = str(Path(__file__).resolve().parents[2] / "node")
HEAVY = {
    "asyncio",
    "aioquic",
    "zeroconf",
    "nacl",
    "sqlite3",
    "cryptography",
    "ssl",
    "logging",
    "subprocess",
    "argparse",
}
REPORT = (
    "import sys, json\n"
    "from qpq.__main__ import main\n"
    "status = main()\n"
    "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    "sys.exit(status)\n"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    made = FakeServer(tmp_path / "s")
    yield made
    made.close()


def modules_after(server: FakeServer, *argv: str) -> set[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # it loads much itself
    environ = {**kept, "PYTHONPATH": NODE, "QPQ_SOCKET": server.path, "QPQ_CONFIG": "/nonexistent"}
    ran = subprocess.run(
        [sys.executable, "-c", REPORT, *argv],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        input="",
    )
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "argv",
    [
        ["mesh", "peers"],
        ["mesh", "send", "anna", "hi"],
        ["mesh", "inbox"],
        ["mesh", "identity"],
        ["status"],
        ["help"],
        ["doctor", "--data-dir", "/nonexistent"],
        [],
    ],
)
def test_a_command_loads_nothing_that_only_the_daemon_needs(server: FakeServer, argv: list[str]) -> None:
    loaded = modules_after(server, *argv)
    assert loaded & HEAVY == set()
    assert not any(name.startswith(("qpq.daemon", "qpq.mesh", "qpq.link", "qpq.crypto", "qpq.wire")) for name in loaded)


def test_a_one_shot_command_loads_neither_editor_nor_code_maker(server: FakeServer) -> None:
    ours = {
        name.removeprefix("qpq.console.") for name in modules_after(server, "mesh", "peers") if "qpq.console." in name
    }
    assert not ours & {
        "editor",
        "keys",
        "screen",
        "history",
        "complete",
        "interactive",
        "qr",
        "doctor",
        "child",
        "send",
    }
