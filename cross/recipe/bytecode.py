"""The program's modules as compressed bytecode: the same for all targets, since marshalled code is portable."""

from __future__ import annotations

import json
import marshal
import subprocess
from typing import TYPE_CHECKING

from cross import cache, fetch
from cross.errors import CrossError
from cross.program import reach
from cross.program.pack import Code, pack
from cross.recipe import host

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FINDER = cache.CROSS / "runtime" / "qpq_finder.py"
OWN = ("recipe/bytecode.py", "program/reach.py", "program/trace.py", "program/bytecode.py", "program/pack.py")
BOOTSTRAP = {
    "_frozen_importlib": "importlib/_bootstrap.py",
    "_frozen_importlib_external": "importlib/_bootstrap_external.py",
}


def build(builtins: Iterable[str]) -> Path:
    """Return the directory of cold.c, cold.S, cold.bin and modules.json (what was reached, with sizes)."""
    names = sorted(builtins)
    inputs = [
        host.python().parent.name,
        cache.tree_of(cache.ROOT / "node"),
        *(fetch.pins()[name].sha256 for name in ("aioquic", "zeroconf")),
        cache.code_of(*OWN),
        FINDER.read_text(),
        *(path.read_text() for path in reach.OVERLAID.values()),
        *names,
    ]
    return cache.step("bytecode", inputs, lambda folder: _make(names, folder))


def reached(folder: Path) -> tuple[str, ...]:
    """Return the names of the C modules that the program imports."""
    rows = json.loads((folder / "modules.json").read_text())["builtin"]
    return tuple(rows)


def _make(builtins: list[str], folder: Path) -> None:
    library = fetch.unpacked("cpython") / "Lib"
    modules = [module for module in reach.reached(host.python(), builtins) if module.name not in BOOTSTRAP]
    cold = [module for module in modules if module.file or module.text]
    rows: list[tuple[str, str | None, str | None]] = [(reach.BUILD_MODULE, None, reach.BUILD_SOURCE)]
    rows += [(module.name, str(module.file or ""), module.text or None) for module in cold]
    rows += [(name, str(library / file), None) for name, file in BOOTSTRAP.items()]
    rows.append(("qpq_finder", str(FINDER), None))
    (folder / "code").mkdir()
    _compile(rows, folder / "code")
    packages = {module.name for module in cold if module.is_package}
    codes = [Code(name, (folder / "code" / name).read_bytes(), name in packages) for name, _, _ in rows]
    packed = pack(codes, folder)
    told = {
        "builtin": sorted(module.name for module in modules if not module.file and not module.text),
        "source": {code.name: len(code.data) for code in codes},
        "raw": packed.raw,
        "compressed": packed.compressed,
    }
    (folder / "modules.json").write_text(json.dumps(told, indent=1))


def _compile(rows: list[tuple[str, str | None, str | None]], folder: Path) -> None:
    script = cache.CROSS / "program" / "bytecode.py"
    command = [str(host.python()), "-S", "-I", "-B", str(script)]
    config = marshal.dumps({"modules": rows, "folder": str(folder)})
    env = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, input=config, capture_output=True, check=False, env=env)
    if done.returncode:
        msg = f"the program does not compile:\n{done.stderr.decode()[-4000:]}"
        raise CrossError(msg)
