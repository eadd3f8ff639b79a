"""Stand-ins without C run under MicroPython too, and say what they say here."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import capnp_operations
import pytest
import shim_paths
import test_capnp

pytestmark = pytest.mark.skipif(shim_paths.ON_SHIMS, reason="once is enough")

PACKAGE = "@micropython/micropython-webassembly-pyscript"
VERSION = "1.27.0"
DEADLINE = 120.0
RUNNER = str(Path(__file__).parent / "micropython.mjs")
ABSENT = {  # what MicroPython has not and stand-ins import for their annotations only
    "__future__.py": "annotations = None\n",
    "typing.py": "NoReturn = Any = Final = None\nTYPE_CHECKING = False\n",
}

PROGRAM = """
import binascii, json
import cbor2, ipaddress
import certifi, OpenSSL.crypto, service_identity
from cases import CASES
def attempt(call, value):
    try:
        made = call(value)
    except (ValueError, cbor2.CBORError) as error:
        return type(error).__name__
    if isinstance(made, bytes):
        return binascii.hexlify(made).decode()
    return [repr(made), str(made), int(made)]
def written(text):
    return cbor2.dumps(eval(text), canonical=True)
def read(data):
    cbor2.loads(data)
    return cbor2.dumps(cbor2.loads(data), canonical=True)
calls = {'written': written, 'read': read, 'address': ipaddress.ip_address}
print(json.dumps([attempt(calls[name], value) for name, value in CASES]))
for call in (certifi.where, OpenSSL.crypto.X509Store, service_identity.cryptography.extract_patterns):
    try:
        call(*((None,) if call is service_identity.cryptography.extract_patterns else ()))
    except NotImplementedError:
        print('refused')
