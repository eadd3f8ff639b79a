"""Which modules the program imports, found by importing it (run by the host's Python, which is the target's version).

Read from stdin: a marshalled dict with ``path`` (folders before the standard library), ``builtins`` (C modules that the
target has), ``blocked`` (modules to be treated as absent), ``faked`` (C modules that this machine lacks), ``overlaid``
(files that replace single modules), ``roots`` (module names, imported in this order). Written to stdout: a marshalled
list of (name, kind, file, is_package) in the order of import; kind is "source" or "builtin". Between them, where they
are needed, stand the texts that dataclasses has run to make the methods of a class: ("=...", "text", text, False).
"""

from __future__ import annotations

import binascii
import builtins
import marshal
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import spec_from_file_location

TYPE_CHECKING = False  # typing itself must not be in memory before the roots are imported
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any


class Recorder:
    """A first finder that notes every import that is looked for, and hides what the target does not have."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.order: list[str] = []
        self._blocked = set(config["blocked"])
        self._faked = set(config["faked"])
        self._builtins = set(config["builtins"])
        self._overlaid = config["overlaid"]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Note the name; hide a blocked module, fake a C module, and leave all others to the finders behind."""
        if name in self._blocked:
            raise ModuleNotFoundError(f"{name} is not part of the program", name=name)
        self.order.append(name)
        if name in self._faked:
            return ModuleSpec(name, FakeLoader, origin="built-in")  # type: ignore[arg-type]  # a class will do
        if name in self._overlaid:
            return spec_from_file_location(name, self._overlaid[name])
        for finder in sys.meta_path[1:]:
            spec = finder.find_spec(name, path, target)
            if spec is None:
                continue
            if is_c_module(spec) and name not in self._builtins:
                raise ModuleNotFoundError(f"{name} is not on the target", name=name)
            return spec
        return None


class FakeLoader:
    """Loader of a C module that is there on the target only: any attribute is a class that can be derived from."""

    @staticmethod
    def create_module(_spec: ModuleSpec) -> None:
        """Leave the making of the module to the import system."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Give the module an answer to every name."""
        module.__dict__["__getattr__"] = lambda name: type(name, (Exception,), {"__module__": module.__name__})


def note_texts(order: list[str]) -> dict[str, str]:
    """Let what dataclasses runs be noted in ``order``, as names; the texts come into the dict that is returned."""
    texts: dict[str, str] = {}
    run = exec

    def noting(code: Any, space: dict[str, Any] | None = None, names: dict[str, Any] | None = None) -> None:
        if isinstance(code, str) and sys._getframe(1).f_globals["__name__"] == "dataclasses":  # noqa: SLF001
            data = code.encode()
            name = f"={binascii.crc32(data):x}.{len(data):x}"
            if texts.setdefault(name, code) != code:
                raise ValueError(f"two texts have the name {name}")
            order.append(name)
        run(code, space, names)

    builtins.exec = noting  # type: ignore[assignment]
    return texts


def is_c_module(spec: ModuleSpec) -> bool:
    """Tell whether a spec is of a built-in or a shared C module."""
    return spec.origin == "built-in" or bool(spec.origin and spec.origin.endswith(".so"))


def main() -> None:
    """Import the roots and tell what came in."""
    config = marshal.load(sys.stdin.buffer)  # noqa: S302 (this build wrote it)
    sys.path[:0] = config["path"]
    known = set(sys.modules)
    recorder = Recorder(config)
    sys.meta_path.insert(0, recorder)
    texts = note_texts(recorder.order)
    for name in config["roots"]:
        __import__(name)
    rows: list[tuple[str, str, str, bool]] = []
    seen = set()
    for name in [*sorted(known), *recorder.order]:
        if name in texts and name not in seen:
            seen.add(name)
            rows.append((name, "text", texts[name], False))
            continue
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if spec is None or name in seen or name == "__main__":
            continue
        seen.add(name)
        kind = "builtin" if is_c_module(spec) else "source"
        if spec.origin == "frozen":
            continue
        rows.append((name, kind, spec.origin or "", spec.submodule_search_locations is not None))
    marshal.dump(rows, sys.stdout.buffer)


if __name__ == "__main__":
    main()
