"""Compilers: zig's clang for most targets, Debian's GCC (MIPS16e) with zig's C library for MIPS.

Each target gets one command ``cc`` that compiles and links, so that configure scripts need to know nothing; the
finished program is linked by the linker itself (see ``cross.link``). ``CC``, ``AR``, ``STRIP`` and ``CFLAGS`` of the
environment take the place of the target's own: so OpenWrt's SDK can build the program.
"""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cross import cache, fetch
from cross.errors import CrossError
from cross.process import NATIVE, run, run_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cross.targets import Target

REVISIONS = {"zig": "1", "gcc": "3"}  # of the commands made here: another one makes them, and all code, anew
COMMON = (
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-fomit-frame-pointer",
    "-fmerge-all-constants",
)
# zig turns -Oz into -Os unless it is told past the driver.
CLANG = ("-Os", "-Xclang", "-Oz", "-fno-sanitize=all", *COMMON)
GCC = ("-Os", *COMMON)
# 24Kc has no floating-point unit; MIPS16e halves the code; -mno-abicalls gives plain calls, at fixed addresses.
MIPS = ("-march=24kc", "-msoft-float", "-minterlink-mips16")
MIPS_FIXED = ("-mno-abicalls", "-fno-pic", "-fno-pie")
MIPS_MOVABLE = ("-mabicalls", "-fPIE")
FAST = ("-O2",)
FAST_CLANG = ("-O2", "-Xclang", "-O2")  # the later of two -Xclang options counts
PLAIN = "-DQPQ_PLAIN"  # tells the MIPS command to make MIPS32 code rather than MIPS16e
FAST_MIPS = ("-O2", PLAIN)
STACK = "16777216"  # bytes; musl gives a thread what the ELF header asks for, and else 128 KiB
EPOCH = "1735689600"  # 2025-01-01: the date that compilers write for __DATE__


PART_OF_LIBC = ("m", "pthread", "rt", "dl", "util")  # empty libraries, for configure scripts that ask for them


@dataclass(frozen=True, slots=True)
class Runtime:
    """The C library as zig builds it: what a static program starts with and ends on."""

    start: Path
    libraries: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The commands of one target and the flags that all of its code is compiled with."""

    target: Target
    cc: str
    ar: str
    strip: str
    flags: tuple[str, ...]
    key: str
    runtime: Runtime | None

    @property
    def fast(self) -> tuple[str, ...]:
        """Return the flags that ask for speed rather than for the least size."""
        if self.runtime is None:
            return (*FAST, "-mno-mips16") if "-mips16" in self.flags else FAST
        return FAST_MIPS if self.target.gcc else FAST_CLANG

    @property
    def static(self) -> str:
        """Return the option by which a compiler links a static program."""
        return "-static-pie" if self.target.pie else "-static"

    @property
    def env(self) -> dict[str, str | None]:
        """Return the environment of every compiler run: what it has to do is all in its arguments."""
        return {**NATIVE, "SOURCE_DATE_EPOCH": EPOCH, "LC_ALL": "C", **_zig_caches()}

    def compile(
        self, sources: Sequence[Path], flags: Iterable[str], folder: Path, *, plain: bool = False
    ) -> list[Path]:
        """Compile C sources into ``folder`` and return the objects; two sources of one name are told apart.

        ``plain`` asks for speed rather than the least size: -O2, and MIPS32 rather than MIPS16e.
        """
        folder.mkdir(parents=True, exist_ok=True)
        objects, commands = [], []
        fast = self.fast if plain else ()
        own = [
            *self.flags,
            *flags,
            *fast,
            f"-ffile-prefix-map={cache.cache_dir()}=.",
            f"-ffile-prefix-map={cache.ROOT}=.",
        ]
        for index, source in enumerate(sources):
            objects.append(folder / f"{index:03d}_{source.stem}.o")
            commands.append([*shlex.split(self.cc), *own, "-c", str(source), "-o", str(objects[-1])])
        run_all(commands, cwd=folder, env=self.env)
        return objects

    def archive(self, objects: Sequence[Path], library: Path) -> None:
        """Put objects into a static library."""
        library.parent.mkdir(parents=True, exist_ok=True)
        run([*shlex.split(self.ar), "rcs", library, *objects], env=self.env)


def toolchain(target: Target) -> Toolchain:
    """Return the commands for a target, made ready if need be."""
    extra = tuple(shlex.split(os.environ.get("CFLAGS", "")))
    given, strip = os.environ.get("CC"), os.environ.get("STRIP", "")
    pie = ("-fPIE",) if target.pie else ()
    if given:
        flags = (*GCC, *pie, *extra)
        version = run([*shlex.split(given), "--version"]).splitlines()[0]
        key = cache.digest(given, version, strip, *flags)
        return Toolchain(target, given, os.environ.get("AR") or beside(given, "ar"), strip, flags, key, None)
    flags = (*(GCC if target.gcc else CLANG), *pie, *extra)
    folder = cache.step(
        f"tools-{target.name}",
        [
            REVISIONS["gcc" if target.gcc else "zig"],
            cache.code_of("runtime/sync.c"),
            target.zig_target,
            target.cpu,
            str(target.pie),
            *target.small,
            *_zig_key(),
            _gcc_version(target),
        ],
        lambda folder: _make_tools(target, folder),
    )
    runtime = _runtime(folder)
    key = cache.digest(folder.name, strip, *flags, *FAST, STACK, EPOCH)
    return Toolchain(target, str(folder / "cc"), os.environ.get("AR") or str(folder / "ar"), strip, flags, key, runtime)


def beside(compiler: str, program: str) -> str:
    """Return the program that a compiler itself would use."""
    found = run([*shlex.split(compiler), f"-print-prog-name={program}"]).strip()
    return found if shutil.which(found) else program


def zig() -> Path:
    """Return the zig program."""
    return fetch.unpacked("ziglang") / "ziglang" / "zig"


def linker(target: Target) -> list[str]:
    """Return the linker's command."""
    return [f"{target.gcc}ld"] if target.gcc else [str(zig()), "ld.lld"]


