"""What is asked of ``capnp`` on both sides: messages of the schemas' methods made and read."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import capnp

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"


@cache
def struct(file: str, interface: str, method: str, which: str) -> Any:
    """Return the module of a method's ``param_type`` or ``result_type``."""
    found = getattr(capnp.load(str(SCHEMAS / file)), interface).schema.methods[method]
    return capnp.lib.capnp._StructModule(getattr(found, which), method)


def made(file: str, interface: str, method: str, which: str, values: dict[str, Any]) -> bytes:
    """Return the message that holds values."""
    data: bytes = struct(file, interface, method, which).new_message(**values).to_bytes()
    return data


def read(
    file: str, interface: str, method: str, which: str, data: bytes, words: int = 1 << 23, nesting: int = 64
) -> dict[str, Any]:
    """Return the values in a message."""
    module = struct(file, interface, method, which)
    with module.from_bytes(data, traversal_limit_in_words=words, nesting_limit=nesting) as message:
        values: dict[str, Any] = message.to_dict()
    return values


OPERATIONS = {"capnp_made": made, "capnp_read": read}
