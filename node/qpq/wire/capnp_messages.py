"""Parameters and results of methods: values by field name to Cap'n Proto messages and back, through ``capnp``.

``capnp`` is pycapnp on a PC and a stand-in with the same names on a router. It is imported with the first message, so
that a node that speaks to no other domain and to no client does without. What is used of it, and so what a stand-in has
to have:

- ``capnp.load(path)``: a module whose attributes are the file's interfaces; ``.schema.methods[name]`` of one has
  ``param_type`` and ``result_type``;
- ``capnp.lib.capnp._StructModule(type, name)`` with ``new_message(**values)``, whose message has ``to_bytes()``, and
  ``from_bytes(data, traversal_limit_in_words=, nesting_limit=)``, a context manager whose message has ``to_dict()``:
  integers, booleans, text, bytes, lists and dicts by field name; pointers that are null are left out;
- ``capnp.KjException`` for bytes and values that do not fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from qpq.paths import schema_file
from qpq.wire.capnp_errors import ValuesError
from qpq.wire.rpc_limits import RpcLimits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qpq.wire.rpc_services import Interface, Method

Value: TypeAlias = "int | bytes | str | Sequence[Value] | Mapping[str, Value]"
"""``bool`` is an ``int`` here, as in Python."""
Values: TypeAlias = "Mapping[str, Value]"
"""Values of a struct by the schema's names; a field that is left out has its default."""

_LIMITS = RpcLimits()
_structs: dict[tuple[str, str], tuple[Any, Any]] = {}


class Fields:
    """A struct that came: values by the schema's names, the default where the sender left one out."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def uint(self, name: str) -> int:
        """Return an integer."""
        return int(self._values.get(name, 0))

    def flag(self, name: str) -> bool:
        """Return a boolean."""
        return bool(self._values.get(name, False))

    def data(self, name: str) -> bytes:
        """Return bytes."""
        return bytes(self._values.get(name, b""))

    def text(self, name: str) -> str:
        """Return text."""
        return str(self._values.get(name, ""))

    def struct(self, name: str) -> Fields:
        """Return a struct."""
        return Fields(self._values.get(name, {}))

    def uints(self, name: str) -> list[int]:
        """Return a list of integers."""
        return list(self._values.get(name, ()))

    def datas(self, name: str) -> list[bytes]:
        """Return a list of bytes."""
        return list(self._values.get(name, ()))

    def structs(self, name: str) -> list[Fields]:
        """Return a list of structs."""
        return [Fields(values) for values in self._values.get(name, ())]


def encode_params(method: Method, values: Values) -> bytes:
    """Return a message of parameters; raises ValuesError."""
    return _encode(method, 0, values)


def encode_results(method: Method, values: Values) -> bytes:
    """Return a message of results; raises ValuesError."""
    return _encode(method, 1, values)


def decode_params(method: Method, data: bytes, limits: RpcLimits = _LIMITS) -> Fields:
    """Return the parameters that a message holds; raises ValuesError."""
    return _decode(method, 0, data, limits)


def decode_results(method: Method, data: bytes, limits: RpcLimits = _LIMITS) -> Fields:
    """Return the results that a message holds; raises ValuesError."""
    return _decode(method, 1, data, limits)


def _encode(method: Method, which: int, values: Values) -> bytes:
    import capnp  # noqa: PLC0415 (a node without it has nothing to load)

    try:
        data: bytes = _struct(method, which).new_message(**values).to_bytes()
    except (capnp.KjException, UnicodeError, OverflowError, TypeError, ValueError, AttributeError) as fault:
        raise ValuesError(f"{method}: values that its schema does not have ({_first_line(fault)})") from None
    return data


def _decode(method: Method, which: int, data: bytes, limits: RpcLimits) -> Fields:
    import capnp  # noqa: PLC0415 (as above)

    struct = _struct(method, which)
    try:
        with struct.from_bytes(
            data, traversal_limit_in_words=limits.traversal, nesting_limit=limits.nesting
        ) as message:
            return Fields(message.to_dict())
    except (capnp.KjException, ValueError) as fault:
        raise ValuesError(f"{method}: bytes that do not fit its schema ({_first_line(fault)})") from None


def _struct(method: Method, which: int) -> Any:
    key = (method.interface.name, method.name)
    if key not in _structs:
        _load(method.interface)
    return _structs[key][which]


def _load(interface: Interface) -> None:
    import capnp  # noqa: PLC0415 (as above)

    make = capnp.lib.capnp._StructModule  # noqa: SLF001 (there is no public way from a method to its parameters)
    methods = getattr(capnp.load(schema_file(interface.file)), interface.name).schema.methods
    for name in interface.methods:
        method = methods[name]
        _structs[interface.name, name] = (make(method.param_type, name), make(method.result_type, name))


def _first_line(fault: Exception) -> str:
    text = str(fault).partition("\n")[0]
    return text.rpartition("failed: ")[2] or type(fault).__name__
