"""The importer of the static binary: modules come from the ELF itself, there is no file system behind them."""

import _frozen_importlib
import sys

import _qpq_store


class Finder:
    """Finder and loader in one (PEP 451), over the table that is linked into the program."""

    @classmethod
    def find_spec(cls, name: str, _path: object = None, _target: object = None) -> object:
        """Return the spec of a module that the program carries, else None."""
        package = _qpq_store.is_package(name)
        if package is None:
            return None
        return _frozen_importlib.ModuleSpec(name, cls, origin="qpq", is_package=package)

    @staticmethod
    def create_module(_spec: object) -> None:
        """Leave the making of the module to the import system."""

    @staticmethod
    def exec_module(module: object) -> None:
        """Run the module's code."""
        exec(_qpq_store.code(module.__name__), module.__dict__)  # noqa: S102 (what a loader is for)


sys.meta_path.append(Finder)
