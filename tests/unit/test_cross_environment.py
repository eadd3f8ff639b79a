"""What the cross build takes from its surroundings: compilers of the environment, the cache, the machine's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cross import cache, link, setup, target_tests, toolchain
from cross.errors import CrossError
from cross.process import NATIVE, run
from cross.recipe import cpython, host
from cross.targets import TARGETS, target

DAY = 86_400.0
PROGRAM = """
#ifndef GIVEN_BY_CFLAGS
#error CFLAGS were ignored
#endif
int answer(void);
int main(void) { return answer(); }
"""
ROUTER = target("mips_24kc")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put this machine's compiler into the environment as an SDK puts its own; ``called`` notes what is called."""
    for name in ("cc", "ar", "strip"):
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed")
        script = tmp_path / f"sdk-{name}"
        script.write_text(f'#!/bin/sh\necho "{name} $*" >>"{tmp_path}/called"\nexec {name} "$@"\n')
        script.chmod(0o755)
        monkeypatch.setenv(name.upper(), f"{script}")
    monkeypatch.setenv("CFLAGS", "-DGIVEN_BY_CFLAGS -g0")
    monkeypatch.setenv("QPQ_CACHE", str(tmp_path / "cache"))
    return tmp_path


def called(folder: Path, name: str) -> list[str]:
    lines = (folder / "called").read_text().splitlines()
    return [line for line in lines if line.split()[0] == name]


def test_the_environments_compiler_archiver_flags_and_strip_make_the_program(tools: Path) -> None:
    given = toolchain.toolchain(ROUTER)
    (tools / "main.c").write_text(PROGRAM)
    (tools / "answer.c").write_text("int answer(void) { return 42; }\n")
    objects = given.compile([tools / "main.c"], [], tools / "o")
    given.archive(given.compile([tools / "answer.c"], [], tools / "p", plain=True), tools / "libanswer.a")
    link._link(given, objects, [tools / "libanswer.a"], tools)
    assert subprocess.run([tools / "qpq"], check=False).returncode == 42
    assert b".symtab" not in (tools / "qpq").read_bytes()
    compiled = [line for line in called(tools, "cc") if " -c " in line]
    assert len(compiled) == 2
    assert all("-DGIVEN_BY_CFLAGS" in line for line in compiled)
    (linked,) = [line for line in called(tools, "cc") if "--gc-sections" in line]
    for word in ("-static ", "-DGIVEN_BY_CFLAGS", "relro", "noexecstack", f"stack-size={toolchain.STACK}"):
        assert word in linked
    assert len(called(tools, "ar")) == len(called(tools, "strip")) == 1


