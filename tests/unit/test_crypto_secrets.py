"""Secrets in memory: overwritten when nobody has them any more, in place and nowhere else; out of swap."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import subprocess
import sys
from typing import Any

import pytest

from qpq.crypto import primitives
from qpq.crypto.primitives import kept, lock, spend, taken

NODE = os.path.join(os.path.dirname(__file__), "..", "..", "node")
HEAD = bytes.__basicsize__ - 1


def copied(secret: bytes) -> bytes:
    """Return the same bytes in another place."""
    return bytes(bytearray(secret))


@pytest.fixture
def made() -> bytes:
    return os.urandom(40)


def test_a_secret_is_overwritten_with_the_last_reference_to_it(made: bytes) -> None:
    secret = kept(made)
    assert secret == made
    another = [secret]
    seen = ctypes.create_string_buffer(40)
    place = id(secret) + HEAD
    del secret
    ctypes.memmove(seen, place, 40)
    assert seen.raw == made, "somebody has it"
    another.clear()
    ctypes.memmove(seen, place, 40)
    assert seen.raw == bytes(40)
    assert any(made), "what it was made from is another's"


def test_what_is_taken_is_overwritten_at_once(made: bytes) -> None:
    before = copied(made)
    secret = taken(made)
    assert secret == before
    assert made == bytes(40)
    assert secret + b"" == before


def test_what_is_spent_is_overwritten_and_what_the_interpreter_shares_is_not(made: bytes) -> None:
    other = os.urandom(16)
    for secret in (made, other, b"", b"a"):
        spend(secret)
    assert made == bytes(40)
    assert other == bytes(16)
    assert bytes((97,)) == b"a"
    assert taken(b"") == b""
    assert kept(b"b") == b"b"


def test_a_secret_serves_wherever_bytes_do(made: bytes) -> None:
    secret = kept(made)
    assert isinstance(secret, bytes)
    assert {secret: 1}[copied(made)] == 1
    assert b"".join((secret, b"x")) == copied(made) + b"x"
    assert not hasattr(secret, "__dict__")


def test_pages_are_locked_as_far_as_the_limit_goes() -> None:
    code = (
        "import os, resource\nfrom qpq.crypto.primitives import kept, lock\n"
        "def locked(): return [l for l in open('/proc/self/status') if l.startswith('VmLck')][0].split()[1]\n"
        "secret = kept(os.urandom(32))\nprint(lock(secret, bytearray(32)), locked() != '0')\n"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(lock(secret))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=30, check=True, env={**os.environ, "PYTHONPATH": NODE},
    )  # fmt: skip
    assert done.stdout.split() == ["True", "True", "False"]


def test_on_a_router_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch, made: bytes) -> None:
    monkeypatch.setitem(sys.modules, "nacl._sodium", None)
    spec: Any = importlib.util.spec_from_file_location("primitives_of_a_router", primitives.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.kept(made) is made
    assert module.taken(made) is made
    module.spend(made)
    assert any(made)
    assert module.lock(made) is False
    assert lock()