"""


def micropython() -> Path:
    """Return the package's folder, installed into the cache if need be, or skip the test."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("MicroPython comes from npm and runs on node, which are not here")
    cache = Path(os.environ.get("QPQ_CACHE") or Path.home() / ".cache" / "qpq") / f"micropython-{VERSION}"
    folder = cache / "node_modules" / PACKAGE
    if not (folder / "micropython.wasm").exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = [
            npm,
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(cache),
            f"{PACKAGE}@{VERSION}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
        if done.returncode:
            pytest.skip(f"npm cannot fetch {PACKAGE}: {done.stderr.strip()[-200:]}")
    return folder


def value(chance: random.Random, depth: int = 3) -> Any:
    """Return a value that CBOR can carry."""
    kinds = [
        None,
        True,
        False,
        chance.randrange(-(1 << 64), 1 << 64),
        chance.randrange(30),
        chance.randbytes(5),
        "ü text",
    ]
    if depth and chance.random() < 0.6:
        if chance.random() < 0.5:
            return [value(chance, depth - 1) for _ in range(chance.randrange(4))]
        return {chance.randrange(400): value(chance, depth - 1) for _ in range(chance.randrange(4))}
    return chance.choice(kinds)


def cases() -> list[tuple[str, Any]]:
    """Return calls of both modules."""
    chance = random.Random(3)  # noqa: S311 (the same every time)
    found: list[tuple[str, Any]] = [("written", repr(value(chance))) for _ in range(80)]
    found += [("read", chance.randbytes(chance.randrange(1, 12))) for _ in range(200)]
    texts = [
        "::",
        "::1",
        "1::2::3",
        "fe80::1%2",
        "1.2.3.4",
        "01.2.3.4",
        "1.2.3",
        "",
        "::ffff:1.2.3.4",
        "2001:db8::0:1",
        "x",
    ]
    found += [("address", text) for text in texts]
    found += [("address", chance.randrange(1 << 128) >> chance.choice((0, 60, 100))) for _ in range(40)]
    return found


def expected(name: str, given: Any) -> Any:
    """Return what the stand-in says here."""
    cbor, addresses = expected_modules()
    try:
        if name == "address":
            made = addresses.ip_address(given)
            return [repr(made), str(made), int(made)]
        if name == "written":
            return cbor.dumps(eval(given), canonical=True).hex()  # noqa: S307 (our own text)
        return cbor.dumps(cbor.loads(given), canonical=True).hex()
    except (ValueError, cbor.CBORError) as error:
        return type(error).__name__


def expected_modules() -> tuple[Any, Any]:
    """Return the two stand-ins as modules of this interpreter."""
    return shim_paths.stand_in("../cbor2/__init__"), shim_paths.stand_in("ipaddress")


def test_pure_stand_ins_say_the_same_under_micropython(tmp_path: Path) -> None:
    package = micropython()
    todo = cases()
    (tmp_path / "cases.py").write_text(f"CASES = {todo!r}\n")
    files = [f"cases.py={tmp_path / 'cases.py'}", f"ipaddress.py={shim_paths.STDLIB / 'ipaddress.py'}"]
    for name, text in ABSENT.items():
        (tmp_path / name).write_text(text)
        files.append(f"{name}={tmp_path / name}")
    for folder in ("cbor2", "certifi", "OpenSSL", "service_identity"):
        files += [f"{path.relative_to(shim_paths.SHIMS)}={path}" for path in (shim_paths.SHIMS / folder).glob("*.py")]
    command = ["node", RUNNER, str(package), *files]
    done = subprocess.run(command, input=PROGRAM, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    answers, *refused = done.stdout.splitlines()
    assert refused == ["refused"] * 3
    for (name, given), answer in zip(todo, json.loads(answers), strict=True):
        assert answer == expected(name, given), (name, given)


CALLS = """
import capnp
from cases import CASES
for file, interface, method, which, values, data, expected, bad in CASES:
    found = getattr(capnp.load(file), interface).schema.methods[method]
    struct = capnp.lib.capnp._StructModule(getattr(found, which), method)
    with struct.from_bytes(data) as read:
        right = read.to_dict() == expected
    with struct.from_bytes(struct.new_message(**values).to_bytes()) as read:
        right = right and read.to_dict() == expected
    for changed in bad:
        try:
            struct.from_bytes(changed, 200, 8)
        except (capnp.KjException, UnicodeError, ValueError):
            pass
    print(right)
"""


def test_the_stand_in_for_pycapnp_reads_under_micropython_what_pycapnp_writes(tmp_path: Path) -> None:
    package = micropython()
    chance = random.Random(4)  # noqa: S311 (the same every time)
    todo: list[Any] = []
    for kind, values in (
        (
            test_capnp.ENQUEUE,
            {"payload": b"12345678", "hops": 255, "ttlSecs": 1 << 31, "auth": {"origin": "ü"}},
        ),
        (test_capnp.KEYS, {"recipientKeys": [b"1", b"", b"22"], "version": 65535}),
        (test_capnp.SEQS, {"seqs": [1, (1 << 64) - 1]}),
        (test_capnp.ENVELOPES, {"payloads": [{"seq": 7, "data": b"x" * 30}, {}]}),
        (test_capnp.FLAGS, {"wasNew": True, "channelId": b""}),
        (test_capnp.NOTHING, {}),
    ):
        data = capnp_operations.made(*kind, values)
        bad = [bytearray(data) for _ in range(60)]
        for one in bad:
            one[chance.randrange(len(one))] = chance.randrange(256)
        changed = [bytes(one) for one in bad] + [data[:at] for at in range(len(data))]
        todo.append((*kind, values, data, capnp_operations.read(*kind, data), changed))
    (tmp_path / "cases.py").write_text(f"CASES = {todo!r}\n")
    files = [f"cases.py={tmp_path / 'cases.py'}"]
    for name, text in ABSENT.items():
        (tmp_path / name).write_text(text)
        files.append(f"{name}={tmp_path / name}")
    files += [f"capnp/{path.name}={path}" for path in (shim_paths.SHIMS / "capnp").glob("*.py")]
    command = ["node", RUNNER, str(package), *files]
    done = subprocess.run(command, input=CALLS, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"] * len(todo)
