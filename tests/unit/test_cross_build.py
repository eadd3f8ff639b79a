"""The parts of the cross build that can be wrong without anything being built."""

from __future__ import annotations

import ast
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from cross import again, cache, elf, fetch, link, size  # noqa: E402 (the path above comes first)
from cross.errors import CrossError  # noqa: E402
from cross.program import bytecode, pack  # noqa: E402
from cross.recipe import core  # noqa: E402
from cross.targets import TARGETS, target  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

HARNESS = """
#include "lzma.h"
#include <stdio.h>
#include <stdlib.h>
int main(int count, char **words)
{
    static unsigned char in[1 << 20], out[1 << 20];
    size_t got = fread(in, 1, sizeof in, stdin), size = count > 1 ? (size_t)atol(words[1]) : 0;
    if (lzma_decode(in, got, out, size))
        return 3;
    return fwrite(out, 1, size, stdout) != size;
}
"""
GNU_MAP = """
Discarded input sections

 .text.gone     0x00000000       0x44 /c/libpython3.13.a(x.o)

Linker script and memory map

 .text.main     0x00400000       0x10 /c/steps/program-mips_24kc-1/o/000_main.o
 .text.a_function_with_a_long_name
                0x00400010       0x20 /c/libpython3.13.a(ceval.o)
 .rodata.str1.4
                0x00400030       0x19 /c/libsqlite3.a(000_sqlite3.o)
                                 0x20 (size before relaxing)
 .rodata.str1.4
                0x00400050       0x08 /c/libpython3.13.a(ceval.o)
 .rodata.str1.4
                0x00400054       0x0c /c/libsqlite3.a(000_sqlite3.o)
 .bss           0x00500000      0x100 /c/libpython3.13.a(ceval.o)
 .pdr           0x00000000       0x99 /c/libpython3.13.a(ceval.o)
 .rodata.cold_data
                0x00400100      0x300 /c/steps/program-mips_24kc-1/cold/s/000_cold.o
"""
LLD_MAP = """\
             VMA              LMA     Size Align Out     In      Symbol
            1000             1000      130    16 .text
            1000             1000      100    16         /c/libsqlite3.a(000_sqlite3.o):(.text.sqlite3_open)
            1000             1000      100     1                 sqlite3_open
            2000             2000      400    16         /c/libsqlite3.a(000_sqlite3.o):(.bss.state)
            3000             3000       20     1         <internal>:(.rodata.str1.1)
"""


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes, int], tuple[int, bytes]]:
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("lzma")
    (folder / "main.c").write_text(HARNESS)
    runtime = ROOT / "cross" / "runtime"
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", f"-I{runtime}"]
    files = [str(folder / "main.c"), str(runtime / "lzma.c"), "-o", str(folder / "decode")]
    subprocess.run([compiler, *flags, *files], check=True)

    def decode(data: bytes, length: int) -> tuple[int, bytes]:
        done = subprocess.run([str(folder / "decode"), str(length)], input=data, capture_output=True, check=False)
        return done.returncode, done.stdout

    return decode


@pytest.mark.parametrize("text", [b"a", b"abc" * 5000, bytes(range(256)) * 40, Path(__file__).read_bytes()])
def test_what_the_build_packs_the_program_unpacks(
    decoder: Callable[[bytes, int], tuple[int, bytes]], tmp_path: Path, text: bytes
) -> None:
    pack.pack([pack.Code("io", b"first", is_package=False), pack.Code("m", text, is_package=False)], tmp_path)
    blob = (tmp_path / "cold.bin").read_bytes()
    rows = [ast.literal_eval(f"[{row.strip().strip('{},')}]") for row in _rows(tmp_path, "cold_groups")]
    assert [decoder(blob[at : at + packed], length) for at, packed, length in rows] == [(0, b"first"), (0, text)]


