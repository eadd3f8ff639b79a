"""What a daemon's process imports instead of the whole: it behaves as the whole does."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import qpq.crypto.kem
import qpq.crypto.primitives
import qpq.wire.reconcile
from qpq.daemon import lean

NODE = Path(__file__).resolve().parents[2] / "node"
LEAN = "import qpq.daemon.lean\n"

# One program, run with and without: what it prints must be the same.
VALUES = """
import copy, dataclasses, pickle
from dataclasses import dataclass, field, replace

@dataclass(frozen=True, slots=True, order=True)
class Point:
    "A point."
    x: int
    this: int = 2
    names: tuple[str, ...] = field(default=(), compare=False)
    def __post_init__(self):
        if self.x < 0:
            raise ValueError("negative")

@dataclass(slots=True)
class Box:
    point: Point
    items: list[int] = field(default_factory=list, repr=False)

@dataclass
class Base:
    a: int
    def __repr__(self):
        return "mine"

@dataclass
class Derived(Base):
    b: int = 1
    def __init__(self, a):
        super().__init__(a)

@dataclass(frozen=True)
class Loose:
    a: int

@dataclass(unsafe_hash=True)
class Hashed:
    a: int

def told(call):
    try:
        return repr(call())
    except Exception as error:
        return f"{type(error).__name__}: {error}"

p, q = Point(1, this=3), Point(2)
for call in (
    lambda: p, lambda: p == Point(1, 3), lambda: p == q, lambda: p != q, lambda: p < q, lambda: q >= p,
    lambda: p == 1, lambda: p < 1, lambda: hash(p) == hash(Point(1, 3)), lambda: {p, Point(1, 3)}, lambda: Point(-1),
    lambda: Point(), lambda: Point(1, 2, (), 4), lambda: setattr(p, "x", 2), lambda: setattr(p, "z", 2),
    lambda: delattr(p, "x"), lambda: replace(p, x=9), lambda: dataclasses.asdict(p), lambda: dataclasses.astuple(p),
    lambda: dataclasses.fields(Point)[1].name, lambda: copy.copy(p), lambda: copy.deepcopy(Box(p, [1])),
    lambda: pickle.loads(pickle.dumps(p)), lambda: Box(p), lambda: Box(p).items, lambda: hash(Box(p)),
    lambda: Derived(3), lambda: Derived(3) == Derived(3), lambda: Derived(3).b, lambda: Base(1) == Base(1),
    lambda: Loose(1), lambda: setattr(Loose(1), "a", 2), lambda: setattr(Loose(1), "b", 2), lambda: hash(Hashed(1)),
    lambda: Point.__match_args__, lambda: Point.__init__.__name__, lambda: Point.__qualname__, lambda: Point.__doc__,
):
    for _ in range(2):  # the first use makes a method, the second has it
        print(told(call))
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-"],  # what comes by -c some versions note in linecache
        input=code, check=True, stdout=subprocess.PIPE, text=True, timeout=60, env={"PYTHONPATH": str(NODE)},
    )  # fmt: skip
    return done.stdout


def test_values_behave_as_they_do_without_it() -> None:
    assert run(LEAN + VALUES) == run(VALUES)


def test_a_module_that_is_rarely_used_is_whole_when_it_is_used() -> None:
    code = """
import asyncio.subprocess, traceback, dataclasses, sys
rare = ("inspect", "subprocess", "copy", "textwrap", "linecache", "asyncio.sslproto", "asyncio.staggered", "ssl")
print(*[name in sys.modules for name in rare])
import inspect, ssl
print(inspect.getsource(inspect.signature)[:13], dataclasses.inspect.signature(len), dataclasses.inspect.isclass(int))
print(asyncio.base_events.sslproto.SSLProtocol.__name__, asyncio.base_events.staggered.__name__, bool(ssl.CERT_NONE))
try:
    raise ValueError("shown")
except ValueError:
    print(len(traceback.format_exc().splitlines()) > 2, "linecache" in sys.modules)
async def main():
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(7)", stdout=asyncio.subprocess.PIPE)
    print((await program.communicate())[0])
asyncio.run(main())
"""
    first, second, third, fourth, fifth = run(LEAN + code).splitlines()
    assert set(first.split()) == {"False"}
    assert second == "def signature (...) True"
    assert third == "SSLProtocol asyncio.staggered False"
    assert fourth == "True True"
    assert fifth == "b'7\\n'"


def test_signatures_seals_and_passphrases_are_the_same_with_a_part_of_the_bindings() -> None:
    code = """
import sys
from qpq.crypto import primitives as p
seed, public = bytes(range(32)), p.ed25519_public(bytes(range(32)))
print(public.hex(), p.ed25519_sign(seed, public, b"m").hex(), p.x25519_public(seed).hex())
sealed = p.aead_seal(seed, bytes(12), b"text", b"ad")
print(sealed.hex(), p.aead_open(seed, bytes(12), sealed, b"ad"))
for wrong in (lambda: p.ed25519_verify(public, bytes(64), b"m"), lambda: p.aead_open(seed, bytes(12), bytes(16), b"")):
    try:
        print(wrong())
    except Exception as error:
        print(type(error).__name__, error)
light = "nacl.bindings.crypto_pwhash" not in sys.modules
print(p.argon2id(b"words", bytes(16), ops=1, memory=8192, length=32).hex())
import nacl.bindings
print(nacl.bindings.crypto_generichash_BYTES, nacl.bindings.crypto_sign_BYTES)
"""
    assert run(LEAN + code) == run(code)
    assert run(LEAN + code + "print(light)").endswith("True\n")


