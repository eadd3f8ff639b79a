"""The house's import rule (docs/architecture.md), read from the source and seen in a running interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

NODE = Path(__file__).resolve().parents[1] / "node"
BASE = {"errors", "netaddress", "paths", "threads", "_build", "__init__"}
CORE = ("crypto", "wire", "mesh")

# Which rooms a room may import beside itself; everybody may import the base.
MAY_IMPORT = {
    "crypto": set(),
    "wire": {"crypto"},
    "mesh": {"wire", "crypto"},
    "link": {"crypto", "wire", "mesh"},
    "discovery": {"crypto", "wire", "mesh"},
    "store": {"crypto", "wire", "mesh"},
    "rpc": {"wire"},
    "federation": {"crypto", "wire", "mesh", "rpc"},
    "home": {"crypto", "wire", "rpc"},
    "sdk": {"crypto", "wire", "rpc", "link"},
    "daemon": {"crypto", "wire", "mesh", "link", "discovery", "store", "federation", "home", "rpc"},
    "console": set(),
}
# The console reads the option table and the file those options stand in, to find the socket; everything else it asks
# the daemon. One file is the door to both, since there is one command.
CONSOLE_FROM_DAEMON = {"qpq.daemon.options", "qpq.daemon.uci"}
DOOR = ("qpq/console/program.py", "qpq.daemon.main")

# What a router can afford (memory and size of the static binary). codecs and types are loaded before any program
# runs, math comes with random, threading and weakref with asyncio.
LIGHT = {
    "__future__", "asyncio", "base64", "binascii", "bisect", "codecs", "collections", "contextlib", "dataclasses",
    "enum", "errno", "fcntl", "functools", "gc", "hashlib", "heapq", "hmac", "itertools", "json", "logging", "math",
    "os", "random", "re", "select", "signal", "socket", "sqlite3", "stat", "struct", "sys", "termios", "threading",
    "time", "tty", "types", "typing", "weakref",
}  # fmt: skip
# Exceptions, each with its reason: (file, module).
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("qpq/daemon/lean.py", "cryptography"): "its OpenSSL, which links bring, spares the process the interpreter's",
    ("qpq/daemon/lean.py", "nacl"): "where its modules are, to load those that crypto/primitives.py calls; no calls",
    ("qpq/daemon/guard.py", "_qpq_native"): "asks the kernel to keep memory off disks; the router's binary has it",
    ("qpq/daemon/guard.py", "resource"): "the same on a PC, where the above is absent",
    ("qpq/daemon/guard.py", "ctypes"): "the same on a PC, only with a vault",
}

THIRD_PARTY = {
    "crypto": {"nacl", "pqcrypto"},
    "wire": {"capnp"},
    "link": {"aioquic", "cryptography"},
    "discovery": {"zeroconf"},
}
# The core is given time, randomness and bytes; it never fetches them.
NOT_IN_THE_CORE = {
    "asyncio", "fcntl", "logging", "os", "random", "select", "signal", "socket", "sqlite3", "sys", "time",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement; ``typing_only`` when it stands under TYPE_CHECKING."""

    file: Path
    line: int
    module: str
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(NODE)}:{self.line} imports {self.module}"

    @property
    def room(self) -> str:
        return room_of(self.file)

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def room_of(file: Path) -> str:
    parts = file.relative_to(NODE / "qpq").parts
    return parts[0] if len(parts) > 1 else ""


