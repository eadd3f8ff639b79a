"""Cap'n Proto messages of the schemas in schemas/, as pycapnp has them; pure Python that MicroPython runs too.

What a schema says of each struct stands in ``tables``, which ``schemas/make_tables.py`` makes. Of pycapnp there is
``load`` for these files, ``lib.capnp._StructModule`` with ``new_message`` and ``from_bytes``, and messages to and from
dicts. Text is ``str``, data ``bytes``, lists ``list``; floats, enums, unions, groups and capabilities are left out.
"""

from __future__ import annotations

from typing import Any

from .builder import build
from .errors import KjException
from .reader import Reader
from .tables import FILES

__all__ = ["KjException", "lib", "load"]

TRAVERSAL_WORDS = 8 << 20
NESTING = 64


class _Named:
    """A thing with attributes."""

    def __init__(self, **names: Any) -> None:
        for name, value in names.items():
            setattr(self, name, value)


def load(file_name: str) -> Any:
    """Return the interfaces of a schema file, which is known by its name alone."""
    name = file_name.rsplit("/", 1)[-1]
    files: dict[str, Any] = FILES
    if name not in files:
        raise KjException("no tables of " + name + " were made; schemas/make_tables.py names the files")
    module = _Named()
    for interface, methods in files[name].items():
        found = {}
        for method, (params, results) in methods.items():
            found[method] = _Named(param_type=params, result_type=results)
        setattr(module, interface, _Named(schema=_Named(methods=found)))
    return module


class _StructModule:
    """A kind of struct: makes and reads messages whose root it is."""

    def __init__(self, schema: Any, name: str) -> None:
        self.schema = schema
        self.name = name

    def new_message(self, **values: Any) -> _Message:
        """Return a message that holds ``values``."""
        return _Message(build(self.schema, values), values)

    def from_bytes(
        self, buf: bytes, traversal_limit_in_words: int | None = None, nesting_limit: int | None = None
    ) -> _Message:
        """Return the message in ``buf``; what is behind it is not looked at."""
        words = TRAVERSAL_WORDS if traversal_limit_in_words is None else traversal_limit_in_words
        nesting = NESTING if nesting_limit is None else nesting_limit
        return _Message(buf, Reader(buf, words, nesting).root(self.schema))


class _Message:
    """A message and its values."""

    def __init__(self, data: bytes, values: dict[str, Any]) -> None:
        self._data = data
        self._values = values

    def to_bytes(self) -> bytes:
        """Return the message."""
        return self._data

    def to_dict(self) -> dict[str, Any]:
        """Return the values; pointers that are null are left out."""
        return self._values

    def __enter__(self) -> _Message:  # noqa: PYI034 (MicroPython has no Self)
        return self

    def __exit__(self, *_fault: object) -> None:
        pass


lib = _Named(capnp=_Named(_StructModule=_StructModule, KjException=KjException))
