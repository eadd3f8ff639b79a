"""A process on the stand-ins that makes the calls that a test makes here on the real packages."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import shim_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def stand_ins() -> Iterator[Callable[[list[tuple[str, list[Any]]]], list[list[Any]]]]:
    """Return a function that performs a batch on the stand-ins, here or on another machine's interpreter."""
    elsewhere = os.environ.get("QPQ_OTHER_PYTHON")
    if not elsewhere:
        shim_paths.need_extension()
    command = [elsewhere or sys.executable, str(shim_paths.ROOT / "tests" / "shims" / "worker.py")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=shim_paths.environment(shims=True)
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        sink, source = process.stdin, process.stdout
        assert pickle.load(source).startswith(str(shim_paths.SHIMS))  # noqa: S301 (our own process)

        def ask(batch: list[tuple[str, list[Any]]]) -> list[list[Any]]:
            pickle.dump(batch, sink)
            sink.flush()
            answers: list[list[Any]] = pickle.load(source)  # noqa: S301 (our own process)
            return answers

        yield ask
        sink.close()
        process.wait(10)
