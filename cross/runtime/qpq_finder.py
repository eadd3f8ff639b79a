"""The importer of the static binary: modules come from the ELF itself, there is no file system behind them."""

import _frozen_importlib
import binascii
import sys

import _qpq_store  # type: ignore[import-not-found]  # C, in runtime/store.c

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


class Finder:
    """Finder and loader in one (PEP 451), over the table that is linked into the program."""

    @classmethod
    def find_spec(
        cls, name: str, _path: object = None, _target: object = None, /
    ) -> _frozen_importlib.ModuleSpec | None:
        """Return the spec of a module that the program carries, else None."""
        package = _qpq_store.is_package(name)
        if package is None:
            return None
        # A class does as a loader.
        return _frozen_importlib.ModuleSpec(name, cls, origin="qpq", is_package=package)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: object) -> None:
        """Leave the making of the module to the import system."""

    @staticmethod
    def exec_module(module: "ModuleType") -> None:
        """Run the module's code."""
        exec(_qpq_store.code(module.__name__), module.__dict__)  # noqa: S102 (what a loader is for)
        if module.__name__ == "dataclasses":
            vars(module)["exec"] = run_made

    @staticmethod
    def let_go() -> None:
        """Free what is kept unpacked for the next import; that one takes longer then."""
        _qpq_store.let_go()


def run_made(text: str, space: dict[str, object], names: dict[str, object]) -> None:
    """Run what dataclasses has written to make a class's methods; the program carries it compiled."""
    data = text.encode()
    name = f"={binascii.crc32(data):x}.{len(data):x}"
    known = _qpq_store.is_package(name) is not None
    exec(_qpq_store.code(name) if known else text, space, names)  # noqa: S102 (the same)


sys.meta_path.append(Finder)
