"""Control documents (JSON) as typed values, and the few ways the console reads and prints them."""

from __future__ import annotations

import json
from typing import TypeAlias, cast

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
Document: TypeAlias = "dict[str, Json]"


def parse(line: bytes) -> Document:
    """Read one line of the control protocol; raises ValueError for what is no JSON object in UTF-8."""
    value = json.loads(line.decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 (one class for everything that is no document)
    return cast("Document", value)


def dump(value: Json, *, indent: int | None = None) -> str:
    """Return ``value`` as ASCII JSON, so that no byte of it can steer a terminal (DEL is escaped too)."""
    separators = (",", ": ") if indent else (",", ":")
    return json.dumps(value, ensure_ascii=True, indent=indent, separators=separators).replace("\x7f", "\\u007f")


def as_document(value: Json) -> Document:
    """Return ``value`` when it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def rows(value: Json, key: str = "") -> list[Document]:
    """Return the objects of a list; an object holding the list under ``key`` will do as well."""
    if isinstance(value, dict) and key:
        value = value.get(key)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def text(row: Document, key: str, default: str = "") -> str:
    """Return the field as text; numbers are written out, everything else counts as missing."""
    value = row.get(key)
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return default


def number(row: Document, key: str) -> float | None:
    """Return the field when it is a finite number."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < 1e18 else None  # noqa: PLR2004 (beyond any time, size or count; refuses infinity)


def flag(row: Document, key: str) -> bool:
    """Whether the field is true."""
    return row.get(key) is True


def texts(row: Document, key: str, inner: str = "") -> list[str]:
    """Return a list field as texts; of objects in it the field ``inner``."""
    value = row.get(key)
    if not isinstance(value, list):
        return []
    found = (text(item, inner) if isinstance(item, dict) else item for item in value)
    return [item for item in found if isinstance(item, str) and item]
