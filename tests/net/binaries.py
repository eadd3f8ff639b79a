"""The built binaries that network tests run, and what runs them on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

DIST = Path(__file__).resolve().parents[2] / "dist"
RUNNERS = {
    "x86_64": [],
    "mips_24kc": ["qemu-mips", "-cpu", "24Kc"],
    "mipsel_24kc": ["qemu-mipsel", "-cpu", "24Kc"],
    "arm_cortex-a7_neon-vfpv4": ["qemu-arm"],
}
TOLD = ("x86_64", "mips_24kc", "arm_cortex-a7_neon-vfpv4")
"""Targets whose binaries are told where their peers are: this machine's own, a MIPS, an ARM."""


def command(target: str) -> list[str]:
    """Return the command that runs a target's binary; the test is left out where it is not built or cannot run."""
    runner, binary = RUNNERS[target], DIST / target / "qpq"
    if not binary.exists():
        pytest.skip(f"{target} is not built: make cross TARGET={target}")
    if runner and not shutil.which(runner[0]):
        pytest.skip(f"{runner[0]} is not installed")
    return [*runner, str(binary)]
