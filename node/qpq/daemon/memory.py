"""What this machine's memory allows: links, store, and whether the node carries anything for others."""

from __future__ import annotations

from dataclasses import dataclass

MEMINFO = "/proc/meminfo"
MIB = 1 << 20
LEAF_BELOW = 20 * MIB
"""Bytes of MemAvailable at the start below which a node is a leaf (DESIGN section 6)."""

_STEPS = (
    # MemTotal up to (the kernel keeps some of what the board has), links, bytes of store
    (96 * MIB, 24, 2 * MIB),
    (192 * MIB, 64, 4 * MIB),
    (384 * MIB, 128, 16 * MIB),
    (900 * MIB, 256, 64 * MIB),
)
_LARGE = (1000, 256 * MIB)
_MAX_READ = 16384


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of memory in all and available now; 0 where the kernel does not say."""

    total: int
    available: int


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """What the memory allows: most links, most bytes of store; ``leaf``: too little to carry for others."""

    max_links: int
    store_size: int
    leaf: bool


def read(path: str = MEMINFO) -> Memory:
    """Read /proc/meminfo (proc(5)); what is missing or cannot be read counts as 0."""
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_READ).decode("ascii", "replace")
    except OSError:
        return Memory(0, 0)
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit() and words[1:] == ["kB"]:
            found[name] = int(words[0]) * 1024
    free = found.get("MemFree", 0) + found.get("Buffers", 0) + found.get("Cached", 0)  # before Linux 3.14
    return Memory(found.get("MemTotal", 0), found.get("MemAvailable", free))


def limits(memory: Memory) -> MemoryLimits:
    """Return what ``memory`` allows: 64 MB 24 links, 128 MB 64, a server 1000; unknown counts as 64 MB."""
    leaf = 0 < memory.available < LEAF_BELOW
    for most, max_links, store_size in _STEPS:
        if memory.total <= most:
            return MemoryLimits(max_links, store_size, leaf)
    return MemoryLimits(*_LARGE, leaf)