def _zig_key() -> list[str]:
    pin = fetch.pins()["ziglang"]
    return [pin.version, pin.sha256]


def _zig_caches() -> dict[str, str]:
    folder = str(cache.cache_dir() / "zig")
    return {"ZIG_GLOBAL_CACHE_DIR": folder, "ZIG_LOCAL_CACHE_DIR": folder}


def _gcc_version(target: Target) -> str:
    if not target.gcc:
        return ""
    program = f"{target.gcc}gcc"
    if not shutil.which(program):
        msg = f"{program} is missing: as root, `make cross-setup` installs what the build needs (Debian)"
        raise CrossError(msg)
    return run([program, "--version"]).splitlines()[0]


def _make_tools(target: Target, folder: Path) -> None:
    zig_cc = f'"{zig()}" cc -target {target.zig_target} -mcpu={target.cpu}'
    quiet = "-Wno-date-time -Wno-error=date-time -Wno-unused-command-line-argument"
    plain = _script(folder / "zigcc", f'exec {zig_cc} "$@" {quiet}')
    _script(folder / "zigar", f'exec "{zig()}" ar "$@"')
    runtime = _discover(plain, target, folder)
    if target.gcc:
        _gcc_tools(target, folder, runtime)
    else:
        _script(folder / "cc", f'exec {zig_cc} "$@" {quiet}')
        _script(folder / "ar", f'exec "{zig()}" ar "$@"')


def _gcc_tools(target: Target, folder: Path, runtime: Runtime) -> None:
    gcc = f"{target.gcc}gcc"
    include = zig().parent / "lib" / "libc" / "include"
    own = Path(run([gcc, "-print-file-name=include"]).strip())
    family = target.zig_target.split("-", 1)[0].removesuffix("el")
    folders = [
        own,
        *(include / name for name in (f"{family}-linux-musl", "generic-musl", f"{family}-linux-any", "any-linux-any")),
    ]
    search = "-nostdinc " + " ".join(f'-isystem "{path}"' for path in folders)
    # The processor's flags come last: some sources of CPython ask for -fPIC.
    compile_ = f'exec {gcc} {search} "$@" $small'
    sync = folder / "sync.o"
    source = cache.CROSS / "runtime" / "sync.c"
    plain = (*MIPS, *(MIPS_MOVABLE if target.pie else MIPS_FIXED))
    run([gcc, "-Os", *plain, f"-ffile-prefix-map={cache.ROOT}=.", "-c", source, "-o", sync])
    for name in PART_OF_LIBC:
        run([f"{target.gcc}ar", "rcs", folder / "lib" / f"lib{name}.a"])
    libraries = " ".join(f'"{path}"' for path in (sync, *runtime.libraries))
    static = "-static-pie" if target.pie else "-static -no-pie"
    link = (
        f'exec {gcc} {search} -nostdlib -nostartfiles {static} -L"{folder}/lib" "$@" $small "{runtime.start}" '
        f"-Wl,--start-group {libraries} -Wl,--end-group -Wl,-e,__start -Wl,--no-warn-mismatch -Wl,-z,stack-size={STACK}"
    )
    _script(
        folder / "cc",
        f'small="{" ".join((*plain, *target.small))}"\nlast=link\n'
        f'for word in "$@"; do\n  case "$word" in\n  -c | -E | -S | -M | -MM) last=compile ;;\n'
        f'  {PLAIN}) small="{" ".join(plain)}" ;;\n  esac\ndone\n'
        f"[ $last = link ] || {compile_}\n{link}",
    )
    _script(folder / "ar", f'exec {target.gcc}ar "$@"')
    (folder / "libraries").write_text("\n".join(str(path) for path in (runtime.start, sync, *runtime.libraries)))


def _discover(compiler: Path, target: Target, folder: Path) -> Runtime:
    """Let zig build its C library and note where the parts of it lie."""
    source = folder / "empty.c"
    source.write_text("int main(void) { return 0; }\n")
    pie = ["-static-pie", "-pie", "-fPIE"] if target.pie else ["-static"]
    command: list[str | Path] = [compiler, *CLANG, *pie, "--verbose", source, "-o", folder / "empty"]
    lines = [line for line in run(command, env=_zig_caches(), cwd=folder).splitlines() if line.startswith("ld.lld ")]
    words = [Path(word) for word in shlex.split(lines[-1])]
    start = next(word for word in words if word.name in {"crt1.o", "rcrt1.o"})
    libraries = tuple(word for word in words if word.name in {"libc.a", "libzigc.a", "libcompiler_rt.a"})
    kept = folder / "lib"
    kept.mkdir(exist_ok=True)
    copies = [Path(shutil.copy(path, kept)) for path in (start, *libraries)]
    (folder / "libraries").write_text("\n".join(str(path) for path in copies))
    return Runtime(copies[0], tuple(copies[1:]))


def _runtime(folder: Path) -> Runtime:
    start, *libraries = (Path(line) for line in (folder / "libraries").read_text().splitlines())
    return Runtime(start, tuple(libraries))


def _script(path: Path, body: str) -> Path:
    caches = "\n".join(f'export {name}="{value}"' for name, value in _zig_caches().items())
    path.write_text(f"#!/bin/sh\n{caches}\n{body}\n")
    path.chmod(0o755)
    return path