@pytest.mark.parametrize("name", ["CC", "AR", "STRIP", "CFLAGS"])
def test_another_tool_of_the_environment_makes_all_code_anew_or_is_used_where_it_differs(
    tools: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = toolchain.toolchain(ROUTER)
    other = tools / "other"
    shutil.copy(tools / "sdk-cc", other)
    monkeypatch.setenv(name, "-O3" if name == "CFLAGS" else str(other))
    after = toolchain.toolchain(ROUTER)
    assert (before.cc, before.ar, before.strip, before.flags) != (after.cc, after.ar, after.strip, after.flags)
    assert (before.key != after.key) == (name != "AR")  # an archive is the same, whoever makes it


def test_archiver_strip_and_flags_are_taken_beside_the_builds_own_compiler_too(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC")
    made = tools / "tools"
    made.mkdir()
    (made / "libraries").write_text("crt1.o\nlibc.a")
    monkeypatch.setattr(cache, "step", lambda *_: made)
    given = toolchain.toolchain(replace(ROUTER, gcc=""))
    assert (given.ar, given.strip) == (str(tools / "sdk-ar"), str(tools / "sdk-strip"))
    assert "-DGIVEN_BY_CFLAGS" in given.flags
    assert given.cc == str(made / "cc")


def test_tools_that_are_not_named_are_those_of_the_compiler(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AR")
    assert Path(toolchain.toolchain(ROUTER).ar).name == "ar"
    assert any("-print-prog-name=ar" in line for line in called(tools, "cc"))


def test_fast_files_of_an_sdk_with_small_mips_code_are_plain_mips(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tools
    assert toolchain.toolchain(ROUTER).fast == ("-O2",)
    monkeypatch.setenv("CFLAGS", "-mips16 -mips32r2")
    assert toolchain.toolchain(ROUTER).fast == ("-O2", "-mno-mips16")


def test_the_interpreters_configure_gets_the_tools_and_this_machines_python_does_not(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str | None]] = []
    for module in (cpython, host):
        monkeypatch.setattr(module, "run", lambda *_, env, **__: seen.append(env))
        monkeypatch.setattr(module.fetch, "unpacked", lambda _name: tools)
    monkeypatch.setattr(cpython.sqlite, "amalgamation", lambda: tools)
    monkeypatch.setattr(cpython.host, "python", lambda: tools / "python")
    (tools / "python").mkdir()
    cpython._make(toolchain.toolchain(ROUTER), tools / "python", tools, tools)
    assert (seen[0]["CC"], seen[0]["AR"]) == (str(tools / "sdk-cc"), str(tools / "sdk-ar"))
    assert "-DGIVEN_BY_CFLAGS" in str(seen[0]["OPT"])
    host._make(tools)
    assert {name: seen[-1][name] for name in ("CC", "AR", "LDFLAGS")} == {"CC": None, "AR": None, "LDFLAGS": None}


def test_what_an_sdk_sets_is_kept_from_programs_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "mips-openwrt-linux-musl-gcc")
    assert "mips-openwrt" not in run(["env"], env=NATIVE)
    assert "mips-openwrt" in run(["env"])


# --- the cache


def aged(folder: Path, name: str, days: float, size: int = 10) -> Path:
    path = folder / "steps" / name
    path.mkdir(parents=True)
    (path / "data").write_bytes(bytes(size))
    (path / cache.STAMP).touch()
    os.utime(path / cache.STAMP, (1e9 - days * DAY, 1e9 - days * DAY))
    path.with_suffix(".lock").touch()
    return path


def test_results_that_nobody_has_asked_for_in_thirty_days_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QPQ_CACHE", str(tmp_path))
    old, new = aged(tmp_path, "part-a", 31), aged(tmp_path, "part-b", 29)
    stray = tmp_path / "downloads" / "old.tar"
    stray.parent.mkdir()
    stray.touch()
    os.utime(stray, (1.0, 1.0))
    (tmp_path / "micropython").mkdir()
    assert cache.prune(1e9) == ["old.tar", "part-a"]
    assert (old.exists(), new.exists(), stray.exists()) == (False, True, False)
    assert not old.with_suffix(".lock").exists()
    assert (tmp_path / "micropython").exists()


def test_beyond_the_size_the_results_unused_for_longest_go_but_none_that_a_build_may_be_using(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QPQ_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "KEPT_BYTES", 250)
    for name, days in (("a-1", 3), ("b-2", 2), ("c-3", 1), ("d-4", 0), ("e-5", 0), ("f-6", 0)):
        aged(tmp_path, name, days, 100)
    assert cache.prune(1e9) == ["a-1", "b-2", "c-3"]


def test_a_result_is_as_young_as_its_last_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QPQ_CACHE", str(tmp_path))
    folder = cache.step("part", ["a"], lambda _: None)
    os.utime(folder / cache.STAMP, (1.0, 1.0))
    assert cache.step("part", ["a"], lambda _: None) == folder
    assert (folder / cache.STAMP).stat().st_mtime > 1.0


def test_a_result_that_another_build_is_making_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QPQ_CACHE", str(tmp_path))
    path = aged(tmp_path, "part-a", 99)
    holder = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print('held', flush=True); input()"
    command = [sys.executable, "-c", holder, str(path.with_suffix(".lock"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert cache.prune(1e9) == []
        other.communicate("\n")
    assert cache.prune(1e9) == ["part-a"]


# --- the machine


def test_a_machine_that_lacks_something_is_told_what_by_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(setup, "_there", lambda _name: False)
    monkeypatch.setattr(setup.os, "geteuid", lambda: 1000)
    with pytest.raises(CrossError, match=r"gcc-mips-linux-gnu.*libc6-dev.*qemu-user.*tcl"):
        setup.install([ROUTER])


def test_only_what_the_wanted_targets_need_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(setup, "_there", lambda _name: False)
    here = setup.missing([target("x86_64")])
    assert not any("mips" in package or "qemu" in package for package in here)
    assert {"gcc-mips-linux-gnu", "gcc-mipsel-linux-gnu"} <= set(setup.missing(list(TARGETS.values())))
    monkeypatch.setenv("CC", "mips-openwrt-linux-musl-gcc")
    assert "gcc-mips-linux-gnu" not in setup.missing([ROUTER])


def test_tests_of_a_target_that_cannot_run_here_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_tests.shutil, "which", lambda _name: None)
    with pytest.raises(CrossError, match=r"mips_24kc cannot run here, qemu-mips is missing: .*cross-setup"):
        target_tests.run([target("x86_64"), ROUTER], [])


def test_the_tests_of_every_room_and_of_the_stand_ins_run_on_a_target() -> None:
    names = {path.name for each in target_tests.runs(ROUTER, Path("python")) for path in map(Path, each.command)}
    tests = Path(__file__).resolve().parents[1]
    for room in ("crypto", "mesh", "wire"):
        for kind in ("unit", "property"):
            assert names >= {path.name for path in (tests / kind).glob(f"test_{room}_*.py")} - set(
                target_tests.LEFT_OUT
            )
    assert {"test_vectors.py", "test_contract.py", "test_native.py", "test_stdlib.py", "test_side_by_side.py"} <= names


@pytest.mark.parametrize(("name", "left_out"), [("mips_24kc", set(target_tests.WORLDS)), ("x86_64", set())])
def test_where_few_examples_are_asked_for_whole_networks_run_natively_only(
    monkeypatch: pytest.MonkeyPatch, name: str, left_out: set[str]
) -> None:
    def names() -> set[str]:
        return {Path(word).name for each in target_tests.runs(target(name), Path("python")) for word in each.command}

    monkeypatch.delenv("QPQ_EXAMPLES", raising=False)
    usual = names()
    monkeypatch.setenv("QPQ_EXAMPLES", "5")
    assert usual - names() == left_out
