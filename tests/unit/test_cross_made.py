"""Methods of dataclasses that the static binary carries compiled: noted by the build, found again by the program."""

from __future__ import annotations

import builtins
import dataclasses
import marshal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cross.cache import CROSS
from cross.program import bytecode, reach, trace

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Load the program's importer over a store that is a dict, ``codes``."""
    codes: dict[str, Any] = {}
    store: Any = ModuleType("_qpq_store")
    store.code = codes.__getitem__
    store.is_package = lambda name: False if name in codes else None
    monkeypatch.setitem(sys.modules, "_qpq_store", store)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    space: dict[str, Any] = {"__name__": "qpq_finder", "codes": codes}
    exec(compile((CROSS / "runtime" / "qpq_finder.py").read_text(), "qpq_finder", "exec"), space)  # noqa: S102 (ours)
    yield space
    vars(dataclasses).pop("exec", None)


def noted(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], dict[str, str]]:
    """Make a class while texts are noted."""
    order: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "exec", builtins.exec)  # so that it is put back
        texts = trace.note_texts(order)
        make_class()
    return order, texts


def make_class() -> type[Any]:
    @dataclass(frozen=True, slots=True, order=True)
    class Point:
        x: int
        y: int = 2

    return Point


def test_what_dataclasses_runs_is_noted_under_names_of_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    order, texts = noted(monkeypatch)
    assert order
    assert set(order) == set(texts)
    assert all(name.startswith("=") and "__create_fn__" in text for name, text in texts.items())


def test_a_class_made_of_compiled_methods_is_the_class(finder: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    _, texts = noted(monkeypatch)
    codes = finder["codes"]
    codes.update({name: marshal.loads(bytecode.build(name, None, text)) for name, text in texts.items()})  # noqa: S302
    codes["dataclasses"] = compile("", "dataclasses", "exec")
    finder["Finder"].exec_module(dataclasses)
    monkeypatch.setattr(builtins, "compile", None)
    point = make_class()
    assert (point(1), point(1, 3) > point(1), repr(point(5))) == (point(1, 2), True, f"{point.__qualname__}(x=5, y=2)")
    assert hash(point(1)) == hash(point(1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        point(1).x = 2


def test_the_compiled_form_is_run_when_there_is_one_and_else_the_text(
    finder: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, texts = noted(monkeypatch)
    (name, text), *_ = texts.items()
    names: dict[str, Any] = {}
    finder["run_made"](text, {}, names)
    assert set(names) == {"__create_fn__"}
    finder["codes"][name] = compile("found = True", name, "exec")
    finder["run_made"](text, {}, names)
    assert names["found"]


def test_what_a_daemon_loads_late_is_in_the_program_all_the_same() -> None:
    from qpq.daemon import lean  # noqa: PLC0415 (it changes what asyncio imports, if it comes first)

    unused = {"textwrap"}  # no module of the target asks for it
    assert set(getattr(lean, "_RARE", {})) - unused <= set(reach.LATER)
