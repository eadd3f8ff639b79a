"""Run Nuitka for another machine than this one (run by the host's Python).

Nuitka takes some properties of the target from the Python that it runs in. They are set here, in the running program;
no file of Nuitka is changed and none is shipped: the size of a C long, the byte order of the constants it writes, and
which modules are built in.

``wrapper.py generate LONG BUILTINS ARGUMENT...`` writes C, ``wrapper.py compose little|big FOLDER`` the constants.
``NUITKA`` names the folder of the unpacked release.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

BITS_USED = 7  # of each byte of a C long, as Nuitka reckons


class OrderedStruct:
    """The struct module, packing in a given byte order where a format names none."""

    def __init__(self, order: str) -> None:
        self._order = order

    def pack(self, form: str, *values: object) -> bytes:
        """Pack in the target's byte order."""
        return struct.pack(form if form[0] in "<>!=@" else self._order + form, *values)

    unpack = staticmethod(struct.unpack)
    calcsize = staticmethod(struct.calcsize)


def set_long_size(size: int) -> None:
    """Tell Nuitka the size of the target's C long in bytes."""
    from nuitka import PythonVersions  # type: ignore[import-not-found]  # noqa: PLC0415 (its folder is known at run time only)

    PythonVersions.sizeof_clong = size
    PythonVersions._max_signed_long = 2 ** (size * BITS_USED) - 1  # noqa: SLF001
    PythonVersions._min_signed_long = -(2 ** (size * BITS_USED))  # noqa: SLF001


def set_builtins(names: frozenset[str]) -> None:
    """Tell Nuitka which modules are built in on the target."""
    from nuitka.utils import Importing  # type: ignore[import-not-found]  # noqa: PLC0415 (its folder is known at run time only)

    Importing.isBuiltinModuleName = names.__contains__


def generate(long_size: str, builtins: str, arguments: tuple[str, ...]) -> None:
    """Let Nuitka write the C code of the modules that it compiles."""
    sys.argv = ["nuitka", *arguments]
    set_long_size(int(long_size))
    set_builtins(frozenset(builtins.split(",")))
    from nuitka.__main__ import main  # type: ignore[import-not-found]  # noqa: PLC0415 (its folder is known at run time only)

    main()


def compose(order: str, folder: str) -> None:
    """Let Nuitka's composer write the constants of that C code in the target's byte order."""
    from nuitka.tools.data_composer import DataComposer  # type: ignore[import-not-found]  # noqa: PLC0415 (its folder is known at run time only)

    DataComposer.struct = OrderedStruct({"little": "<", "big": ">"}[order])
    blobs = Path(folder, "blobs")
    blobs.mkdir(exist_ok=True)
    sys.argv = ["data_composer", folder, str(blobs / "__constant.bin"), str(blobs / "__constant.txt")]
    DataComposer.main()


if __name__ == "__main__":
    sys.path.insert(0, os.environ["NUITKA"])
    {"generate": lambda *rest: generate(rest[0], rest[1], rest[2:]), "compose": compose}[sys.argv[1]](*sys.argv[2:])
