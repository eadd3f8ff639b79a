"""A plain interpreter of the target, static too, for tests: the project's tests run on it under qemu-user.

It has the program's C modules and finds everything else in the file system (``PYTHONHOME``, ``PYTHONPATH``). It is
never shipped.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from cross import cache, fetch
from cross.process import run
from cross.recipe import cpython, native, sqlite, zlib
from cross.toolchain import STACK, linker

if TYPE_CHECKING:
    from pathlib import Path

    from cross.toolchain import Toolchain

# What test tools import and the program does not.
EXTRA = {
    "unicodedata": "Modules/unicodedata.c",
    "cmath": "Modules/cmathmodule.c",
    "_statistics": "Modules/_statisticsmodule.c",
}
OWN = {"_qpq_native": "PyInit__qpq_native", "aioquic._buffer": "PyInit__buffer"}


def build(tools: Toolchain) -> Path:
    """Return the interpreter's ELF."""
    python = cpython.build(tools)
    parts = native.build(tools, python)
    inputs = [tools.key, python.name, parts.name, cache.code_of("recipe/interpreter.py")]

    def make(folder: Path) -> None:
        source = fetch.unpacked("cpython")
        flags = [*cpython.flags(python), f"-I{source / 'Modules'}", "-DPy_BUILD_CORE_BUILTIN", "-w"]
        (folder / "modules.c").write_text(_table(python))
        files = [folder / "modules.c", source / "Programs" / "python.c", *(source / file for file in EXTRA.values())]
        objects = tools.compile(files, flags, folder / "o")
        libraries = [
            *sorted(parts.glob("lib*.a")),
            python / "build" / "libpython3.13.a",
            python / "build" / cpython.HASHES,
            sqlite.build(tools) / "libsqlite3.a",
            zlib.build(tools) / "libz.a",
        ]
        _link(tools, objects, libraries, folder / "python")
        (folder / "no_sysconfigdata.py").write_text("build_time_vars = {}\n")  # asked for by test tools

    return cache.step(f"interpreter-{tools.target.name}", inputs, make) / "python"


def _table(python: Path) -> str:
    """Return CPython's own table of built-in modules with the others added."""
    text = (python / "build" / "Modules" / "config.c").read_text()
    more = {**OWN, **{name: f"PyInit_{name}" for name in EXTRA}}
    externs = "".join(f"extern PyObject *{function}(void);\n" for function in more.values())
    rows = "".join(f'    {{"{name}", {function}}},\n' for name, function in more.items())
    text = re.sub(r"^struct _inittab", lambda found: externs + found[0], text, count=1, flags=re.MULTILINE)
    return text.replace(
        "struct _inittab _PyImport_Inittab[] = {\n", "struct _inittab _PyImport_Inittab[] = {\n" + rows, 1
    )


def _link(tools: Toolchain, objects: list[Path], libraries: list[Path], elf: Path) -> None:
    group: list[str | Path]
    if tools.runtime is None:
        group = ["-Wl,--start-group", *libraries, "-Wl,--end-group", "-lm"]
        run([*shlex.split(tools.cc), tools.static, *tools.flags, *objects, *group, "-o", elf], env=tools.env)
        return
    target = tools.target
    command = [*linker(target), "-m", target.emulation, "-static", "--gc-sections", "-z", f"stack-size={STACK}"]
    command += ["-e", "__start", "--no-warn-mismatch"] if target.gcc else ["-e", "_start"]
    if target.pie:
        command += ["-pie", "--no-dynamic-linker"]
    group = ["--start-group", *libraries, *tools.runtime.libraries, "--end-group"]
    run([*command, "-o", elf, tools.runtime.start, *objects, *group], env=tools.env)
