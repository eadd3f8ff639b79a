"""Imports large modules without what a daemon never uses of them; to be imported before all others.

A third of the time that a daemon takes to start would go into these things, and none of them is needed:

* OpenSSL's ``ssl`` (1.5 MB) belongs to TLS over TCP, which nothing here speaks. asyncio is made for Pythons that
  lack it: it is absent while asyncio is imported.
* Modules that asyncio, logging and dataclasses import for a rare case, an exception to be shown, a function to be
  looked into: something stands for them, and the first use of it loads the real one.
* Methods of values: up to Python 3.12 dataclasses compiles six for each class, and most are never called. Here each is
  compiled when it is first called (since 3.13 all of a class are compiled at once).
* A second OpenSSL: ``hashlib`` and ``hmac`` bring the interpreter's (3.6 MB), while links bring that of
  ``cryptography``. SHA-256, SHA-512 and SHA3-256 come from the interpreter's own C (the latter two when a safety
  number is made or a session opened), the HMAC from the OpenSSL that is there.
* Most of libsodium's bindings: four of PyNaCl's modules are loaded, the other eleven with the first passphrase.

Whatever somebody has imported before stays as it is, and afterwards every name is free again.
"""

from __future__ import annotations

import gc
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _annotations(cls: type) -> dict[str, object]:
    return dict(vars(cls).get("__annotations__", {}))


def _is_coroutine_function(function: object) -> bool:
    return bool(getattr(getattr(function, "__code__", None), "co_flags", 0) & _CO_COROUTINE)


_CO_COROUTINE = 0x80
# Modules to be loaded at first use, and what of them is asked for at once: by dataclasses (a signature, for docstrings
# that nobody wrote) and by asyncio.
_RARE: dict[str, dict[str, object]] = {
    "asyncio.sslproto": {},
    "asyncio.staggered": {},
    "copy": {},
    "inspect": {
        "get_annotations": _annotations,
        "iscoroutinefunction": _is_coroutine_function,
        "signature": lambda _: "(...)",
    },
    "linecache": {},
    "subprocess": {"DEVNULL": -3, "PIPE": -1, "STDOUT": -2},
    "textwrap": {},
    "traceback": {},
}


def keep(load: Callable[[], None]) -> None:
    """Load what stays, as a start does: without looking for garbage meanwhile, nor ever again in what is there then."""
    gc.disable()
    try:
        load()
    finally:
        gc.freeze()
        gc.enable()


def let_go() -> None:
    """Have the static binary's importer free what it keeps for the next import; others keep nothing."""
    for finder in sys.meta_path:
        getattr(finder, "let_go", _nothing)()


def _nothing() -> None:
    pass


class _Rare(ModuleType):
    """Stands for a module until something of it is asked for."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # the import system looks for ``__path__``
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        found: object = getattr(__import__(self.__name__, fromlist=[name]), name)
        setattr(self, name, found)
        return found


def _place() -> list[str]:
    """Put the stand-ins where nobody has imported the real ones and return their names."""
    names = [name for name in _RARE if name not in sys.modules]
    for name in names:
        module = _Rare(name)
        vars(module).update(_RARE[name])
        sys.modules[name] = module
    return names


def _compile_late(create: Callable[..., Any]) -> Callable[..., Any]:
    """Return what stands for ``dataclasses._create_fn``: methods that compile themselves when they are first called."""

    def create_late(name: str, *parts: Any, **more: Any) -> Any:
        compiled: Any = None

        def method(this: Any, /, *values: Any, **named: Any) -> Any:
            nonlocal compiled
            if compiled is None:
                compiled = create(name, *parts, **more)
                compiled.__qualname__ = method.__qualname__
                for owner in type(this).__mro__:
                    if vars(owner).get(name) is method:
                        setattr(owner, name, compiled)
            return compiled(this, *values, **named)

        method.__name__ = name
        return method

    return create_late


_placed = _place() if "dataclasses" not in sys.modules else []
if "ssl" not in sys.modules:
    sys.modules["ssl"] = None  # type: ignore[assignment]  # so that importing it raises ImportError
    _placed.append("ssl")
try:
    import asyncio
    import dataclasses
    from contextlib import contextmanager
finally:
    for _name in _placed:
        if isinstance(sys.modules.get(_name), (_Rare, type(None))):
            sys.modules.pop(_name, None)

if "inspect" in _placed and hasattr(dataclasses, "_create_fn"):
    dataclasses._create_fn = _compile_late(dataclasses._create_fn)  # noqa: SLF001 (tests/unit/test_daemon_lean.py)


def _load_hashes() -> None:
    """Import what hashes while something light stands for ``hashlib`` and ``hmac``."""
    try:
        from cryptography.hazmat.bindings._rust import openssl  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

        sha256 = __import__("_sha2" if sys.version_info >= (3, 12) else "_sha256").sha256
        compare_digest = __import__("_operator")._compare_digest  # noqa: SLF001
    except ImportError:  # those of a router are light by themselves
        return
    algorithm, state_of = SHA256(), openssl.hmac.HMAC

    def digest(key: bytes, msg: bytes, digest: str) -> bytes:
        if digest != "sha256":
            raise ValueError(f"HMAC with {digest} is not used here")
        state = state_of(key, algorithm)
        state.update(msg)
        return state.finalize()

    def sha512(data: bytes) -> Any:
        return __import__("_sha2" if sys.version_info >= (3, 12) else "_sha512").sha512(data)

    def sha3_256(data: bytes) -> Any:
        return __import__("_sha3").sha3_256(data)

    light = (
        ("hashlib", {"sha256": sha256, "sha512": sha512, "sha3_256": sha3_256}),
        ("hmac", {"compare_digest": compare_digest, "digest": digest}),
        ("nacl.bindings", _sodium()),
    )
    with _standing_in(light):
        import qpq.crypto.primitives  # noqa: PLC0415
        import qpq.wire.reconcile  # noqa: F401, PLC0415
    from qpq.crypto import kem  # noqa: PLC0415

    load_library = kem.load_library

    def load() -> ModuleType:
        with _standing_in(light[1:2]):  # of which it wants compare_digest
            return load_library()

    kem.load_library = load


def _sodium() -> dict[str, Any]:
    """Import what every start uses of libsodium's bindings, and return its names; the package would load all parts."""
    if "nacl.bindings" in sys.modules:
        return {}
    import nacl  # noqa: PLC0415

    package = ModuleType("nacl.bindings")
    package.__path__ = [f"{folder}/bindings" for folder in nacl.__path__]
    names: dict[str, Any] = {}
    sys.modules[package.__name__] = package
    try:
        for part in ("sodium_core", "crypto_aead", "crypto_scalarmult", "crypto_sign"):
            names |= vars(__import__(f"nacl.bindings.{part}", fromlist=[part]))
    finally:
        del sys.modules[package.__name__]
    names["sodium_init"]()
    return {name: value for name, value in names.items() if not name.startswith("_")}


@contextmanager
def _standing_in(light: tuple[tuple[str, dict[str, Any]], ...]) -> Iterator[None]:
    """Let modules with these names alone stand for the real ones, where nobody has imported those."""
    for name, names in light:
        if name not in sys.modules:
            sys.modules[name] = _Rare(name)
            vars(sys.modules[name]).update(names)
    try:
        yield
    finally:
        for name, _ in light:
            if isinstance(sys.modules.get(name), _Rare):
                del sys.modules[name]


if not {"hashlib", "hmac", "nacl.bindings"} & sys.modules.keys():
    _load_hashes()

__all__ = ["asyncio", "keep"]
