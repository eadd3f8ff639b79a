"""Runs the qpq command inside the test's process, with files for standard input, output and error."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpq.console.program import run

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


class Command:
    """``command("mesh", "peers")``; ``socket`` is where the daemon is, in the environment."""

    def __init__(self, directory: Path, socket: str) -> None:
        self.directory = directory
        self.environ = {"QPQ_SOCKET": socket, "HOME": str(directory), "QPQ_CONFIG": str(directory / "none")}

    def __call__(self, *argv: str, stdin: bytes = b"", environ: dict[str, str] | None = None) -> Ran:
        paths = [self.directory / name for name in ("stdin", "stdout", "stderr")]
        paths[0].write_bytes(stdin)
        flags = (os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        opened = [os.open(path, flag, 0o600) for path, flag in zip(paths, flags, strict=True)]
        try:
            status = run(list(argv), self.environ if environ is None else environ, (opened[0], opened[1], opened[2]))
        finally:
            for descriptor in opened:
                os.close(descriptor)
        return Ran(status, paths[1].read_text(), paths[2].read_text())
