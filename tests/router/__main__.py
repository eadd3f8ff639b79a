"""``python -m router [TARGET...]``: the boot check of built packages, its figures and what they are held against."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from cross import setup
from cross.cache import ROOT
from cross.errors import CrossError
from cross.process import jobs
from cross.targets import target

from router import malta, parts
from router.boards import BOARDS, Board
from router.figures import complaints, table
from router.filled import fill
from router.machine import BootError
from router.story import Figures, Story

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from router.filled import Filled

DIST = ROOT / "dist"
NEEDED = {
    "dpkg-deb": "dpkg",
    "mke2fs": "e2fsprogs",
    "depmod": "kmod",
    "/usr/lib/ipxe/qemu/efi-virtio.rom": "ipxe-qemu",  # without its boot ROM QEMU does not plug in a network card
}
# QEMU's programs, and what they are called in Debian.
EMULATORS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-system-mips": "qemu-system-mips",
    "qemu-system-mipsel": "qemu-system-mips",
}


def main(names: list[str]) -> int:
    """Check these targets, as many at a time as there are processors; return the exit status."""
    try:
        boards = [_board(name) for name in names or BOARDS]
        packages = {board.target: _package(board) for board in boards}
        needed = dict(NEEDED)
        for board in boards:
            needed[board.program] = EMULATORS[board.program]
            needed |= {} if board.debian else malta.NEEDED
        setup.install([target(board.target) for board in boards], needed)
    except CrossError as error:
        print(f"boot-check: {error}", file=sys.stderr)
        return 1
    figures, wrong = _checked(boards, packages)
    for line in table({name: (BOARDS[name], row) for name, row in figures.items()}):
        print(line)
    (DIST / "boot-check.json").write_text(
        json.dumps({name: asdict(row) for name, row in figures.items()}, indent=2) + "\n"
    )
    wrong += [f"over budget: {text}" for name, row in figures.items() for text in complaints(BOARDS[name], row)]
    for text in wrong:
        print(f"boot-check: {text}", file=sys.stderr)
    return 1 if wrong else 0


def _board(name: str) -> Board:
    if name not in BOARDS:
        msg = f"there is no machine for {name!r}; there are: {', '.join(BOARDS)}"
        raise CrossError(msg)
    return BOARDS[name]


def _package(board: Board) -> Path:
    found = sorted((DIST / board.target).glob("qpq_*.ipk"))
    if len(found) != 1:
        msg = f"dist/{board.target} holds {len(found)} packages; run: make package TARGET={board.target}"
        raise CrossError(msg)
    return found[0]


def _checked(boards: list[Board], packages: dict[str, Path]) -> tuple[dict[str, Figures], list[str]]:
    """Check all boards side by side; return the figures of those that did what they must, and what the others did.

    Only as many pairs work at a time as there are processors; a pair that rests lets another one work. A kernel that is
    to be built is built beside the machines whose kernels are there.
    """
    turns = threading.Semaphore(jobs())
    with tempfile.TemporaryDirectory(prefix="qpq") as folder, ThreadPoolExecutor(len(boards) + 1) as pool:
        full = pool.submit(fill, Path(folder))
        running = {board: pool.submit(_check, board, packages[board.target], turns, full.result) for board in boards}
        figures, wrong = {}, []
        for board, future in running.items():
            try:
                figures[board.target] = future.result()
            except (CrossError, BootError) as error:
                wrong.append(str(error))
        return figures, wrong


def _check(board: Board, package: Path, turns: threading.Semaphore, full: Callable[[], Filled]) -> Figures:
    made = parts.parts(board)
    with turns, tempfile.TemporaryDirectory(prefix="qpq") as folder:
        begin = time.monotonic()

        def say(what: str) -> None:
            print(f"boot-check {board.target}: {what} ({time.monotonic() - begin:.0f} s)", flush=True)

        @contextlib.contextmanager
        def idle() -> Iterator[None]:
            turns.release()
            try:
                yield
            finally:
                turns.acquire()

        return Story(board, made, package, Path(folder), say, idle, full).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
