"""What all tests share: the network tests need root, and whoever leaves them out says so."""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

NET = Path(__file__).parent / "net"
sys.path[:0] = [str(NET), str(NET.parent / "rigs")]
if os.environ.get("QPQ_SHIMS") == "1":  # before anything loads a real package that a stand-in is for
    sys.path.insert(0, str(NET.parent / "shims"))
    import shim_paths

    shim_paths.use()

import netns  # noqa: E402 (the rigs are no package)

import qpq.link.imports as _  # noqa: E402, F401 (loads aioquic as a node does, before a test imports it on its own)

# The machine is shared: a slow example is no fault. In CI the same commit meets the same examples every time.
settings.register_profile("qpq", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI")))
settings.load_profile("qpq")


@cache
def why_no_namespaces() -> str:
    """Return why the network tests cannot run here, or nothing when they can."""
    if os.geteuid() != 0:
        return "they need root"
    if shutil.which("ip") is None:
        return "they need the command ip (Debian: iproute2)"
    return "" if netns.usable() else "this machine lets nobody make network namespaces"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in tests/net, and skip it where namespaces cannot be had."""
    for item in items:
        if NET in item.path.parents or item.get_closest_marker("net"):
            item.add_marker(pytest.mark.net)
            if why_no_namespaces():
                item.add_marker(pytest.mark.skip(reason=f"network tests: {why_no_namespaces()}"))


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say which tests were left out and why."""
    reasons: dict[str, int] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"left out: {count} ({reason.removeprefix('Skipped: ')})")
