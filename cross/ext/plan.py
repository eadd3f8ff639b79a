"""What the extension is compiled from: sources.json, with the packages' folders filled in.

The host build and the cross build both take their list of files from here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

EXT = Path(__file__).resolve().parent
STRICT = ("-Wall", "-Wextra", "-Werror")
QUIET = ("-w",)
MODULE = "_qpq_native"


@dataclass(frozen=True, slots=True)
class Unit:
    """One file to compile: ``flags`` are includes, defines and warnings; optimisation is the build's to choose.

    ``package`` is "own" or the package's name in sources.json, ``name`` unique among all units. ``hot`` files are
    worth speed. Only own units include Python.h.
    """

    package: str
    name: str
    source: Path
    flags: tuple[str, ...]
    hot: bool

    @property
    def is_own(self) -> bool:
        """Whether the file is this project's."""
        return self.package == "own"


def pins() -> tuple[str, ...]:
    """Return the names of the source packages in cross/pins.json that are needed."""
    return tuple(row["pin"] for row in _table()["packages"].values())


def units(folder_of: Callable[[str], Path]) -> list[Unit]:
    """Return all files to compile; ``folder_of(pin)`` is where a source package was unpacked."""
    table = _table()
    packages = table["packages"]
    folders = {name: str(folder_of(row["pin"]) / row["folder"]) for name, row in packages.items()} | {"ext": str(EXT)}
    made = list(_units("own", EXT, table["own"], STRICT, folders))
    for name, row in packages.items():
        made += _units(name, Path(folders[name]), row, QUIET, folders)
    return made


def own_files() -> list[Path]:
    """Return this project's files that the result depends on."""
    return sorted(path for path in EXT.rglob("*") if path.suffix in {".c", ".h", ".json", ".py"})


def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads((EXT / "sources.json").read_text())
    return table


def _units(
    package: str, folder: Path, row: dict[str, Any], warnings: Iterable[str], folders: dict[str, str]
) -> Iterable[Unit]:
    flags = [*warnings, *(flag.format_map(folders) for flag in row["flags"])]
    flags += [f"-I{include.format_map(folders)}" for include in row["includes"]]
    for file in row["files"]:
        name = f"{package}-{file.removesuffix('.c').replace('/', '-')}"
        yield Unit(package, name, folder / file, tuple(flags), file in row.get("hot", ()))
