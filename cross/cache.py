"""Results of build steps, kept outside the tree under a hash of everything they were made from.

``$QPQ_CACHE`` (default ``~/.cache/qpq``) holds downloads and ``steps/<name>-<hash>``. A step's directory counts only
once its stamp is there, so that a build that was interrupted is done anew.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).resolve().parent.parent
CROSS = ROOT / "cross"
STAMP = ".made"
KEPT_DAYS = 30  # a result that no build has asked for in this time goes, as do sources and downloads
KEPT_BYTES = 4_000_000_000  # of results; beyond it the ones that were not asked for longest go first
FRESH_SECONDS = 3600.0  # what was asked for in this time stays, whatever it weighs: a build may be using it


def cache_dir() -> Path:
    """Return the cache's directory, made if need be."""
    path = Path(os.environ.get("QPQ_CACHE") or Path.home() / ".cache" / "qpq").resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


def code_of(*names: str) -> str:
    """Return a hash of this build's own files (paths below cross/): what a step does is one of its inputs.

    Of Python files the syntax tree counts, so that a comment or a line's layout makes nothing anew.
    """
    return digest(*(_meaning(CROSS / name) for name in names))


def _meaning(path: Path) -> str:
    text = path.read_text()
    return ast.dump(ast.parse(text)) if path.suffix == ".py" else text


def tree_of(folder: Path, suffixes: Iterable[str] = (".py",)) -> str:
    """Return a hash of the names and contents of a folder's files with these suffixes."""
    wanted = tuple(suffixes)
    files = sorted(path for path in folder.rglob("*") if path.suffix in wanted and path.is_file())
    return digest(*(part for path in files for part in (str(path.relative_to(folder)), path.read_bytes())))


def digest(*parts: str | bytes) -> str:
    """Return a hash over length-prefixed parts."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "big") + data)
    return state.hexdigest()[:20]


def step(name: str, inputs: Iterable[str | bytes], make: Callable[[Path], None]) -> Path:
    """Return the directory that ``make(directory)`` fills; it runs only when no result of the same inputs is kept."""
    folder = cache_dir() / "steps" / f"{name}-{digest(*inputs)}"
    if (folder / STAMP).exists():
        (folder / STAMP).touch()
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds at a time: the second waits and takes the first one's result
        if not (folder / STAMP).exists():
            _make(name, folder, make)
    return folder


def used(path: Path) -> Path:
    """Return a source or a download, marked as used now."""
    os.utime(path)
    return path


def prune(now: float) -> list[str]:
    """Remove what has not been used for long, and the oldest beyond the size; return the names of what went.

    ``now`` is in seconds since 1970. Files that another program of ours keeps in the cache are not touched.
    """
    base = cache_dir()
    steps = {path: _last_use(path) for path in (base / "steps").glob("*-*") if path.is_dir()}
    others = {path: path.stat().st_mtime for kind in ("src", "downloads") for path in (base / kind).glob("*")}
    gone = [path for path, at in {**steps, **others}.items() if now - at > KEPT_DAYS * 86_400]
    weight = 0
    for path, at in sorted(steps.items(), key=lambda row: -row[1]):
        if path in gone:
            continue
        weight += sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
        if weight > KEPT_BYTES and now - at > FRESH_SECONDS:
            gone.append(path)
    return sorted(path.name for path in gone if _removed(path))


def _removed(path: Path) -> bool:
    """Remove a file or a folder; False for a step that another build is just making."""
    if not path.is_dir():
        path.unlink()
        return True
    name = path.with_suffix(".lock") if path.parent.name == "steps" else Path(os.devnull)
    with name.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(path, ignore_errors=True)
        if path.parent.name == "steps":
            name.unlink()
    return True


def _last_use(folder: Path) -> float:
    """Return when a step's result was last asked for; of one that was never finished, when it was begun."""
    stamp = folder / STAMP
    return (stamp if stamp.exists() else folder).stat().st_mtime


def _make(name: str, folder: Path, make: Callable[[Path], None]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"cross: {name} ...", flush=True)
    begin = time.monotonic()
    make(folder)
    (folder / STAMP).touch()
    print(f"cross: {name} took {time.monotonic() - begin:.0f} s", flush=True)
