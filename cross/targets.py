"""The targets: OpenWrt's names, and what each needs to be compiled and tried."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cross.errors import CrossError

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Target:
    """One architecture.

    ``gcc`` names the prefix of Debian's cross GCC where that makes the code (MIPS16e, which clang lacks); all others
    are compiled by zig's clang. ``zig_target`` and ``cpu`` always say which of zig's C libraries is linked.
    ``limit`` is the gate of `make size`, in bytes. ``pie`` says whether the ELF is position-independent;
    ``small`` is what asks GCC for smaller code where size counts more than speed.
    """

    name: str
    zig_target: str
    cpu: str
    host: str
    qemu: tuple[str, ...]
    limit: int
    bits: int
    big_endian: bool = False
    gcc: str = ""
    emulation: str = ""
    pie: bool = False
    small: tuple[str, ...] = ()


_ROWS = (
    Target(
        name="x86_64",
        zig_target="x86_64-linux-musl",
        cpu="x86_64",
        host="x86_64-linux-musl",
        qemu=(),
        limit=6_500_000,
        bits=64,
        emulation="elf_x86_64",
        pie=True,
    ),
    Target(
        name="aarch64_cortex-a53",
        zig_target="aarch64-linux-musl",
        cpu="cortex_a53",
        host="aarch64-linux-musl",
        qemu=("qemu-aarch64", "-cpu", "cortex-a53"),
        limit=6_500_000,
        bits=64,
        emulation="aarch64linux",
        pie=True,
    ),
    Target(
        name="arm_cortex-a7_neon-vfpv4",
        zig_target="thumb-linux-musleabihf",  # "arm-..." would emit ARM mode, a third larger
        cpu="cortex_a7",
        host="arm-linux-musleabihf",
        qemu=("qemu-arm", "-cpu", "cortex-a7"),
        limit=4_800_000,
        bits=32,
        emulation="armelf_linux_eabi",
        pie=True,
    ),
    Target(
        name="mips_24kc",
        zig_target="mips-linux-musleabi",
        cpu="mips32r2+soft_float",
        host="mips-linux-musl",
        qemu=("qemu-mips", "-cpu", "24Kc"),
        limit=4_800_000,
        bits=32,
        big_endian=True,
        gcc="mips-linux-gnu-",
        emulation="elf32btsmip",
        small=("-mips16",),
    ),
    Target(
        name="mipsel_24kc",
        zig_target="mipsel-linux-musleabi",
        cpu="mips32r2+soft_float",
        host="mipsel-linux-musl",
        qemu=("qemu-mipsel", "-cpu", "24Kc"),
        limit=4_800_000,
        bits=32,
        gcc="mipsel-linux-gnu-",
        emulation="elf32ltsmip",
        small=("-mips16",),
    ),
)
TARGETS = {row.name: row for row in _ROWS}
_ROUTER = TARGETS["mips_24kc"]
# Built only when asked for by name, and never shipped: what position-independent code costs on MIPS (docs/cross.md).
VARIANTS = {
    "mips_24kc-pie": replace(_ROUTER, name="mips_24kc-pie", pie=True),
    "mips_24kc-mips32-pie": replace(_ROUTER, name="mips_24kc-mips32-pie", pie=True, small=()),
}


def target(name: str) -> Target:
    """Return a target by name.

    Raises:
        CrossError: there is none of that name.
    """
    try:
        return {**TARGETS, **VARIANTS}[name]
    except KeyError:
        msg = f"no target {name!r}; there are: {', '.join(TARGETS)}"
        raise CrossError(msg) from None
