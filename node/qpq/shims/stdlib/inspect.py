"""What dataclasses, asyncio and typing ask of ``inspect``, without the tools for source code, bytecode and signatures.

Without these, ``ast``, ``dis``, ``opcode`` and ``tokenize`` stay away too.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeGuard

CO_OPTIMIZED, CO_NEWLOCALS, CO_VARARGS, CO_VARKEYWORDS = 1, 2, 4, 8
CO_NESTED, CO_GENERATOR, CO_NOFREE = 16, 32, 64
CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR = 128, 256, 512

_MARK = object()


class _Signature:
    """Stands for every signature: dataclasses puts its text into docstrings, nobody asks for more."""

    __slots__ = ()

    def __str__(self) -> str:
        return "(...)"

    def __getattr__(self, name: str) -> None:
        raise NotImplementedError(f"signatures are not built in, so there is no {name}")


def signature(obj: object, **_: object) -> _Signature:
    """Return a signature that is nothing but its text; raises TypeError for what cannot be called."""
    if not callable(obj):
        raise TypeError(f"{obj!r} is not a callable object")
    return _Signature()


def isclass(object: object) -> TypeGuard[type[Any]]:  # noqa: A002 (theirs)
    """Whether it is a class."""
    return isinstance(object, type)


def ismodule(object: object) -> TypeGuard[types.ModuleType]:  # noqa: A002
    """Whether it is a module."""
    return isinstance(object, types.ModuleType)


def isfunction(object: object) -> TypeGuard[types.FunctionType]:  # noqa: A002
    """Whether it is a function written in Python."""
    return isinstance(object, types.FunctionType)


def ismethod(object: object) -> TypeGuard[types.MethodType]:  # noqa: A002
    """Whether it is a bound method."""
    return isinstance(object, types.MethodType)


def isbuiltin(object: object) -> TypeGuard[types.BuiltinFunctionType]:  # noqa: A002
    """Whether it is a function or bound method written in C."""
    return isinstance(object, types.BuiltinFunctionType)


def isgenerator(object: object) -> TypeGuard[Generator[Any, Any, Any]]:  # noqa: A002
    """Whether it is a generator."""
    return isinstance(object, types.GeneratorType)


def iscoroutine(object: object) -> TypeGuard[types.CoroutineType[Any, Any, Any]]:  # noqa: A002
    """Whether it is a coroutine."""
    return isinstance(object, types.CoroutineType)


def isasyncgen(object: object) -> TypeGuard[types.AsyncGeneratorType[Any, Any]]:  # noqa: A002
    """Whether it is an asynchronous generator."""
    return isinstance(object, types.AsyncGeneratorType)


def isawaitable(object: object) -> TypeGuard[Awaitable[Any]]:  # noqa: A002
    """Whether ``await`` takes it."""
    if isinstance(object, types.GeneratorType):
        return bool(object.gi_code.co_flags & CO_ITERABLE_COROUTINE)
    return isinstance(object, (types.CoroutineType, Awaitable))


def isgeneratorfunction(obj: object) -> bool:
    """Whether calling it gives a generator."""
    return _has_flag(obj, CO_GENERATOR)


def iscoroutinefunction(obj: object) -> bool:
    """Whether calling it gives a coroutine."""
    return _has_flag(obj, CO_COROUTINE) or getattr(_plain(obj), "_is_coroutine_mark", None) is _MARK


def isasyncgenfunction(obj: object) -> bool:
    """Whether calling it gives an asynchronous generator."""
    return _has_flag(obj, CO_ASYNC_GENERATOR)


def markcoroutinefunction(func: Any) -> Any:
    """Let ``iscoroutinefunction`` say yes."""
    getattr(func, "__func__", func)._is_coroutine_mark = _MARK
    return func


def unwrap(func: Any, *, stop: Callable[[Any], bool] | None = None) -> Any:
    """Return what ``functools.wraps`` wrapped; raises ValueError for a circle."""
    seen = {id(func)}
    while hasattr(func, "__wrapped__") and not (stop is not None and stop(func)):
        func = func.__wrapped__
        if id(func) in seen:
            raise ValueError(f"wrapper loop when unwrapping {func!r}")
        seen.add(id(func))
    return func


def get_annotations(obj: Any, *, eval_str: bool = False, **_: object) -> dict[str, Any]:
    """Return a copy of the annotations of a class, function or module, texts left as texts."""
    if eval_str:
        raise NotImplementedError("evaluating annotations is not built in")
    if isinstance(obj, type):
        found = obj.__dict__.get("__annotations__")  # noqa: RUF063 (this is that function)
        if isinstance(found, types.GetSetDescriptorType):
            found = None
    elif isinstance(obj, types.ModuleType) or callable(obj):
        found = getattr(obj, "__annotations__", None)
    else:
        raise TypeError(f"{obj!r} is not a module, class, or callable.")
    return dict(found) if found else {}


def getattr_static(obj: object, attr: str, *default: Any) -> Any:
    """Return an attribute without running any code of the object's; raises AttributeError."""
    if len(default) > 1:
        raise TypeError("one default at most")
    places = list(type.__dict__["__mro__"].__get__(obj if isinstance(obj, type) else type(obj)))
    found = [vars(place)[attr] for place in places if attr in vars(place)]
    own = {} if isinstance(obj, type) else _own(obj)
    if attr in own and not (found and hasattr(type(found[0]), "__get__") and hasattr(type(found[0]), "__set__")):
        return own[attr]
    if found:
        return found[0]
    if isinstance(obj, type):
        for place in type.__dict__["__mro__"].__get__(type(obj)):
            if attr in vars(place):
                return vars(place)[attr]
    if default:
        return default[0]
    raise AttributeError(attr)


def __getattr__(name: str) -> None:
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError(f"inspect.{name} is not built into this program")


def _own(obj: object) -> dict[str, Any]:
    try:
        own: dict[str, Any] = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        return {}
    return own


def _plain(obj: Any) -> Any:
    while isinstance(obj, functools.partial):
        obj = obj.func
    while isinstance(obj, types.MethodType):
        obj = obj.__func__
    while isinstance(obj, functools.partial):
        obj = obj.func
    return obj


def _has_flag(obj: object, flag: int) -> bool:
    plain = _plain(obj)
    return isinstance(plain, types.FunctionType) and bool(plain.__code__.co_flags & flag)
