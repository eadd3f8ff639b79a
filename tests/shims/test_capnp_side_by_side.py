"""Cap'n Proto messages by pycapnp here and by the stand-in in another process: the same bytes, the same values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import capnp_operations
import operations
import pytest
import shim_paths
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from side_by_side import stand_ins

from qpq.wire import capnp_layout, capnp_segments
from qpq.wire.capnp_errors import CapnpError
from qpq.wire.rpc_services import FEDERATION_SERVICE, NODE_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(shim_paths.ON_SHIMS, reason="this compares the two")
fixture_once = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)

KINDS = [
    (service.file, service.name, method, which)
    for service in (FEDERATION_SERVICE, NODE_SERVICE)
    for method in service.methods
    for which in ("param_type", "result_type")
]
SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "text": st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    "data": st.binary(max_size=40),
    **{f"uint{bits}": st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64)},
}


@pytest.fixture(scope="module")
def other() -> Iterator[Callable[[list[tuple[str, list[Any]]]], list[list[Any]]]]:
    with stand_ins() as ask:
        yield ask


def values_of(schema: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Return values for some of a struct's fields, in any order."""
    fields = {field.name: value_of(field.slot.type, schema.fields[field.name]) for field in schema.node.struct.fields}
    some = st.permutations(list(fields)).flatmap(lambda names: st.integers(0, len(names)).map(lambda n: names[:n]))
    return some.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in names}))


def value_of(kind: Any, field: Any) -> st.SearchStrategy[Any]:
    which = kind.which()
    if which in SIMPLE:
        return SIMPLE[which]
    if which == "struct":
        return values_of(field.schema)
    assert which == "list"
    element = kind.list.elementType
    if element.which() == "struct":
        return st.lists(values_of(field.schema.elementType), max_size=4)
    return st.lists(value_of(element, None), max_size=5)


def schema_of(kind: tuple[str, str, str, str]) -> Any:
    return capnp_operations.struct(*kind).schema


CASES = st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), values_of(schema_of(kind))))


@fixture_once
@given(CASES)
def test_the_same_values_make_the_same_bytes_and_come_out_again(other: Any, case: Any) -> None:
    kind, values = case
    data = capnp_operations.made(*kind, values)
    assert other([("capnp_made", [*kind, values])]) == [["ok", data]]
    assert other([("capnp_read", [*kind, data])]) == [["ok", capnp_operations.read(*kind, data)]]
    capnp_layout.check(capnp_layout.Message(capnp_segments.split(data)))


@fixture_once
@given(CASES, st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 40))
def test_changed_bytes_are_refused_by_both_or_mean_the_same(other: Any, case: Any, changes: Any, cut: int) -> None:
    kind, values = case
    data = bytearray(capnp_operations.made(*kind, values))
    for at, value in changes:
        data[at % len(data)] = value
    if cut < len(data) // 8 and cut % 4 == 0:
        del data[cut * 8 :]
    real = operations.perform("capnp_read", [*kind, bytes(data), 4096, 16])
    ours = other([("capnp_read", [*kind, bytes(data), 4096, 16])])[0]
    if ours != real:
        assert ours[0] == "error", (ours, real)
        assert ours[1] in {"KjException", "ValueError"}
        if real[0] == "ok":  # pycapnp may be more lenient with what the wire refuses anyway
            with pytest.raises(CapnpError):
                capnp_layout.check(capnp_layout.Message(capnp_segments.split(bytes(data))))
