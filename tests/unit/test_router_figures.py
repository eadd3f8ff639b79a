"""The boot check's own words: what it holds against the budgets, how it tells its figures, what it boots from."""

from __future__ import annotations

import gzip
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cross import fetch
from cross.targets import TARGETS

from router import __main__ as check
from router import boards, malta, parts
from router.__main__ import EMULATORS, main
from router.figures import Figures, complaints, table
from router.machine import BootError

GOOD = Figures(lost=9_000_000, snapshot=10_000, rest_bytes=30.0)
ROUTER = boards.BOARDS["mips_24kc"]


def test_every_target_has_a_machine_and_every_machine_an_emulator() -> None:
    assert set(boards.BOARDS) == set(TARGETS)
    assert {board.program for board in boards.BOARDS.values()} == set(EMULATORS)


def test_only_the_mips_and_arm_machines_are_held_to_64_mb() -> None:
    small = {name for name, board in boards.BOARDS.items() if board.small}
    assert small == {name for name, target in TARGETS.items() if target.bits == 32}
    assert {boards.BOARDS[name].memory for name in small} == {64}


def test_what_keeps_its_budgets_is_not_complained_of() -> None:
    assert not list(complaints(ROUTER, GOOD))


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        (Figures(lost=16_000_001), "MemAvailable lost: 16,000,001, at most 16,000,000"),
        (Figures(full_lost=19_000_001), "with a full store: 19,000,001, at most 19,000,000"),
        (Figures(snapshot=262_145), "a snapshot: 262,145"),
        (Figures(rest_flash=512), "flash at rest: 512, at most 0"),
        (Figures(rest_bytes=150.6), "sent a second at rest: 151"),
        (Figures(rest_packets=31.0), "packets sent a minute at rest: 31, at most 30"),
    ],
)
def test_each_budget_is_held_by_itself(figures: Figures, told: str) -> None:
    (text,) = complaints(ROUTER, figures)
    assert text.startswith("mips_24kc: ")
    assert told in text


def test_a_larger_machine_may_lose_more_memory() -> None:
    assert not list(complaints(boards.BOARDS["x86_64"], Figures(lost=20_000_000)))


def test_the_table_has_a_column_a_machine() -> None:
    lines = list(table({name: (boards.BOARDS[name], GOOD) for name in ("x86_64", "mips_24kc")}))
    assert lines[0] == "|  | x86_64 | mips_24kc |"
    assert lines[1] == "| --- | --- | --- |"
    assert "| MemAvailable lost, MB (64 MB: < 16) | 9.0 | 9.0 |" in lines
    assert all(line.count("|") == 4 for line in lines)


def test_a_target_without_a_machine_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nonsense"]) == 1
    assert "no machine for 'nonsense'; there are: x86_64" in capsys.readouterr().err


def test_a_machine_that_fails_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def checked(board: boards.Board, *_: object) -> Figures:
        if board is ROUTER:
            raise BootError("mips_24kc, anna: waited 90 s in vain: a link")
        return GOOD

    monkeypatch.setattr(check, "_check", checked)
    monkeypatch.setattr(check, "_package", lambda _: tmp_path)
    monkeypatch.setattr(check.setup, "install", lambda *_: None)
    monkeypatch.setattr(check, "DIST", tmp_path)
    assert main(["mips_24kc", "x86_64"]) == 1
    told = capsys.readouterr()
    assert "|  | x86_64 |" in told.out
    assert told.err == "boot-check: mips_24kc, anna: waited 90 s in vain: a link\n"
    assert main(["x86_64"]) == 0


def test_all_machines_but_big_endian_mips_boot_debians_own_kernels_which_are_pinned() -> None:
    (built,) = [board for board in boards.BOARDS.values() if not board.debian]
    assert TARGETS[built.target].big_endian
    pins = fetch.pins()
    for board in boards.BOARDS.values():
        kernel = pins[f"linux-{board.debian}" if board.debian else "linux"]
        assert re.match(r"linux-image-.*\.deb$" if board.debian else r"linux_.*\.orig\.tar", kernel.file)


def test_the_kernel_that_is_built_is_big_endian_and_has_no_floating_point() -> None:
    lines = malta.KERNEL.read_text().splitlines()
    assert "CONFIG_CPU_BIG_ENDIAN=y" in lines
    assert "# CONFIG_MIPS_FP_SUPPORT is not set" in lines


def test_options_are_given_to_an_init_script_as_openwrt_gives_them(tmp_path: Path) -> None:
    (tmp_path / "qpq").write_text(
        "config qpq 'main'\n\toption enabled '0'\n\tlist listen 'a:1'\n\tlist listen \"it's\"\n\toption domain ''\n"
        "\nconfig relay 'other'\n\toption metrics '1'\n"
    )
    rules = [
        "enabled:bool:1",
        "listen:string",
        'domain:and(maxlength(63),regex("[A-Z]")):local',
        "metrics:or(0,1):30s",
        'none:regex("/[^ ]*")',
    ]
    tools = parts.GUEST / "sbin"
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "UCI_CONFIG_DIR": str(tmp_path)}
    told = subprocess.run(
        ["sh", tools / "validate_data", "qpq", "main", *rules], env=env, capture_output=True, text=True, check=True
    )
    assert told.stdout.splitlines() == [
        "enabled='0'",
        "listen='a:1 it'\\''s'",
        "domain=''",
        "metrics='30s'",
        "none=''",
    ]


def test_the_initrd_is_what_cpio_reads(tmp_path: Path) -> None:
    busybox, module = tmp_path / "busybox", tmp_path / "00-one.ko"
    busybox.write_bytes(b"program")
    module.write_bytes(b"odd")
    parts.initrd(parts.Parts(tmp_path, busybox, (module,)), tmp_path / "initrd")
    archive = gzip.decompress((tmp_path / "initrd").read_bytes())
    names = [name for name, _, _ in _members(io.BytesIO(archive))]
    assert names == ["bin", "modules", "init", "bin/busybox", "modules/00-one.ko"]
    found = {name: (mode, data) for name, mode, data in _members(io.BytesIO(archive))}
    assert found["bin/busybox"] == (0o100755, b"program")
    assert found["modules/00-one.ko"] == (0o100644, b"odd")
    assert found["bin"][0] == 0o040755
    assert subprocess.run(["sh", "-n", parts.GUEST / "init"], check=False).returncode == 0


def _members(archive: io.BytesIO) -> list[tuple[str, int, bytes]]:
    """Return name, mode and content of each member: head of 13 fields, name and data padded to four bytes."""
    rows = []
    while True:
        head = archive.read(110)
        assert head[:6] == b"070701"
        fields = [int(head[at : at + 8], 16) for at in range(6, 110, 8)]
        name = archive.read(fields[11])[:-1].decode()
        archive.seek(-archive.tell() % 4, 1)
        data = archive.read(fields[6])
        archive.seek(-archive.tell() % 4, 1)
        if name == "TRAILER!!!":
            return rows
        rows.append((name, fields[1], data))
