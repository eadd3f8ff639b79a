"""A session between a node on the real packages and one on the stand-ins, hashes of the standard library included."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import session_operations
import shim_paths

from qpq.crypto.identity import SecretIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(shim_paths.ON_SHIMS, reason="this compares the two")
WORKER = """
import pickle, sys
import _qpq_native, hashlib, pqcrypto
from session_operations import OPERATIONS
pickle.dump([hashlib.__file__, pqcrypto.__file__], sys.stdout.buffer)
sys.stdout.buffer.flush()
while True:
    try:
        name, arguments = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    pickle.dump(OPERATIONS[name](*arguments), sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""
SEEDS = (b"\x31" * 32, b"\x32" * 32)
ADDRESSES = [SecretIdentity(seed).address for seed in SEEDS]
DAY = 86_400

Call = "Callable[..., Any]"


def here(name: str, *arguments: Any) -> Any:
    return session_operations.OPERATIONS[name](*arguments)


@pytest.fixture(scope="module")
def there() -> Iterator[Callable[..., Any]]:
    shim_paths.need_extension()
    environment = shim_paths.environment(shims=True, stdlib=True)
    environment["PYTHONPATH"] += f":{shim_paths.ROOT / 'tests' / 'shims'}"
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        source, sink = process.stdout, process.stdin
        for file in pickle.load(source):  # noqa: S301 (our own process)
            assert str(shim_paths.SHIMS) in file

        def call(name: str, *arguments: Any) -> Any:
            pickle.dump((name, arguments), sink)
            sink.flush()
            return pickle.load(source)  # noqa: S301 (our own process)

        yield call
        sink.close()


@pytest.mark.parametrize("begins_here", [True, False])
def test_a_session_runs_between_real_packages_and_stand_ins(there: Call, begins_here: bool) -> None:
    ends = [here, there] if begins_here else [there, here]
    first, second = ADDRESSES
    prekey, bundle = ends[1]("session_prekeys", SEEDS[1])
    states = [ends[0]("session_begin", SEEDS[0], second, bundle, 0), b""]
    states[0], payload = ends[0]("session_seal", states[0], first, second, b"first", 0)
    assert payload[0] == 3
    states[1], text = ends[1]("session_respond", SEEDS[1], first, prekey, payload, 0)
    assert text == b"first"
    shapes = []
    for number in range(1, 9):
        sender, reader = number % 2, 1 - number % 2
        own, peer = ADDRESSES[sender], ADDRESSES[reader]
        life = number * DAY // 3
        states[sender], payload = ends[sender]("session_seal", states[sender], own, peer, b"%d" % number, life)
        states[reader], text = ends[reader]("session_read", states[reader], peer, own, payload, life)
        assert text == b"%d" % number
        shapes.append(payload[1])
    assert shapes.count(1) > 1  # KEM keys of both sides, each answered
    assert shapes.count(2) == shapes.count(1)
