"""Stand-ins for modules of the standard library beside the real ones: alike in what they have, clear in what not."""

from __future__ import annotations

import asyncio
import functools
import inspect
import io
import ipaddress
import subprocess
import sys
import traceback
from typing import Any

import pytest
import shim_paths
from hypothesis import example, given
from hypothesis import strategies as st

pytestmark = pytest.mark.skipif(shim_paths.ON_SHIMS, reason="once is enough")
DEADLINE = 60.0

small_inspect: Any = shim_paths.stand_in("inspect")
small_ipaddress: Any = shim_paths.stand_in("ipaddress")
small_traceback: Any = shim_paths.stand_in("traceback")
small_ssl: Any = shim_paths.stand_in("ssl")
small_subprocess: Any = shim_paths.stand_in("subprocess")


# --- ipaddress

TEXTS = st.text("0123456789abcdefABCDEFg:.%/ -", max_size=45)
PROPERTIES = ("version", "packed", "is_unspecified", "is_loopback", "is_link_local", "is_multicast", "max_prefixlen")


def outcome(module: Any, call: str, value: Any) -> Any:
    try:
        made = getattr(module, call)(value)
    except ValueError as error:
        return type(error).__name__
    mapped = made.version == 6 and made.ipv4_mapped is not None
    texts = [] if mapped else [str(made), made.compressed, repr(made)]  # 3.13 shows mapped ones anew
    if "%" not in str(made) and not mapped:  # where the real one stumbles
        texts.append(made.exploded)
    shown = [getattr(made, name) for name in PROPERTIES if not (mapped and name.startswith("is_"))]
    return [*texts, int(made), getattr(made, "scope_id", None), str(getattr(made, "ipv4_mapped", None)), *shown]


def alike(value: Any) -> None:
    for call in ("IPv4Address", "IPv6Address", "ip_address"):
        assert outcome(small_ipaddress, call, value) == outcome(ipaddress, call, value), (call, value)


@given(TEXTS)
@example("1.2.3.4")
@example("01.2.3.4")
@example("1.2.3")
@example("256.1.1.1")
@example("1.2.3.4.")
@example("::")
@example(":::")
@example("1::2::3")
@example(":1:2:3:4:5:6:7")
@example("1:2:3:4:5:6:7:")
@example("1:2:3:4:5:6:7::")
@example("::1:2:3:4:5:6:7:8")
@example("1:2:3:4:5:6:7:8:9")
@example("::1.2.3.4")
@example("::1.2.3.4:5")
@example("fe80::1%eth0")
@example("fe80::1%")
@example("fe80::1%a%b")
@example("00000::1")
@example("::ffff:1.2.3.4")
@example("2001:db8:0:0:1:0:0:1")
@example("1:0:0:2:0:0:0:3")
@example("0:0:1::")
@example("\u0661.2.3.4")
def test_both_read_the_same_texts_as_addresses(text: str) -> None:
    alike(text)


@given(st.integers(-1, 1 << 32) | st.integers(0, (1 << 128) + 1) | st.binary(max_size=17))
def test_both_make_the_same_addresses_of_numbers_and_bytes(value: int | bytes) -> None:
    alike(value)


@given(st.lists(st.sampled_from([0, 0, 0, 1, 0xFFFF, 0xFE80]), min_size=8, max_size=8))
def test_both_shorten_addresses_alike(groups: list[int]) -> None:
    number = int.from_bytes(b"".join(group.to_bytes(2, "big") for group in groups), "big")
    alike(number)
    alike(str(ipaddress.IPv6Address(number)))


@given(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["", "%1", "%2"]))
def test_both_compare_and_hash_alike(left: int, right: int, scope: str) -> None:
    for module in (small_ipaddress, ipaddress):
        four, six = module.IPv4Address, module.IPv6Address
        assert (four(left) < four(right), four(left) >= four(right), four(left) == four(right)) == (
            left < right,
            left >= right,
            left == right,
        )
        assert four(left) != six(left)
        assert (six(f"::{left}{scope}") == six(f"::{right}")) == (left == right and not scope)
        assert hash(four(left)) == hash(four(left))
        with pytest.raises(TypeError):
            four(left) < six(right)  # noqa: B015 (that it raises is the test)


def test_a_mapped_address_answers_as_the_newest_python_does() -> None:
    mapped = small_ipaddress.ip_address("::ffff:127.0.0.1")
    assert str(mapped) == "::ffff:127.0.0.1"
    assert mapped.is_loopback
    assert mapped.ipv4_mapped == small_ipaddress.IPv4Address("127.0.0.1")


# --- inspect


class Things:
    """Something of every kind to ask about."""

    plain: int
    text: str

    def method(self) -> None: ...

    async def coroutine(self) -> None: ...

    def generator(self) -> Any:
        yield 1

    async def agenerator(self) -> Any:
        yield 1


