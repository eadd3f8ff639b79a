"""The schemas: they compile, have the reference's ids, and the code and the stand-in's tables say the same."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import capnp
import pytest

from qpq.wire.rpc_services import FEDERATION_SERVICE, NODE_SERVICE, Interface

if TYPE_CHECKING:
    from types import ModuleType

SCHEMAS = Path(__file__).parents[2] / "schemas"


def compiled(name: str) -> str:
    """Return a schema with its ids and layouts, as the C++ compiler writes it."""
    tool = shutil.which("capnp")
    if tool is None:
        pytest.skip("the Cap'n Proto compiler is not here (Debian: capnproto)")
    done = subprocess.run(
        [tool, "compile", "-ocapnp", name], cwd=SCHEMAS, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "number"), [("federation", 0xB7E3F4A1C9D82056), ("node", 0xD5CA5648A9CC1C28), ("rpc", 0xB312981B2552A250)]
)
def test_the_schemas_compile_and_have_the_ids_of_the_reference(name: str, number: int) -> None:
    assert f"@{number:#x};" in compiled(f"{name}.capnp")


@pytest.mark.parametrize("service", [FEDERATION_SERVICE, NODE_SERVICE], ids=lambda service: service.name)
def test_ids_and_ordinals_here_are_those_of_the_schemas(service: Interface) -> None:
    schema = getattr(capnp.load(str(SCHEMAS / service.file)), service.name).schema
    assert schema.node.id == service.number
    assert tuple(method.name for method in schema.node.interface.methods) == service.methods
    text = compiled(service.file)
    assert f"interface {service.name} @{service.number:#x}" in text
    found = re.findall(r"^  (\w+) @(\d+) \(", text, re.MULTILINE)
    assert found == [(name, str(ordinal)) for ordinal, name in enumerate(service.methods)]


def layouts(text: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Return id, sizes, and each field's place of each struct."""
    found = {}
    for name, head, body in re.findall(
        r"^ *struct (\w+) (@0x\w+ \{  # .*)\n((?:.*\n)*?)(?= *struct|\Z)", text, re.MULTILINE
    ):
        found[name] = (head, dict(re.findall(r"(\w+ @\d+) :.*?;  # (.*)", body)))
    return found


def test_rpcs_messages_are_laid_out_as_in_the_standard() -> None:
    standard = layouts(compiled(str(Path(capnp.__file__).parent / "rpc.capnp")))
    ours = layouts(compiled("rpc.capnp"))
    assert len(ours) > 12
    for name, (head, places) in ours.items():
        assert (head, places) == (standard[name][0], {field: standard[name][1][field] for field in places}), name


@pytest.fixture
def make_tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_tables", SCHEMAS / "make_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_stand_in_are_current(
    make_tables: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make_tables.main(["--check"]) == 0
    monkeypatch.setattr(make_tables, "OUTPUT", tmp_path / "tables.py")
    assert make_tables.main(["--check"]) == 1
    assert make_tables.main([]) == 0
    assert make_tables.main(["--check"]) == 0


@pytest.mark.parametrize(
    "text",
    [
        "f @0 (x :Float32);",
        "f @0 (x :Int8);",
        'f @0 (x :Text = "y");',
        "f @0 U; struct U { union { a @0 :Void; b @1 :Void; } }",
        "f @0 U; struct U { g :group { a @0 :UInt8; } }",
    ],
)
def test_a_schema_that_the_stand_in_cannot_have_is_refused(
    make_tables: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    number = 0xB000000000000000 + sum(text.encode()) * 99991
    (tmp_path / "odd.capnp").write_text(f"@{number:#x};\ninterface Odd {{ {text} }}\n")
    monkeypatch.setattr(make_tables, "HERE", tmp_path)
    monkeypatch.setattr(make_tables, "FILES", {"odd.capnp": "Odd"})
    with pytest.raises(make_tables.SchemaError):
        make_tables.render()
