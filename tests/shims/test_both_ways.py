"""The second run of this directory's tests: in a process of its own, on the stand-ins."""

from __future__ import annotations

import subprocess
import sys

import pytest
import shim_paths

DEADLINE = 170.0
TWICE = (
    "tests/shims/test_vectors.py",
    "tests/shims/test_contract.py",
    "tests/shims/test_native.py",
    "tests/shims/test_capnp.py",
)


@pytest.mark.skipif(shim_paths.ON_SHIMS, reason="this is the second run")
def test_the_same_suite_passes_on_the_stand_ins() -> None:
    shim_paths.need_extension()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TWICE]
    done = subprocess.run(
        command,
        cwd=shim_paths.ROOT,
        env=shim_paths.environment(shims=True),
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
