"""The last step: everything into one static ELF, ``dist/<target>/qpq``, and the linker map that its sizes come from."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cross import cache
from cross.process import run
from cross.recipe import bytecode, compiled, core, cpython, native, sqlite, zlib
from cross.revision import version_and_commit
from cross.toolchain import STACK, Toolchain, beside, linker, toolchain

if TYPE_CHECKING:
    from pathlib import Path

    from cross.targets import Target

RUNTIME = cache.CROSS / "runtime"
DIST = cache.ROOT / "dist"
FILES = ("main.c", "store.c", "relro.c", "dladdr.c")
HEADERS = ("store.h", "relro.h", "lzma.h")
FAST = ("lzma.c",)  # at start every byte of the bytecode goes through it
WARNINGS = ("-std=gnu11", "-Wall", "-Wextra", "-Werror")
# C modules whose functions are not named after them.
FUNCTIONS = {
    "builtins": "NULL",
    "sys": "NULL",
    "marshal": "PyMarshal_Init",
    "_warnings": "_PyWarnings_Init",
    "aioquic._buffer": "PyInit__buffer",
}
HARDENED = (
    "-z",
    "relro",
    "-z",
    "now",
    "-z",
    "noexecstack",
    "-z",
    f"stack-size={STACK}",
    "--build-id=none",
    "--gc-sections",
)


@dataclass(frozen=True, slots=True)
class Program:
    """What a build made: the ELF and the linker's map of it."""

    elf: Path
    map: Path
    modules: Path


def build(target: Target, hot: tuple[str, ...] = compiled.HOT) -> Program:
    """Build the program for a target and return where it lies: in dist/, unless other modules than usual are compiled.

    ``hot`` names the modules that are compiled rather than kept as bytecode, for `make bench-hot`.
    """
    tools = toolchain(target)
    python = cpython.build(tools)
    replaced = core.build(tools, python)
    parts = native.build(tools, python)
    available = _builtins(python)
    cold = bytecode.build(available)
    code = compiled.build(tools, python, available, hot)
    libraries = [
        code / "libcompiled.a",
        *sorted(parts.glob("lib*.a")),
        python / "build" / "libpython3.13.a",
        python / "build" / cpython.HASHES,
        sqlite.build(tools) / "libsqlite3.a",
        zlib.build(tools) / "libz.a",
    ]
    version, commit = version_and_commit()
    inputs = [
        tools.key,
        version,
        commit,
        *(str(path.relative_to(cache.cache_dir())) for path in libraries),
        cold.name,
        replaced.name,
    ]
    inputs += [cache.code_of("link.py", *(f"runtime/{name}" for name in (*FILES, *FAST, *HEADERS)))]

    def make(folder: Path) -> None:
        told = (f'-DQPQ_VERSION="{version}"', f'-DQPQ_COMMIT="{commit}"', f'-DQPQ_TARGET="{target.name}"')
        flags = [*cpython.flags(python), f"-I{RUNTIME}", *told]
        (folder / "modules.c").write_text(_inittab(bytecode.reached(cold)))
        objects = tools.compile([RUNTIME / name for name in FILES], [*WARNINGS, *flags], folder / "o")
        objects += tools.compile([RUNTIME / name for name in FAST], [*WARNINGS, *flags], folder / "f", plain=True)
        objects += tools.compile([folder / "modules.c"], flags, folder / "m")
        objects += tools.compile([cold / "cold.c"], flags, folder / "cold")
        objects += tools.compile([cold / "cold.S"], [f"-I{cold}"], folder / "cold" / "s")
        _link(tools, [*objects, *sorted((replaced / "o").rglob("*.o"))], libraries, folder)

    folder = cache.step(f"program-{target.name}", inputs, make)
    if hot != compiled.HOT:
        return Program(folder / "qpq", folder / "qpq.map", cold / "modules.json")
    elf = DIST / target.name / "qpq"
    elf.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "qpq", elf)
    return Program(elf, folder / "qpq.map", cold / "modules.json")


def _builtins(python: Path) -> list[str]:
    """Return the names of the C modules in libpython."""
    table = (python / "build" / "Modules" / "config.c").read_text()
    return sorted(set(re.findall(r'^\s*\{"(\w+)", \w+\},', table, re.MULTILINE)))


def _inittab(names: tuple[str, ...]) -> str:
    """Return the C source of the table of built-in modules: those that are imported, and no others."""
    rows = {name: FUNCTIONS.get(name, f"PyInit_{name}") for name in sorted({*names, "_qpq_store", "qpq_entry"})}
    externs = "\n".join(f"extern PyObject *{function}(void);" for function in rows.values() if function != "NULL")
    table = "\n".join(f'    {{"{name}", {function}}},' for name, function in rows.items())
    return (
        f"#include <Python.h>\n\n{externs}\n\nstruct _inittab _PyImport_Inittab[] = {{\n{table}\n    {{0, 0}},\n}};\n"
    )


def _link(tools: Toolchain, objects: list[Path], libraries: list[Path], folder: Path) -> None:
    target, elf, told = tools.target, folder / "qpq", folder / "qpq.map"
    group: list[str | Path]
    if tools.runtime is None:
        words = ",".join((*HARDENED, f"-Map={told}"))
        group = ["-Wl,--start-group", *libraries, "-Wl,--end-group", "-lm"]
        command = [*shlex.split(tools.cc), tools.static, f"-Wl,{words}", "-o", str(elf)]
        run([*command, *tools.flags, *objects, *group], env=tools.env)
        run([*shlex.split(tools.strip or beside(tools.cc, "strip")), elf])
        return
    runtime = tools.runtime
    command = [*linker(target), "-m", target.emulation, "-static", *HARDENED, f"-Map={told}"]
    if target.gcc:
        # Without the script a position-independent program would keep a table of its functions' names.
        (folder / "no-names").write_text("{ local: *; };\n")
        command += ["-e", "__start", "--no-warn-mismatch", "--version-script", str(folder / "no-names")]
    else:
        command += ["-s", "--icf=safe", "--no-eh-frame-hdr", "-e", "_start"]
    if target.pie:
        command += ["-pie", "--no-dynamic-linker", "-z", "text", *([] if target.gcc else ["--pack-dyn-relocs=relr"])]
    group = ["--start-group", *libraries, *runtime.libraries, "--end-group"]
    run([*command, "-o", elf, runtime.start, *objects, *group], env=tools.env)
    if target.gcc:
        run([*shlex.split(tools.strip or f"{target.gcc}strip"), "-s", "-R", ".pdr", "-R", ".comment", elf])
    elif tools.strip:
        run([*shlex.split(tools.strip), elf])
