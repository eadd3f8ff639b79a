"""A build once more, by a copy of this tree in another directory, from an empty cache: every byte must be the same."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cross.cache import ROOT, cache_dir
from cross.errors import CrossError
from cross.process import run

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPARED = ("qpq", "qpq.cdx.json", "NOTICE")


def check(names: list[str]) -> Iterator[str]:
    """Build targets that lie in dist/ again, and yield a line for each that came out the same.

    Raises:
        CrossError: a file differs, or was never built; the message names it.
    """
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="again-", dir=ROOT / "build") as folder:
        tree, cache = Path(folder) / "elsewhere" / "tree", Path(folder) / "cache"
        _copy(tree)
        shutil.copytree(cache_dir() / "downloads", cache / "downloads")
        run([sys.executable, "-m", "cross", "build", *names], cwd=tree, env={"QPQ_CACHE": str(cache)})
        for name in names:
            yield f"{name} is the same again: {compare(ROOT / 'dist' / name, tree / 'dist' / name)}"


def compare(first: Path, second: Path) -> str:
    """Return the program's SHA-256.

    Raises:
        CrossError: what two builds made is not the same.
    """
    for file in COMPARED:
        if not (first / file).exists():
            msg = f"{first / file} is not there: `make cross TARGET={first.name}` builds it"
            raise CrossError(msg)
        if (first / file).read_bytes() != (second / file).read_bytes():
            msg = f"{first.name}: {file} of a second build, in another directory, is not the same"
            raise CrossError(msg)
    return hashlib.sha256((first / COMPARED[0]).read_bytes()).hexdigest()


def _copy(tree: Path) -> None:
    """Copy this checkout with its history, as the commit is told in the program, and with what is not committed."""
    run(["git", "clone", "--quiet", "--no-checkout", ROOT, tree])
    for name in run(["git", "ls-files", "-co", "-z", "--exclude-standard"], cwd=ROOT).split("\0"):
        path = ROOT / name
        if name and path.is_file() and not path.is_symlink():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, tree / name)
    run(["git", "reset", "--quiet"], cwd=tree)
