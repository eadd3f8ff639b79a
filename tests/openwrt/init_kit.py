"""Runs the init script under BusyBox ash in a directory of its own, with everything procd would be told noted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
INIT = ROOT / "procd/qpq.init"
SHIPPED = (ROOT / "uci/qpq.config").read_text(encoding="utf-8")
SECONDS = 30


def ash() -> list[str]:
    """Return the command for the routers' shell, or skip the test."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs busybox (Debian: busybox-static)")
    return [busybox, "ash"]


@dataclass
class Ran:
    """What came of one call of the init script: its exit status, what it printed, what procd was told."""

    status: int
    output: str
    calls: list[list[str]]

    def args(self, name: str) -> list[list[str]]:
        """Return the arguments of every call of a function."""
        return [call[1:] for call in self.calls if call[0] == name]

    def params(self) -> dict[str, list[str]]:
        """Return the instance's parameters by name."""
        return {first: rest for first, *rest in self.args("procd_set_param")}

    def log(self) -> list[str]:
        """Return the lines for syslog."""
        return [call[-1] for call in self.args("logger")]


class Router:
    """A root directory with a configuration, and the init script on it."""

    def __init__(self, root: Path) -> None:
        """Make the directory as the package leaves it."""
        self.root = root
        self.user = True
        self.uid = 4711
        self.program = root / "qpq"
        self.program.write_text(f'#!/bin/sh\nexec {sys.executable} -m qpq "$@"\n')
        self.program.chmod(0o755)
        (root / "etc/config").mkdir(parents=True)
        (root / "var/run").mkdir(parents=True)
        (root / "tmp").mkdir()
        self.configure(SHIPPED)

    def configure(self, text: str) -> None:
        """Write /etc/config/qpq."""
        (self.root / "etc/config/qpq").write_text(text, encoding="utf-8")

    def options(self, *lines: str) -> None:
        """Write /etc/config/qpq with these lines in section main."""
        self.configure("config qpq 'main'\n" + "".join(f"\t{line}\n" for line in lines))

    def umdns(self, status: int) -> None:
        """Install umdns, enabled (0) or not (1)."""
        script = self.root / "etc/init.d/umdns"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\n[ "$1" = enabled ] && exit {status}\nexit 2\n')
        script.chmod(0o755)

    def run(self, action: str) -> Ran:
        """Call the init script as rc.common does."""
        calls = self.root / "calls"
        calls.unlink(missing_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "node"),
            "QPQ_TEST_ROOT": str(self.root),
            "QPQ_TEST_CALLS": str(calls),
            "QPQ_TEST_PROG": str(self.program),
            "QPQ_TEST_UBOX": f"{sys.executable} {HERE / 'ubox.py'}",
            "QPQ_TEST_UCI": f"{sys.executable} {HERE / 'uci_command.py'}",
            "QPQ_TEST_NO_USER": "" if self.user else "1",
            "QPQ_TEST_UID": str(self.uid),
        }
        command = [*ash(), str(HERE / "rc.sh"), str(INIT), action]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=self.root
        )
        text = calls.read_text(encoding="utf-8") if calls.exists() else ""
        cleaned = text.replace(str(self.root) + "/", "/")
        return Ran(done.returncode, done.stdout + done.stderr, [line.split("\t") for line in cleaned.splitlines()])
