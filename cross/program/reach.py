"""The modules of the program: what it imports by itself, and what it imports later on.

All modules of qpq are roots, the daemon's first, so that the modules lie in the ELF in the order in which a daemon
needs them. Imports inside functions of qpq and of the stand-ins are roots too; those inside functions of other packages
only if ``LATER`` names them. Whatever is not reached so is not in the program.
"""

from __future__ import annotations

import ast
import marshal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cross import fetch
from cross.cache import CROSS, ROOT
from cross.errors import CrossError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NODE = ROOT / "node"
SHIMS = NODE / "qpq" / "shims"
SDK = NODE / "qpq" / "sdk"
"""For programs on a PC; no node needs it."""
# In the order of a daemon's start: a group that is needed again later would be unpacked again.
FIRST = (
    "importlib",  # Nuitka's runtime asks for importlib._bootstrap
    "qpq.__main__",
    "qpq.daemon.lean",
    "qpq.daemon.main",
    "qpq.daemon.node",
    "qpq.discovery.discovery",  # this and the next two: behind "ready"
    "qpq.link.hub",
    "qpq.daemon.handlers",
    "qpq.console.program",
)
# Imported inside functions of the standard library, when the program comes there.
LATER = (
    "copy",  # this and the next five: for these qpq.daemon.lean has something lighter, until they are used
    "inspect",
    "linecache",
    "subprocess",
    "asyncio.sslproto",
    "asyncio.staggered",
    "encodings.idna",  # socket.getaddrinfo encodes every name with it
    "traceback",
)
# In the standard library's reach, and never used by the program.
BLOCKED = (
    "_pydatetime",
    "_pydecimal",
    "_pyio",
    "_pyrepl",
    "_strptime",
    "concurrent.futures.process",
    "multiprocessing",
    "pdb",
    "pydoc",
    "sysconfig",
    "unittest",
)
# Modules of the standard library that are replaced one by one (whole packages and plain modules: qpq/shims/stdlib).
OVERLAID = {"encodings.idna": CROSS / "runtime" / "idna.py"}
# C modules that are linked in and that the host's Python lacks.
OWN_C = ("_qpq_native", "_qpq_store", "aioquic._buffer")
# The generated module; its source is here since no file of the tree holds it.
BUILD_MODULE = "qpq._build"
BUILD_SOURCE = "from _qpq_store import COMMIT, TARGET, VERSION\n"


@dataclass(frozen=True, slots=True)
class Module:
    """One module of the program: ``file`` is empty for one made of C, and for a ``text`` that dataclasses runs."""

    name: str
    file: Path | None
    is_package: bool
    text: str = ""


def reached(python: Path, builtins: Iterable[str]) -> list[Module]:
    """Return the program's modules in the order of import; ``builtins`` are the C modules that the target has.

    Raises:
        CrossError: an import of the program fails; the message is the traceback.
    """
    config = {
        "path": [str(path) for path in search_path()],
        "builtins": sorted({*builtins, *OWN_C}),
        "blocked": list(BLOCKED),
        "faked": list(OWN_C),
        "overlaid": {name: str(path) for name, path in OVERLAID.items()},
        "roots": list(dict.fromkeys([*FIRST, *_qpq_modules(), *_inner_imports(), *LATER])),
    }
    command = [str(python), "-S", "-I", "-B", "-X", "frozen_modules=off", str(Path(__file__).with_name("trace.py"))]
    done = subprocess.run(command, input=marshal.dumps(config), capture_output=True, check=False)
    if done.returncode:
        msg = f"the program's imports fail under the host's Python:\n{done.stderr.decode()[-4000:]}"
        raise CrossError(msg)
    rows = marshal.loads(done.stdout)  # noqa: S302 (the same)
    return [
        Module(name, None, package, told) if kind == "text" else Module(name, _file(kind, told), package)
        for name, kind, told, package in rows
    ]


def _file(kind: str, told: str) -> Path | None:
    return Path(told) if kind == "source" else None


def search_path() -> tuple[Path, ...]:
    """Return the folders that come before the standard library."""
    return (SHIMS / "stdlib", SHIMS, NODE, *packages())


def packages() -> tuple[Path, ...]:
    """Return the folders of the packages that are in the program as they are released."""
    return (fetch.unpacked("aioquic") / "src", fetch.unpacked("zeroconf"))


def _qpq_modules() -> Iterator[str]:
    for path in _qpq_files():
        if SHIMS not in path.parents:
            yield _name(path, NODE)


def _qpq_files() -> Iterator[Path]:
    """Go through the files of qpq and of the stand-ins that a node has."""
    return (path for path in sorted((NODE / "qpq").rglob("*.py")) if SDK not in path.parents)


def _name(path: Path, base: Path) -> str:
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _inner_imports() -> Iterator[str]:
    """Yield what functions of qpq and of the stand-ins import."""
    for path in _qpq_files():
        for function in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from _imports(function)


def _imports(function: ast.AST) -> Iterator[str]:
    """Yield what a function imports, but for what it can do without: imports whose failure it handles."""
    optional = {
        inner
        for node in ast.walk(function)
        if isinstance(node, ast.Try) and any("ImportError" in ast.dump(handler) for handler in node.handlers)
        for part in node.body
        for inner in ast.walk(part)
    }
    for node in ast.walk(function):
        if node in optional:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if not alias.name.startswith("qpq."))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level and not node.module.startswith("qpq"):
            yield node.module