def kinds() -> list[Any]:
    things = Things()
    marked = inspect.markcoroutinefunction(lambda: None) if hasattr(inspect, "markcoroutinefunction") else len
    things_of = [things.method, things.coroutine, things.generator, things.agenerator]
    partials = [functools.partial(thing) for thing in things_of]
    return [
        *things_of,
        *partials,
        Things,
        things,
        len,
        "".join,
        1,
        None,
        inspect,
        things.generator(),
        marked,
        Things.method,
    ]


def test_both_tell_kinds_of_objects_alike() -> None:
    questions = [
        "isclass", "ismodule", "isfunction", "ismethod", "isbuiltin", "isgenerator", "iscoroutine", "isasyncgen",
        "isawaitable", "isgeneratorfunction", "isasyncgenfunction",
    ]  # fmt: skip
    for thing in kinds():
        for question in questions:
            assert getattr(small_inspect, question)(thing) == getattr(inspect, question)(thing), (question, thing)
    for thing in kinds()[:-2]:
        assert small_inspect.iscoroutinefunction(thing) == inspect.iscoroutinefunction(thing)

    async def running() -> None:
        future = asyncio.get_running_loop().create_future()
        made = Things().coroutine()
        for thing in (future, made, Things().agenerator()):
            for question in ("isawaitable", "iscoroutine", "isasyncgen"):
                assert getattr(small_inspect, question)(thing) == getattr(inspect, question)(thing)
        made.close()

    asyncio.run(running())


def test_a_marked_function_is_a_coroutine_function() -> None:
    def function() -> None: ...

    assert not small_inspect.iscoroutinefunction(function)
    assert small_inspect.markcoroutinefunction(function) is function
    assert small_inspect.iscoroutinefunction(functools.partial(function))


def test_annotations_are_those_of_the_thing_itself() -> None:
    class Child(Things): ...

    for thing in (Things, Child, Things.method, inspect, kinds):
        assert small_inspect.get_annotations(thing) == inspect.get_annotations(thing)
    for module in (small_inspect, inspect):
        with pytest.raises(TypeError):
            module.get_annotations(1)
    with pytest.raises(NotImplementedError):
        small_inspect.get_annotations(Things, eval_str=True)


def test_wrappers_are_taken_off_and_circles_found() -> None:
    def inner() -> None: ...

    @functools.wraps(inner)
    def outer() -> None: ...

    assert small_inspect.unwrap(outer) is inner
    assert small_inspect.unwrap(outer, stop=lambda _: True) is outer
    inner.__wrapped__ = outer  # type: ignore[attr-defined]  # a circle
    with pytest.raises(ValueError, match="wrapper loop"):
        small_inspect.unwrap(outer)


def test_attributes_are_found_without_running_code() -> None:
    class Dynamic:
        __slots__ = ("slot",)
        value = 3

        @property
        def loud(self) -> int:
            raise AssertionError("was run")

        def __getattr__(self, name: str) -> int:
            raise AssertionError("was run")

    thing, things = Dynamic(), Things()
    things.method = 5  # type: ignore[method-assign,assignment]  # hides the class's
    for place, name in (
        (thing, "value"),
        (thing, "loud"),
        (Dynamic, "loud"),
        (thing, "slot"),
        (things, "method"),
        (Things, "mro"),
    ):
        assert small_inspect.getattr_static(place, name) == inspect.getattr_static(place, name)
    assert small_inspect.getattr_static(thing, "nothing", 7) == 7
    with pytest.raises(AttributeError):
        small_inspect.getattr_static(thing, "nothing")


def test_what_the_small_inspect_lacks_it_says() -> None:
    assert str(small_inspect.signature(kinds)) == "(...)"
    with pytest.raises(NotImplementedError, match="signatures are not built in"):
        _ = small_inspect.signature(kinds).parameters
    with pytest.raises(TypeError):
        small_inspect.signature(1)
    with pytest.raises(AttributeError, match=r"inspect\.getsource is not built"):
        _ = small_inspect.getsource


# --- traceback


def caught(chained: bool = False, explicit: bool = False) -> Exception:
    try:
        try:
            raise KeyError("first")  # noqa: TRY301 (it is what is told)
        except KeyError as first:
            if explicit:
                raise ValueError("second") from first
            if chained:
                raise ValueError("second")  # noqa: B904 (the context is what is looked at)
            raise ValueError("second") from None
    except ValueError as error:
        error.add_note("a note")
        return error


def places(lines: list[str]) -> list[str]:
    """Return the lines that both have: no source lines, no carets."""
    return [
        line
        for text in lines
        for line in text.splitlines()
        if line.startswith(("  File", "Trace", "The ", "During")) or line[:1].isalpha()
    ]


