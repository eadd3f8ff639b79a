"""What this machine's memory allows: links, store, and whether the node carries anything for others."""

from __future__ import annotations

from dataclasses import dataclass

from qpq.mesh.limits import KIB, Limits

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
_LARGE_STORE = 16 * MIB
"""Bytes from which a node has the core's usual limits."""
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


def core_limits(*, max_links: int, store_bytes: int) -> Limits:
    """Return the core's limits for a node with so many links and a store of so many bytes."""
    if store_bytes >= _LARGE_STORE:
        return Limits(
            max_links=max_links,
            relay_bytes=store_bytes * 3 // 8,
            flood_bytes=min(16 * MIB, store_bytes // 8),
        )
    scale = max(1, store_bytes // (2 * MIB))
    return Limits(
        max_links=max_links,
        max_pending=8 * min(scale, 4),
        peer_frames=500.0 * min(scale, 8),
        peer_bytes=0.5 * MIB * min(scale, 8),
        max_candidates=128 if scale == 1 else 256,
        outbox_count=100 * scale,
        outbox_bytes=256 * KIB * scale,
        recipient_count=50 * scale,
        window_count=min(64, 16 * scale),
        window_bytes=min(256 * KIB, 64 * KIB * scale),
        inbox_count=1_000 * scale,
        inbox_bytes=512 * KIB * scale,
        tombstones=1_024 * scale,
        relay_bytes=store_bytes * 3 // 8,
        relay_rate=128.0 * KIB * scale,
        relay_burst=512.0 * KIB * scale,
        proofs=1_024 * scale,
        proof_burst=64,
        routes=min(2_048, 384 * scale),
        searches=64,
        askers=min(2_048, 256 * scale),
        asked=min(1_024, 256 * scale),
        probes=64,
        flood_bytes=256 * KIB * scale,
        known_ids=1_024 * scale,
        flood_rate=24.0 * KIB * min(scale, 2),
        flood_senders=8,
        missing_ids=256 * scale,
        channels=64,
        sessions=64 * scale,
        keys_held_bytes=32 * KIB,
        keys_asked=64,
        keys_expected=256,
        keys_owed=64,
        keys_burst=16,
        keys_told=256,
        control_rate=0.5,
        control_burst=32,
        agreement_rate=0.5,
        agreement_burst=16,
        vain_rate=1.0 * min(scale, 4),
        vain_burst=32,
        vain_senders=8,
        pairs_proven=128,
        senders_opened=64 * scale,
        controls=min(256, 32 * scale),
        outward_window=8,
        outward_users=64,
        inward_count=16 * scale,
        inward_domain=8 * scale,
        outside_words=min(128, 16 * scale),
        bundles=32 * min(scale, 8),
        unstored=64,
        late_receipts=128,
    )