def test_damaged_bytecode_is_refused_or_gives_other_bytes_but_never_more(
    decoder: Callable[[bytes, int], tuple[int, bytes]], tmp_path: Path
) -> None:
    text = b"some text, some text, some more text" * 20
    pack.pack([pack.Code("io", text, is_package=False)], tmp_path)
    blob = (tmp_path / "cold.bin").read_bytes()
    for at in range(0, len(blob), 3):
        damaged = blob[:at] + bytes([blob[at] ^ 0x55]) + blob[at + 1 :]
        status, out = decoder(damaged, len(text))
        assert status in {0, 3}
        assert len(out) == (0 if status else len(text))
    assert decoder(blob[: len(blob) // 2], len(text))[0] == 3
    assert decoder(b"", len(text))[0] == 3


def _rows(folder: Path, table: str) -> list[str]:
    text = (folder / "cold.c").read_text()
    return text.partition(f"{table}[] = {{\n")[2].partition("\n};")[0].splitlines()


def test_modules_are_sorted_by_name_for_the_search(tmp_path: Path) -> None:
    codes = [pack.Code(name, name.encode(), is_package=False) for name in ("io", "zz", "a.b", "a_b", "aB")]
    pack.pack(codes, tmp_path)
    names = [row.split('"')[1] for row in _rows(tmp_path, "cold_modules")]
    assert names == sorted(names, key=str.encode)


def _compiled(source: str) -> dict[str, object]:
    namespace: dict[str, object] = {}
    tree = bytecode.Leaner().visit(ast.parse(source))
    code = bytecode.lean(compile(ast.fix_missing_locations(tree), "m", "exec", optimize=2), "m")
    exec(code, namespace)  # noqa: S102 (made here)
    return namespace


def test_bytecode_has_no_lines_docstrings_and_annotations_of_functions() -> None:
    made = _compiled('def f(a: int, *b: str, c: "x" = 1) -> None:\n    "doc"\n    d: int = a\n    return d\n')["f"]
    assert made(7) == 7
    assert (made.__doc__, made.__annotations__, made.__code__.co_linetable) == (None, {}, b"")


def test_bytecode_keeps_annotations_of_classes_since_dataclasses_read_them() -> None:
    source = "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n    y: int = 2\n"
    assert _compiled(source)["A"](1).y == 2


def test_blocks_for_type_checkers_are_left_out() -> None:
    source = "TYPE_CHECKING = True\nif TYPE_CHECKING:\n    a = 1\nelse:\n    b = 2\n"
    assert "a" not in _compiled(source)
    assert _compiled(source)["b"] == 2


def test_sizes_are_read_from_the_map_of_gnu_ld(tmp_path: Path) -> None:
    assert _parts(tmp_path, GNU_MAP) == {
        "bytecode": 0x300,
        "CPython core": 0x20 + 0x04,  # the end of its strings is the beginning of SQLite's
        "SQLite": 0x19 + 0x0C,
        "start": 0x10,
        size.REST: 0x1000 - 0x330 - 0x29,
    }


def test_sizes_are_read_from_the_map_of_lld(tmp_path: Path) -> None:
    assert _parts(tmp_path, LLD_MAP) == {"SQLite": 0x100, "strings": 0x20, size.REST: 0x1000 - 0x120}


def _parts(folder: Path, text: str) -> dict[str, int]:
    (folder / "map").write_text(text)
    (folder / "elf").write_bytes(bytes(0x1000))
    return size.parts(link.Program(folder / "elf", folder / "map", folder / "modules.json"))


def _elf(stack_flags: int, *more: tuple[int, int], section: int = 1) -> bytes:
    headers = [(elf.STACK, stack_flags), *more]
    sections = 52 + 32 * len(headers)
    fields = struct.pack(">HHIIIIIHHHHH", 2, 8, 1, 0, 52, sections, 0, 52, 32, len(headers), 40, 1)
    start = (b"\x7fELF\x01\x02" + bytes(10) + fields).ljust(52, b"\0")
    rows = (struct.pack(">IIIIIIII", kind, 0, 0, 0, 0, 0, flags, 0) for kind, flags in headers)
    return start + b"".join(rows) + struct.pack(">II", 0, section).ljust(40, b"\0")


def test_a_static_elf_with_a_plain_stack_passes(tmp_path: Path) -> None:
    (tmp_path / "qpq").write_bytes(_elf(6))
    assert elf.check(tmp_path / "qpq") == ["static", "stack not executable", "at a fixed address", "no RELRO"]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (_elf(7), "executable stack"),
        (_elf(6, (elf.INTERPRETER, 4)), "not static"),
        (_elf(6, (elf.LOAD, 7)), "writable code"),
        (_elf(6) + str(cache.ROOT).encode() + b"/node/qpq/x.py", "build path"),
        (_elf(6, section=elf.SYMBOLS), "not stripped"),
        (b"#!/bin/sh\n", "not an ELF"),
    ],
)
def test_an_elf_that_must_not_be_shipped_is_refused(tmp_path: Path, data: bytes, fault: str) -> None:
    (tmp_path / "qpq").write_bytes(data)
    with pytest.raises(CrossError, match=fault):
        elf.check(tmp_path / "qpq")