def imports_of(file: Path) -> list[Import]:
    tree = ast.parse(file.read_text(), str(file))
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: write the whole name of the module"
            names = [_full_name(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        found += [Import(file, node.lineno, name, id(node) in guarded) for name in names]
    return found


def _full_name(module: str, name: str) -> str:
    path = NODE / Path(*module.split(".")) / name
    return f"{module}.{name}" if path.is_dir() or path.with_suffix(".py").is_file() else module


# Stand-ins for foreign packages are foreign packages to the house: no room, and no rule but their own.
SHIMS = NODE / "qpq" / "shims"
FILES = sorted(file for file in (NODE / "qpq").rglob("*.py") if SHIMS not in file.parents)
IMPORTS = [found for file in FILES for found in imports_of(file)]


def offenders(condition: object) -> str:
    return "\n".join(str(item) for item in IMPORTS if condition(item))  # type: ignore[operator]


def _crosses(item: Import) -> bool:
    if item.top != "qpq" or item.module == "qpq":
        return False
    target = item.module.split(".")[1]
    if target in BASE or target == item.room:
        return False
    if item.room == "":  # __main__ opens the house's two doors
        return not (item.file.name == "__main__.py" and target in {"console", "daemon"})
    if item.room == "console" and item.module in CONSOLE_FROM_DAEMON:
        return False
    if (item.file.relative_to(NODE).as_posix(), item.module) == DOOR:
        return False
    return target not in MAY_IMPORT.get(item.room, set())


def test_the_source_was_found() -> None:
    assert len(FILES) > 10


def test_rooms_import_only_what_the_rule_lets_them() -> None:
    assert not offenders(_crosses)


def test_every_room_stands_in_the_rule() -> None:
    assert {room_of(file) for file in FILES} - {""} <= set(MAY_IMPORT)


def test_only_light_modules_of_the_standard_library_are_used() -> None:
    def heavy(item: Import) -> bool:
        name = item.file.relative_to(NODE).as_posix()
        return (
            not item.typing_only
            and item.top in sys.stdlib_module_names
            and item.top not in LIGHT
            and (name, item.top) not in EXCEPTIONS
        )

    assert not offenders(heavy)


def test_each_foreign_package_is_used_by_its_own_room_only() -> None:
    def foreign(item: Import) -> bool:
        known = item.top in sys.stdlib_module_names or item.top == "qpq"
        excepted = (item.file.relative_to(NODE).as_posix(), item.top) in EXCEPTIONS
        return not known and not excepted and item.top not in THIRD_PARTY.get(item.room, set())

    assert not offenders(foreign)


def test_nothing_in_the_house_names_the_stand_ins() -> None:
    assert not offenders(lambda item: item.module.startswith("qpq.shims"))


def test_libsodium_is_touched_in_one_file_only() -> None:
    touching = {item.file.relative_to(NODE).as_posix() for item in IMPORTS if item.top == "nacl"}
    assert {name for name in touching if (name, "nacl") not in EXCEPTIONS} <= {"qpq/crypto/primitives.py"}


def test_ml_kem_is_touched_in_one_file_only() -> None:
    touching = {item.file.name for item in IMPORTS if item.top == "pqcrypto"}
    assert touching == {"kem.py"}


def test_capn_proto_is_touched_in_one_file_only() -> None:
    touching = {item.file.name for item in IMPORTS if item.top == "capnp"}
    assert touching == {"capnp_messages.py"}


def test_the_core_imports_no_socket_no_clock_and_no_randomness() -> None:
    def worldly(item: Import) -> bool:
        return item.room in CORE and not item.typing_only and item.top in NOT_IN_THE_CORE

    assert not offenders(worldly)


def test_text_is_read_and_written_with_codecs_that_the_static_binary_has() -> None:
    """Others are modules that Python finds by name, at run time; ASCII is built in for str and bytes, not for files."""
    unknown = []
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if method in {"encode", "decode"}:
                named, known = [*node.args[:1], *_encodings(node)], {"utf-8", "ascii"}
            else:
                named, known = _encodings(node), {"utf-8"}
            names = {value.value for value in named if isinstance(value, ast.Constant) and isinstance(value.value, str)}
            unknown += [f"{file.relative_to(NODE)}:{node.lineno}: {name}" for name in names - known]
    assert not unknown


def _encodings(call: ast.Call) -> list[ast.expr]:
    return [keyword.value for keyword in call.keywords if keyword.arg == "encoding"]


# Seen from outside: what a console on a router must not pay for.
CONSOLE_NEVER = {
    "aioquic", "argparse", "asyncio", "cryptography", "ctypes", "email", "http", "ipaddress", "multiprocessing", "nacl",
    "shutil", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "urllib", "uuid", "zeroconf",
}  # fmt: skip
CORE_NEVER = {
    "aioquic", "argparse", "asyncio", "capnp", "email", "http", "ipaddress", "logging", "pqcrypto", "select", "shutil",
    "socket", "sqlite3", "ssl", "subprocess", "tempfile", "urllib", "uuid", "zeroconf",
}  # fmt: skip


def loaded_by(room: str) -> set[str]:
    """Return the top-level modules that importing every file of the room loads in a fresh interpreter."""
    names = [
        ".".join(file.relative_to(NODE).with_suffix("").parts)
        for file in FILES
        if room_of(file) == room and file.name != "__init__.py"
    ]
    if not names:
        pytest.skip(f"the room {room} is empty")
    code = (
        f"import sys; sys.path.insert(0, {str(NODE)!r}); before = set(sys.modules)\n"
        f"import {', '.join(names)}\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    argv = [sys.executable, "-I", "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True, env={})
    return set(done.stdout.split())


def test_the_console_loads_nothing_heavy() -> None:
    assert not loaded_by("console") & CONSOLE_NEVER


@pytest.mark.parametrize("room", ["crypto", "wire", "mesh"])
def test_the_core_loads_nothing_heavy(room: str) -> None:
    assert not loaded_by(room) & CORE_NEVER
