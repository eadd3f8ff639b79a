"""The demo, where nobody is root: on loopback (in namespaces the README's commands play it)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).with_name("demo.py")


def test_the_demo_plays_to_its_end_on_loopback() -> None:
    argv = [sys.executable, str(DEMO), "--loopback"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MISSED" not in done.stdout
    assert done.stdout.endswith("everything happened\n")
