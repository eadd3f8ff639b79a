"""Where the stand-ins are, and the extension they need, built for this Python when it is not there yet."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIMS = ROOT / "node" / "qpq" / "shims"
STDLIB = SHIMS / "stdlib"
OUTPUT = ROOT / "build" / "host-ext"
BUILD_DEADLINE = 600.0  # seconds; the first time sources are fetched
DATA = Path(os.environ.get("QPQ_SHARED_DATA") or ROOT.parent / "shared" / "data")
ON_SHIMS = os.environ.get("QPQ_SHIMS") == "1"


@cache
def extension() -> str:
    """Return why the extension cannot be built here, or nothing when it is there."""
    if "_qpq_native" in sys.builtin_module_names:  # a target's own interpreter
        return ""
    command = [sys.executable, str(ROOT / "cross" / "ext" / "build_host.py"), "--output", str(OUTPUT)]
    for row in filter(None, os.environ.get("QPQ_EXT_SOURCES", "").split(",")):
        command += ["--source", row]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_DEADLINE)
    return done.stderr.strip() or "it ended with an error" if done.returncode else ""


def use() -> None:
    """Put the stand-ins before the real packages in this process, which must not have loaded one yet."""
    if extension():
        msg = f"QPQ_SHIMS=1, but the C extension cannot be built: {extension()}"
        raise RuntimeError(msg)
    sys.path[:0] = [str(SHIMS), str(OUTPUT)]


def need_extension() -> None:
    """Skip the test where the extension cannot be built."""
    if extension():
        pytest.skip(f"the C extension cannot be built here: {extension().splitlines()[-1]}")


def python_path(*, stdlib: bool = False) -> str:
    """Return PYTHONPATH for a program on stand-ins."""
    places = [STDLIB] if stdlib else []
    return os.pathsep.join(str(place) for place in [*places, SHIMS, OUTPUT, ROOT / "node"])


def environment(*, shims: bool, stdlib: bool = False, **more: str) -> dict[str, str]:
    """Return the environment of a program on stand-ins or on the real packages."""
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "QPQ_SHIMS"}}
    if shims:
        return {**kept, "PYTHONPATH": python_path(stdlib=stdlib), "QPQ_SHIMS": "1", **more}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(ROOT / "node"), *more_packages()]), **more}


def more_packages() -> list[str]:
    """Return what the caller's PYTHONPATH adds, for packages that the environment lacks."""
    return [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]


def vectors(name: str) -> Any:
    """Return a document of the shared vectors, or skip the test."""
    path = DATA / "vectors" / name
    if not path.exists():
        pytest.skip(f"test vectors are not here: {path} (set QPQ_SHARED_DATA)")
    return json.loads(path.read_text())


def cases(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return (group, test) of a Wycheproof file, or skip the test."""
    document = vectors(name)
    found = [(group, case) for group in document["testGroups"] for case in group["tests"]]
    assert len(found) == document["numberOfTests"]
    return found


def stand_in(name: str) -> Any:
    """Import a stand-in for a module of the standard library beside the real one, under another name."""
    spec = importlib.util.spec_from_file_location(f"stand_in_{name}", STDLIB / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
