"""Which modules the program imports, found by importing it (run by the host's Python, which is the target's version).

Read from stdin: a marshalled dict with ``path`` (folders before the standard library), ``builtins`` (C modules that the
target has), ``blocked`` (modules to be treated as absent), ``faked`` (C modules that this machine lacks), ``overlaid``
(files that replace single modules), ``roots`` (module names, imported in this order). Written to stdout: a marshalled
list of (name, kind, file, is_package) in the order of import; kind is "source" or "builtin".
"""

from __future__ import annotations

import marshal
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import spec_from_file_location


class Recorder:
    """A first finder that notes every import that is looked for, and hides what the target does not have."""

    def __init__(self, config: dict) -> None:
        self.order = []
        self._blocked = set(config["blocked"])
        self._faked = set(config["faked"])
        self._builtins = set(config["builtins"])
        self._overlaid = config["overlaid"]

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Note the name; hide a blocked module, fake a C module, and leave all others to the finders behind."""
        if name in self._blocked:
            raise ModuleNotFoundError(f"{name} is not part of the program", name=name)
        self.order.append(name)
        if name in self._faked:
            return ModuleSpec(name, FakeLoader, origin="built-in")
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
    def exec_module(module: object) -> None:
        """Give the module an answer to every name."""
        module.__getattr__ = lambda name: type(name, (Exception,), {"__module__": module.__name__})


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
    for name in config["roots"]:
        __import__(name)
    rows, seen = [], set()
    for name in [*sorted(known), *recorder.order]:
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
