"""Memory stays off disks: no core dumps, no looking in, no swapping where there is swap and no limit against it."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

from qpq.daemon import guard
from qpq.daemon.guard import Guard, has_swap

if TYPE_CHECKING:
    from pathlib import Path

NODE = os.path.join(os.path.dirname(__file__), "..", "..", "node")
HEAD = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


@pytest.mark.parametrize(
    ("rows", "swap"),
    [
        ("", False),
        ("/dev/zram0 partition 1 0 100\n", False),
        ("/dev/sda2 partition 1 0 -2\n", True),
        ("/dev/zram0 partition 1 0 100\n/swapfile file 1 0 -2\n", True),
    ],
)
def test_swap_is_what_reaches_a_medium(tmp_path: Path, rows: str, swap: bool) -> None:
    path = tmp_path / "swaps"
    path.write_text(HEAD + rows)
    assert has_swap(str(path)) is swap
    assert not has_swap(str(tmp_path / "none"))


def run(code: str) -> list[str]:
    """Run ``code`` behind the import of the guard in a process of its own and return the words it prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"from qpq.daemon.guard import *\nimport sys\n{code}"],
        capture_output=True, text=True, timeout=30, check=True, env={**os.environ, "PYTHONPATH": NODE},
    )  # fmt: skip
    return done.stdout.split()


def test_a_node_writes_no_core_dumps_and_loads_nothing_for_it() -> None:
    code = "import resource\ndone = raise_guard(sealed=False)\n"
    code += "print(done.no_dumps, resource.getrlimit(resource.RLIMIT_CORE), done.private, 'ctypes' in sys.modules)"
    assert run(code) == ["True", "(0,", "0)", "False", "False"]
    assert run("raise_guard(sealed=False)\nprint(open('/proc/self/coredump_filter').read())") == ["00000000"]


def test_a_node_with_a_vault_lets_nobody_look_in() -> None:
    code = "done = raise_guard(sealed=True)\nprint(done.private, done.locked is done.swap)"
    assert run(code)[0] == "True"


@pytest.mark.skipif(os.geteuid() != 0, reason="locking memory needs root, or no limit against it")
def test_memory_is_locked_where_there_is_swap_and_costs_next_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "swaps").write_text(HEAD + "/dev/sda2 partition 1 0 -2\n")
    code = (
        "def rss(): return int([l.split()[1] for l in open('/proc/self/status') if l.startswith('VmRSS')][0])\n"
        f"import ctypes\nbefore = rss()\ndone = raise_guard(sealed=True, swaps={str(tmp_path / 'swaps')!r})\n"
        "print(done.locked, rss() - before)"
    )
    locked, more = run(code)
    assert locked == "True"
    assert int(more) < 1024, "KiB: pages are locked as they are used"


def test_without_leave_nothing_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def by_c(*, want_lock: bool) -> tuple[bool, bool]:
        asked.append(want_lock)
        return True, want_lock

    (tmp_path / "swaps").write_text(HEAD + "/dev/sda2 partition 1 0 -2\n")
    monkeypatch.setattr(guard, "_by_c", by_c)
    monkeypatch.setattr(guard, "COREDUMP_FILTER", str(tmp_path / "no" / "filter"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for limit, may in (("8388608", False), ("unlimited", True)):
        limits = tmp_path / "limits"
        limits.write_text(f"Limit Soft Limit Hard Limit Units\nMax locked memory {limit} {limit} bytes\n")
        real = builtins.open

        def redirected(path: Any, *more: Any, limits: Any = limits, real: Any = real, **named: Any) -> Any:
            return real(limits if path == "/proc/self/limits" else path, *more, **named)

        with monkeypatch.context() as patch:
            patch.setattr(builtins, "open", redirected)
            found = guard.raise_guard(sealed=True, swaps=str(tmp_path / "swaps"))
        assert asked.pop() is may
        assert found.locked is may
        assert found.document() == {"core_dumps": False, "private": True, "swap": True, "locked": may}

    def nothing(*_: Any, **__: Any) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(builtins, "open", nothing)
    assert not guard._may_lock()


def test_the_routers_own_function_is_asked_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("_qpq_native")
    module.guard = lambda lock: 7 if lock else 3
    monkeypatch.setitem(sys.modules, "_qpq_native", module)
    (tmp_path / "swaps").write_text(HEAD + "/dev/sda2 partition 1 0 -2\n")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert guard.raise_guard(sealed=False, swaps=str(tmp_path / "swaps")) == Guard(True, True, True, False)
    assert guard.raise_guard(sealed=True, swaps=str(tmp_path / "swaps")) == Guard(True, True, True, True)
    assert guard.raise_guard(sealed=True, swaps=str(tmp_path / "none")) == Guard(True, True, False, False)


def test_what_the_kernel_refuses_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource  # noqa: PLC0415 (absent on routers)

    def refused(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(resource, "setrlimit", refused)
    assert not guard.raise_guard(sealed=False).no_dumps
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert guard._by_c(want_lock=True) == (False, False)