def test_an_elf_that_must_be_movable_is_position_independent_and_has_relro(tmp_path: Path) -> None:
    (tmp_path / "qpq").write_bytes(_elf(6))
    with pytest.raises(CrossError, match="not position-independent, has no RELRO"):
        elf.check(tmp_path / "qpq", movable=True)
    data = bytearray(_elf(6, (elf.RELRO, 4)))
    struct.pack_into(">H", data, 16, elf.SHARED_OBJECT)
    (tmp_path / "qpq").write_bytes(data)
    assert elf.check(tmp_path / "qpq", movable=True)[2:] == ["position-independent", "RELRO"]


@pytest.mark.parametrize(("allowed", "right"), [("r--p", True), ("rw-p", False)])
def test_relro_counts_only_where_the_running_program_has_its_pages_read_only(
    tmp_path: Path, allowed: str, right: bool
) -> None:
    path = tmp_path / "qpq"
    path.write_bytes(_elf(6, (elf.RELRO, 4)))
    maps = f"7f00-7f10 {allowed} 00000000 fe:00 1   {path}\n7f10-7f20 r--p 00000000 fe:00 2   /other\n"
    assert elf.protected(path, maps) is right
    assert not elf.protected(path, "")
    path.write_bytes(_elf(6))
    assert elf.protected(path, "")


def test_a_file_that_is_not_what_its_pin_says_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QPQ_CACHE", str(tmp_path))
    monkeypatch.setattr(fetch, "_from_debian", lambda _pin, path: path.write_bytes(b"something else"))
    with pytest.raises(CrossError, match="not used"):
        fetch.unpacked("zlib")
    assert not list((tmp_path / "downloads").iterdir())


def test_a_pin_that_has_vanished_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_pin: fetch.Pin, _path: Path) -> None:
        msg = "404"
        raise CrossError(msg)

    monkeypatch.setenv("QPQ_CACHE", str(tmp_path))
    monkeypatch.setattr(fetch, "_from_debian", gone)
    with pytest.raises(CrossError, match="make cross-pins"):
        fetch.unpacked("zlib")


def test_an_edit_of_cpython_that_finds_nothing_is_an_error() -> None:
    with pytest.raises(CrossError, match="needs a look"):
        core._edited("Python/pystate.c", "another version")


def test_a_step_runs_once_for_the_same_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QPQ_CACHE", str(tmp_path))
    made: list[Path] = []
    folders = [cache.step("part", ["a", word], made.append) for word in ("b", "b", "c")]
    assert (folders[0], len(made)) == (folders[1], 2)
    assert folders[2] != folders[0]


def test_a_step_that_failed_is_done_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QPQ_CACHE", str(tmp_path))

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        msg = "no"
        raise CrossError(msg)

    with pytest.raises(CrossError):
        cache.step("part", ["a"], fail)
    assert not list(cache.step("part", ["a"], lambda _folder: None).glob("half"))


def test_a_second_build_that_differs_in_any_file_is_an_error(tmp_path: Path) -> None:
    for name in again.COMPARED:
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / name).write_text("the same")
    assert again.compare(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "qpq.cdx.json").write_text("another")
    with pytest.raises(CrossError, match=r"qpq\.cdx\.json of a second build"):
        again.compare(tmp_path / "a", tmp_path / "b")
    with pytest.raises(CrossError, match="is not there"):
        again.compare(tmp_path / "c", tmp_path / "b")


def test_every_target_of_the_design_is_there() -> None:
    assert set(TARGETS) == {"mips_24kc", "mipsel_24kc", "arm_cortex-a7_neon-vfpv4", "aarch64_cortex-a53", "x86_64"}
    with pytest.raises(CrossError, match="there are"):
        target("vax")


def test_position_independent_mips_is_built_by_name_only_and_keeps_to_the_routers_budget() -> None:
    movable = target("mips_24kc-pie")
    assert movable.name not in TARGETS
    assert (movable.pie, movable.small, movable.limit) == (True, ("-mips16",), target("mips_24kc").limit)