def test_what_somebody_has_imported_before_stays_as_it_is() -> None:
    code = "import asyncio, dataclasses, inspect\nbefore = dataclasses.__dict__.get('_create_fn')\n"
    after = "print(dataclasses.inspect is inspect, dataclasses.__dict__.get('_create_fn') is before)"
    assert run(code + LEAN + after) == "True True\n"


def test_a_coroutine_function_is_known_as_one() -> None:
    code = """
import asyncio, signal
async def wrong(): pass
async def main():
    try:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, wrong)
    except TypeError as error:
        print(error)
asyncio.run(main())
"""
    assert run(LEAN + code) == "coroutines cannot be used with add_signal_handler()\n"


def test_hashes_are_the_same_and_need_no_second_openssl() -> None:
    code = """
import sys
from qpq.crypto import primitives
from qpq.wire import reconcile
from qpq.crypto.kem import standard_kem
light = "_hashlib" not in sys.modules
for size in (0, 1, 32, 55, 64, 65, 200, 5000):
    data = bytes(range(256)) * 20
    data = data[:size]
    print(primitives.sha256(data).hex(), primitives.hmac_sha256(b"k" * (size % 150), data).hex())
    print(primitives.hkdf(data, salt=b"", info=b"i", length=100).hex(), primitives.equal(data, data + b"x"))
    print(primitives.sha512(data).hex(), primitives.sha3_256(data).hex())
print([len(part) for part in standard_kem().keygen()])
light = light and "_hashlib" not in sys.modules
import hashlib, hmac
print(hashlib.sha512(b"").hexdigest()[:8], hmac.new(b"k", b"m", "sha512").hexdigest()[:8])
"""
    assert run(LEAN + code) == run(code)
    assert run(LEAN + code + "print(light)").endswith("True\n")


# The parts by themselves: the programs above run without coverage, which imports nearly everything before.


def test_a_stand_in_gives_way_to_the_real_module(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in lean._RARE:
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert set(lean._place()) == set(lean._RARE)
    rare: Any = sys.modules["textwrap"]
    assert isinstance(rare, lean._Rare)
    assert not hasattr(rare, "__path__")
    assert rare.dedent("  a") == "a"
    assert "dedent" in vars(rare)
    assert sys.modules["textwrap"] is not rare
    kept: Any = sys.modules["inspect"]
    assert kept.signature(len) == "(...)"
    assert kept.get_annotations(lean._Rare) == {}
    assert not kept.iscoroutinefunction(lean._place)


def test_what_is_loaded_to_stay_is_kept_from_the_collector_also_after_a_fault() -> None:
    enabled: list[bool] = []

    def fault() -> None:
        enabled.append(gc.isenabled())
        raise ImportError("gone")

    lean.keep(lambda: enabled.append(gc.isenabled()))
    frozen = gc.get_freeze_count()
    with pytest.raises(ImportError):
        lean.keep(fault)
    gc.unfreeze()
    assert (enabled, frozen > 0, gc.isenabled()) == ([False, False], True, True)


def test_a_method_is_compiled_once_and_takes_its_own_place() -> None:
    made: list[str] = []

    def create(name: str, body: str) -> Any:
        made.append(name)

        def compiled(this: object, more: str) -> str:
            return f"{type(this).__name__} {body} {more}"

        return compiled

    late: Any = lean._compile_late(create)("tell", "is")

    class Base:
        tell = late
        also = late

    class Derived(Base):
        pass

    assert Derived().tell("told") == "Derived is told"
    assert vars(Base)["tell"] is not late
    assert Base().tell(more="told") == "Base is told"
    assert Base().also("told") == "Base is told"
    assert made == ["tell"]


def test_hashes_stand_in_only_while_they_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for package, name in ((qpq.crypto, "primitives"), (qpq.wire, "reconcile")):
        monkeypatch.setattr(package, name, getattr(package, name))  # so that the old one comes back
    seen: list[object] = []
    monkeypatch.setattr(qpq.crypto.kem, "load_library", lambda: seen.append(sys.modules["hmac"]))
    for name in ("hashlib", "hmac", "qpq.crypto.primitives", "qpq.wire.reconcile"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    lean._load_hashes()
    qpq.crypto.kem.load_library()
    assert [type(module) for module in seen] == [lean._Rare]
    primitives: Any = sys.modules["qpq.crypto.primitives"]
    assert primitives._hmac_digest.__module__ == "qpq.daemon.lean"
    assert primitives.hmac_sha256(b"key", b"").hex().startswith("5d5d1395")
    assert primitives.sha512(b"").hex().startswith("cf83e135")
    assert primitives.sha3_256(b"").hex().startswith("a7ffc6f8")
    with pytest.raises(ValueError, match="sha512"):
        primitives._hmac_digest(b"", b"", "sha512")
    assert not {"hashlib", "hmac"} & sys.modules.keys()
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.bindings._rust", None)
    lean._load_hashes()


def test_an_importer_that_keeps_something_is_asked_to_let_it_go(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    class Finder:
        @staticmethod
        def let_go() -> None:
            told.append(True)

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    lean.let_go()
    assert told == [True]
