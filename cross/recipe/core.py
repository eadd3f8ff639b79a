"""Files of CPython's core that the program is linked with in a smaller form.

Each is the pinned source with textual edits (checked: an edit that finds nothing to change is an error), compiled here
and given to the linker before libpython, whose own object of that file is then left out. Nothing of it is kept in the
tree. What the edits cost is said with each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cross import cache, fetch
from cross.errors import CrossError
from cross.recipe import cpython

if TYPE_CHECKING:
    from pathlib import Path

    from cross.toolchain import Toolchain


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace ``old`` (there exactly ``count`` times) in ``file``."""

    file: str
    old: str
    new: str
    count: int = 1


# The runtime's initial state is there twice, once for a second Py_Initialize() and for subinterpreters: 75-160 KB.
# Neither happens in this program.
ONE_INTERPRETER = (
    Edit(
        "Python/pystate.c",
        'static const _PyRuntimeState initial = _PyRuntimeState_INIT(_PyRuntime, "");',
        "static const _PyThreadStateImpl initial_thread = _PyThreadStateImpl_INIT;",
    ),
    Edit(
        "Python/pystate.c",
        "memcpy(runtime, &initial, sizeof(*runtime));",
        'Py_FatalError("the interpreter cannot be started twice");',
    ),
    Edit(
        "Python/pystate.c",
        "memcpy(interp, &initial._main_interpreter, sizeof(*interp));",
        'Py_FatalError("there is one interpreter only");',
    ),
    Edit("Python/pystate.c", "&initial._main_interpreter._initial_thread", "&initial_thread"),
)
# Numeric values of characters that are not decimal digits (fractions, Roman numerals): str.isnumeric() is then false
# for them. 26-30 KB.
NO_NUMERALS = (
    Edit(
        "Objects/unicodetype_db.h",
        "double _PyUnicode_ToNumeric(Py_UCS4 ch)\n{",
        "double _PyUnicode_ToNumeric(Py_UCS4 ch)\n{\n    return _PyUnicode_ToDigit(ch);",
    ),
)
COMPILED = ("Python/pystate.c", "Objects/unicodectype.c")
# Where the program spends its time: compiled for speed, and as MIPS32 rather than MIPS16e (docs/cross.md has figures).
FAST = (
    "Objects/abstract.c",
    "Objects/call.c",
    "Objects/dictobject.c",
    "Objects/listobject.c",
    "Objects/longobject.c",
    "Objects/object.c",
    "Objects/obmalloc.c",
    "Objects/tupleobject.c",
    "Objects/typeobject.c",
    "Python/ceval.c",
    "Python/gc.c",
    "Python/getargs.c",
    "Python/specialize.c",
)
EDITS = (*ONE_INTERPRETER, *NO_NUMERALS)


def build(tools: Toolchain, python: Path) -> Path:
    """Return the directory of the edited files' objects, ``o/*.o``."""
    inputs = [python.name, tools.key, *tools.fast, cache.code_of("recipe/core.py")]

    def make(folder: Path) -> None:
        source = fetch.unpacked("cpython")
        for file in sorted({edit.file for edit in EDITS} | set(COMPILED)):
            path = folder / "source" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_edited(file, (source / file).read_text()))
        flags = ["-DPy_BUILD_CORE", "-std=c11", "-fno-strict-aliasing", "-fwrapv", "-w", *cpython.flags(python)]
        flags += [f"-I{source / name}" for name in ("Python", "Objects")]
        tools.compile([folder / "source" / file for file in COMPILED], flags, folder / "o")
        tools.compile([source / file for file in FAST], flags, folder / "o" / "fast", plain=True)

    return cache.step(f"core-{tools.target.name}", inputs, make)


def _edited(file: str, text: str) -> str:
    for edit in EDITS:
        if edit.file != file:
            continue
        found = text.count(edit.old)
        if found != edit.count:
            msg = f"{file}: expected {edit.count} of {edit.old!r}, found {found}: cross/recipe/core.py needs a look"
            raise CrossError(msg)
        text = text.replace(edit.old, edit.new)
    return text
