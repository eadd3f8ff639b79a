#!/usr/bin/env python3
"""Makes the tables of the router's stand-in for pycapnp, node/qpq/shims/capnp/tables.py, from the schemas.

``python schemas/make_tables.py`` writes the file; with ``--check`` it writes nothing and fails where it is not current.
The layouts are those that the Cap'n Proto compiler in pycapnp computes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import capnp

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parent / "node" / "qpq" / "shims" / "capnp" / "tables.py"
FILES = {"federation.capnp": "FederationService", "node.capnp": "NodeService"}
"""The files and the interface in each that goes over the wire."""

NUMBERS = {"bool": 1, "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64}
HEAD = '''"""Layouts of the structs in schemas/*.capnp: made by schemas/make_tables.py, not by hand.

A struct is (words of data, pointers, fields), a field (name, kind, offset, more). For numbers the offset counts bits
and ``more`` is the default, for pointers it counts pointers and ``more`` is the struct, or a list's (kind, more).
"""

'''


class SchemaError(Exception):
    """A schema uses what the stand-in leaves out."""


class Tables:
    """The structs met so far, each under a name of its own, those that others need first."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self._names: dict[int, str] = {}

    def struct(self, schema: Any) -> str:
        """Return the name of a struct's row."""
        node = schema.node
        if node.id not in self._names:
            shape = node.struct
            if shape.discriminantCount or shape.isGroup:
                raise SchemaError(f"{node.displayName} has a union")
            fields = [self._field(field, schema.fields[field.name]) for field in shape.fields]
            name = f"_S{len(self._names)}"
            self._names[node.id] = name
            comment = node.displayName.partition(":")[2]
            listed = "".join(f"\n    {field}," for field in fields)
            body = f"({listed}\n)" if fields else "()"
            self.rows.append(f"# {comment}\n{name} = ({shape.dataWordCount}, {shape.pointerCount}, {body})\n")
        return self._names[node.id]

    def _field(self, field: Any, schema: Any) -> str:
        if field.which() != "slot":
            raise SchemaError(f"{field.name} is a group")
        slot = field.slot
        kind, more = self._kind(slot.type, lambda: schema.schema)
        width = NUMBERS.get(slot.type.which())
        if width is not None:
            more = str(int(getattr(slot.defaultValue, slot.type.which())))
        elif slot.hadExplicitDefault:
            raise SchemaError(f"{field.name} is a pointer with a default")
        return f'("{field.name}", "{kind}", {slot.offset * (width or 1)}, {more})'

    def _kind(self, kind: Any, schema: Any) -> tuple[str, str]:
        which = kind.which()
        if which in NUMBERS:
            return which.replace("uint", "u"), "0"
        if which in {"text", "data"}:
            return which, "None"
        if which == "struct":
            return which, self.struct(schema())
        if which == "list":
            inner, more = self._kind(kind.list.elementType, lambda: schema().elementType)
            return which, f'("{inner}", {more})'
        raise SchemaError(f"the stand-in for pycapnp has no {which}")


def render() -> str:
    """Return the text of tables.py; raises SchemaError."""
    tables = Tables()
    files = []
    for file, name in FILES.items():
        interface = getattr(capnp.load(str(HERE / file)), name).schema
        methods = []
        for method in interface.node.interface.methods:
            found = interface.methods[method.name]
            pair = f"({tables.struct(found.param_type)}, {tables.struct(found.result_type)})"
            methods.append(f'            "{method.name}": {pair},\n')
        files.append(f'    "{file}": {{\n        "{name}": {{\n{"".join(methods)}        }},\n    }},\n')
    return f"{HEAD}# fmt: off\n{chr(10).join(tables.rows)}\nFILES = {{\n{''.join(files)}}}\n"


def main(arguments: list[str]) -> int:
    """Write the tables, or with ``--check`` say whether they are current."""
    text = render()
    if arguments == ["--check"]:
        if OUTPUT.is_file() and OUTPUT.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write(f"{OUTPUT.name} is not current: run schemas/make_tables.py\n")
        return 1
    OUTPUT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
