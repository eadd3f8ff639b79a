"""What Nuitka compiles: the entry module, and modules that measurement has shown to be worth their size.

Nuitka writes C on this machine (once for each size of a C long), its composer the constants (in the target's byte
order); then both are compiled like any other part. It runs in its own release, adapted by ``cross/nuitka/wrapper.py``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cross import cache, fetch
from cross.process import run
from cross.program import reach
from cross.recipe import cpython, host

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cross.toolchain import Toolchain

ENTRY = cache.CROSS / "runtime" / "qpq_entry.py"
WRAPPER = cache.CROSS / "nuitka" / "wrapper.py"
# Compiled code was larger than compressed bytecode by 7 to 13 times and not faster (docs/cross.md has the table).
HOT: tuple[str, ...] = ()
OPTIONS = (
    "--mode=module",
    "--generate-c-only",
    "--deployment",
    "--assume-yes-for-downloads",
    "--nofollow-imports",
    "--no-progressbar",
    "--quiet",
    "--python-flag=-S",
    "--python-flag=no_docstrings",
    "--python-flag=no_asserts",
)
NO_ANNOTATIONS = "--python-flag=no_annotations"  # the entry's; a module with dataclasses needs its own
DEFINES = (
    "-D_NUITKA_MODULE_MODE=1",
    "-D_NUITKA_DEPLOYMENT_MODE",
    "-D_NUITKA_STATIC_LIBPYTHON",
    "-DPy_NO_ENABLE_SHARED",
    "-D__NUITKA_NO_ASSERT__",
    "-D_NUITKA_CONSTANTS_FROM_INCBIN",
)
DIALECT = ("-std=gnu11", "-fwrapv", "-fno-strict-aliasing", "-w")
# What Nuitka's own back end would write into build_definitions.h.
DEFINITIONS = {
    "NO_PYTHON_WARNINGS": 0,
    "NUITKA_HAS_FROZEN_MODULES_BOOL": 0,
    "NUITKA_MAIN_IS_PACKAGE_BOOL": 0,
    "SYSFLAG_BYTES_WARNING": 0,
    "SYSFLAG_DONTWRITEBYTECODE": 1,
    "SYSFLAG_ISOLATED": 1,
    "SYSFLAG_NO_RANDOMIZATION": 0,
    "SYSFLAG_NO_SITE": 1,
    "SYSFLAG_OPTIMIZE": 2,
    "SYSFLAG_SAFE_PATH": 1,
    "SYSFLAG_UNBUFFERED": 0,
    "SYSFLAG_UTF8": 1,
    "SYSFLAG_VERBOSE": 0,
    "_NUITKA_NO_ASSERTS": 1,
    "_NUITKA_NO_DOCSTRINGS": 1,
}
CONSTANTS = """\
    .section .rodata.nuitka_constants, "a"
    .globl nuitka_constants
nuitka_constants:
    .incbin "__constant.bin"
    .section .note.GNU-stack, "", %progbits
"""
# Nuitka would import inspect at start and compile replacements for two of its functions, so that they know compiled
# generators and coroutines. There are none: only plain functions are compiled. The call goes to a function of ours.
UNPATCHED = ("-DpatchInspectModule=leave_inspect_alone",)
ACCESS = """\
void leave_inspect_alone(void *thread_state);
void leave_inspect_alone(void *thread_state)
{
    (void)thread_state;
}

extern const unsigned char nuitka_constants[];
const unsigned char *getconstant_binData(void)
{
    return nuitka_constants;
}
"""


@dataclass(frozen=True, slots=True)
class Order:
    """How a target lays out what Nuitka writes: bytes of a C long, byte order."""

    long_size: int
    name: str


def build(tools: Toolchain, python: Path, builtins: Iterable[str], hot: tuple[str, ...] = HOT) -> Path:
    """Return the directory of libcompiled.a; ``builtins`` are the C modules of the target, ``hot`` what is compiled."""
    order = Order(tools.target.bits // 8, "big" if tools.target.big_endian else "little")
    generated = _generate(order, ",".join(sorted(builtins)), hot)
    inputs = [generated.name, tools.key, python.name, cache.code_of("recipe/compiled.py")]

    def make(folder: Path) -> None:
        nuitka = fetch.unpacked("nuitka") / "nuitka" / "build"
        (folder / "access.c").write_text(ACCESS)
        settings = {**DEFINITIONS, "_NUITKA_NO_ANNOTATIONS": int(not hot)}
        definitions = [f"#define {name} {value}\n" for name, value in settings.items()]
        (folder / "build_definitions.h").write_text(
            "".join(definitions) + '#define NUITKA_MAIN_MODULE_NAME "qpq_entry"\n'
        )
        includes = [
            f"-I{folder}",
            f"-I{generated / 'c'}",
            f"-I{nuitka / 'include'}",
            f"-I{nuitka / 'static_src'}",
            f"-I{nuitka / 'inline_copy/zlib'}",
        ]
        flags = [*DIALECT, *DEFINES, *includes, *cpython.flags(python)]
        objects = tools.compile(sorted((generated / "c").glob("*.c")), [*flags, *UNPATCHED], folder / "o" / "c")
        runtime = nuitka / "static_src" / "CompiledFunctionType.c"
        objects += tools.compile([runtime, folder / "access.c"], flags, folder / "o" / "runtime")
        (folder / "constants.S").write_text(CONSTANTS)
        objects += tools.compile([folder / "constants.S"], [f"-I{generated / 'c' / 'blobs'}"], folder / "o" / "s")
        tools.archive(objects, folder / "libcompiled.a")

    return cache.step(f"compiled-{tools.target.name}", inputs, make)


def _generate(order: Order, builtins: str, hot: tuple[str, ...]) -> Path:
    """Return the directory whose ``c`` holds Nuitka's C files and constants."""
    sources = [ENTRY.read_text(), *hot, cache.tree_of(cache.ROOT / "node") if hot else ""]
    inputs = [*sources, repr(order), builtins, host.python().parent.name, fetch.pins()["nuitka"].sha256]
    inputs.append(cache.code_of("recipe/compiled.py", "nuitka/wrapper.py"))

    def make(folder: Path) -> None:
        (folder / "qpq_entry.py").write_text(ENTRY.read_text())
        env = {
            "NUITKA": str(fetch.unpacked("nuitka")),
            "NUITKA_CACHE_DIR": str(folder / "cache"),
            "PYTHONHASHSEED": "0",
            # Without the stand-ins: Nuitka itself is run by the real modules.
            "PYTHONPATH": os.pathsep.join(str(path) for path in (reach.NODE, *reach.packages())) if hot else "",
        }
        python: list[str | Path] = [host.python(), "-S", "-P", "-B", "-X", "frozen_modules=off", WRAPPER]
        include = [f"--include-module={name}" for name in hot] or [NO_ANNOTATIONS]
        generate = ["generate", str(order.long_size), builtins, *OPTIONS, *include, "--output-dir=out", "qpq_entry.py"]
        run([*python, *generate], cwd=folder, env=env, log=folder / "nuitka.txt")
        (folder / "out" / "qpq_entry.build").rename(folder / "c")
        run([*python, "compose", order.name, "c"], cwd=folder, env=env, log=folder / "composer.txt")

    return cache.step(f"nuitka-{order.long_size}-{order.name}", inputs, make)