@pytest.mark.parametrize(("chained", "explicit"), [(False, False), (True, False), (False, True)])
def test_both_tell_an_exception_alike_but_for_the_source(chained: bool, explicit: bool) -> None:
    error = caught(chained, explicit)
    kind = type(error)
    for arguments in ((error,), (kind, error, error.__traceback__)):
        assert places(small_traceback.format_exception(*arguments)) == places(traceback.format_exception(*arguments))  # type: ignore[call-overload,arg-type]  # both forms
    assert small_traceback.format_exception(error, chain=False)[-2:] == ["ValueError: second\n", "a note\n"]
    assert small_traceback.format_exception_only(error) == traceback.format_exception_only(error)
    out = io.StringIO()
    small_traceback.print_exception(error, file=out)
    assert out.getvalue() == "".join(small_traceback.format_exception(error))


def test_both_tell_stacks_alike_but_for_the_source() -> None:
    tb = caught().__traceback__
    assert places(small_traceback.format_tb(tb)) == places(traceback.format_tb(tb))
    for limit in (None, 1, 3):
        mine, theirs = small_traceback.format_stack(limit=limit), traceback.format_stack(limit=limit)
        assert [line.split(", line")[0] for line in places(mine)] == [
            line.split(", line")[0] for line in places(theirs)
        ]
    rows = [("file", 1, "name", "source")]
    assert small_traceback.format_list(rows) == ['  File "file", line 1, in name\n']
    assert small_traceback.StackSummary.from_list(rows).format() == small_traceback.format_list(rows)
    with pytest.raises(NotImplementedError):
        small_traceback.StackSummary.extract([], capture_locals=True)


def test_groups_nothing_and_rude_exceptions_are_told_too() -> None:
    class Rude(Exception):  # noqa: N818 (named for what it does)
        def __str__(self) -> str:
            raise RuntimeError

    group = ExceptionGroup("both", [ValueError("one"), Rude()])
    text = "".join(small_traceback.format_exception(group))
    assert "ValueError: one" in text
    assert "<exception str() failed>" in text
    assert small_traceback.format_exc() == traceback.format_exc() == "NoneType: None\n"
    chain: BaseException = ValueError("0")
    for number in range(1, 60):
        following = ValueError(str(number))
        following.__cause__ = chain
        chain = following
    assert len(small_traceback.format_exception(chain)) < 100


# --- ssl and subprocess


def test_ssl_and_subprocess_have_names_and_refuse_work() -> None:
    assert (small_ssl.CERT_NONE, small_ssl.CERT_OPTIONAL, small_ssl.CERT_REQUIRED) == (0, 1, 2)
    assert issubclass(small_ssl.SSLWantReadError, small_ssl.SSLError)
    assert issubclass(small_ssl.SSLError, OSError)
    for call in (small_ssl.create_default_context, small_ssl.SSLContext, small_ssl.MemoryBIO):
        with pytest.raises(NotImplementedError, match="no OpenSSL"):
            call()
    assert (small_subprocess.PIPE, small_subprocess.STDOUT, small_subprocess.DEVNULL) == (-1, -2, -3)
    for call in (small_subprocess.run, small_subprocess.Popen, small_subprocess.check_output):
        with pytest.raises(NotImplementedError, match="not built in"):
            call(["true"])


# --- all together

PROGRAM = """
import asyncio, dataclasses, io, json, logging, sys, typing, zeroconf.asyncio
@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    a: int
    b: list = dataclasses.field(default_factory=list)
class Quiet(typing.Protocol): ...
@typing.runtime_checkable
class Loud(typing.Protocol):
    def shout(self) -> str: ...
class Person:
    def shout(self): return "!"
assert isinstance(Person(), Loud) and not isinstance(1, Loud)
text = io.StringIO()
logging.basicConfig(stream=text)
async def main():
    async with asyncio.TaskGroup() as group:
        done = group.create_task(asyncio.sleep(0, 5))
    async def fail(): raise ValueError("told")
    try:
        await asyncio.gather(fail())
    except ValueError:
        logging.exception("caught")
    asyncio.get_running_loop().call_exception_handler({"message": "odd", "exception": KeyError("k")})
    return done.result()
asyncio.run(main(), debug=True)
assert "ValueError: told" in text.getvalue() and "KeyError" in text.getvalue(), text.getvalue()
bad = {"ast", "dis", "opcode", "tokenize", "locale", "_ssl", "_hashlib", "email", "urllib"} & set(sys.modules)
print(json.dumps([sorted(bad), Row(1).b, dataclasses.replace(Row(1), a=2).a, Row.__doc__]))
"""


def test_asyncio_dataclasses_logging_and_zeroconf_run_on_all_of_them_together() -> None:
    shim_paths.need_extension()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=shim_paths.environment(shims=True, stdlib=True),
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    # Where zeroconf is compiled or coverage runs beside, modules of their own come along.
    assert done.stdout.strip().endswith('[], 2, "Row(...)"]')
