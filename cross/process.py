"""Programs that the build runs: quietly, with the end of their output in the error when they fail."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from cross.errors import CrossError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHOWN = 40  # lines of a failed program's output
# What a cross compiler's SDK puts into the environment is for the target, not for programs that this machine runs.
NATIVE: dict[str, str | None] = dict.fromkeys(
    ("AR", "AS", "CC", "CFLAGS", "CPP", "CPPFLAGS", "CXX", "CXXFLAGS", "LD", "LDFLAGS", "NM", "RANLIB", "STRIP")
)


def jobs() -> int:
    """Return how many programs run side by side (``$JOBS``, else one a core)."""
    return int(os.environ.get("JOBS") or os.cpu_count() or 1)


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    log: Path | None = None,
) -> str:
    """Run a command and return what it wrote (stdout and stderr together).

    ``env`` is added to this process's environment; what it gives as None is left out.

    Raises:
        CrossError: it ended with another status than 0; the message ends with the last lines of its output.
    """
    words = [str(word) for word in command]
    merged = {**os.environ, **(env or {})}
    environment = {name: value for name, value in merged.items() if value is not None}
    done = subprocess.run(
        words,
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    output = done.stdout.decode(errors="replace")
    if log:
        log.write_text(output)
    if done.returncode:
        told = "\n".join(output.splitlines()[-SHOWN:])
        msg = f"{' '.join(words)[:400]}\nended with {done.returncode} in {cwd or Path.cwd()}:\n{told}"
        raise CrossError(msg)
    return output


def run_all(
    commands: Sequence[Sequence[str | Path]], *, cwd: Path, env: Mapping[str, str | None] | None = None
) -> None:
    """Run commands side by side, as many at a time as there are cores."""
    with ThreadPoolExecutor(jobs()) as pool:
        for future in [pool.submit(run, command, cwd=cwd, env=env) for command in commands]:
            future.result()
