"""Facts for ``qpq doctor`` that the daemon can see without privileges; the console judges and advises.

Nothing here fails: what cannot be read is left out or None.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpq.daemon import clock, memory

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_INTERFACES = 64
MAX_READ = 64 * 1024
"""Bytes read of any file under /proc, /sys or /etc."""
MDNS_PORT = 5353

_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
_IFF_MULTICAST = 0x1000
_HINTS = (
    # a path that shows what guards this machine, what it is, where its rules are seen
    ("/lib/gluon", "gluon", "Gluon filters multicast to the mesh and input from it"),
    ("/etc/config/firewall", "openwrt", "OpenWrt's firewall: a rule must accept UDP to the node's port"),
    ("/run/firewalld", "firewalld", "firewalld runs: firewall-cmd --add-port=PORT/udp"),
    ("/etc/ufw/ufw.conf", "ufw", "ufw is installed: ufw allow PORT/udp"),
    ("/sys/module/nf_tables", "nftables", "nftables is loaded: nft list ruleset (as root)"),
    ("/sys/module/ip_tables", "iptables", "iptables is loaded: iptables -L -n (as root)"),
)


@dataclass(frozen=True, slots=True)
class Bound:
    """A socket the daemon wanted: what for, where, and what went wrong (empty: nothing)."""

    what: str
    address: str
    error: str = ""


def gather(data_dir: str, bound: Sequence[Bound], clock_choice: str, wall: float, root: str = "") -> dict[str, object]:
    """Return all facts as plain JSON; ``root`` is put before the system's paths, for tests."""
    judged = clock.assess(clock_choice, wall, root)
    found = memory.read(root + memory.MEMINFO)
    return {
        "sockets": [
            {"what": row.what, "address": row.address, "ok": not row.error, "error": row.error} for row in bound
        ],
        "interfaces": interfaces(root),
        "clock": {"trusted": judged.trusted, "reason": judged.reason, "time": int(wall)},
        "memory": {"total": found.total, "available": found.available, "leaf": memory.limits(found).leaf},
        "storage": storage(data_dir, root),
        "firewall": [{"what": what, "hint": hint} for path, what, hint in _HINTS if os.path.exists(root + path)],
        "mdns_port_users": port_users(MDNS_PORT, root),
        "udp_receive_errors": udp_receive_errors(root),
    }


def interfaces(root: str = "") -> list[dict[str, object]]:
    """Return the network interfaces with what matters for discovery (from /sys/class/net), at most 64."""
    base = root + "/sys/class/net"
    try:
        names = sorted(os.listdir(base))[:MAX_INTERFACES]
    except OSError:
        return []
    rows: list[dict[str, object]] = []
    for name in names:
        try:
            flags = int(_read(f"{base}/{name}/flags"), 16)
        except ValueError:  # no interface (bonding_masters), or it went away
            continue
        rows.append({
            "name": name,
            "up": bool(flags & _IFF_UP),
            "multicast": bool(flags & _IFF_MULTICAST),
            "loopback": bool(flags & _IFF_LOOPBACK),
        })  # fmt: skip
    return rows


def storage(path: str, root: str = "") -> dict[str, object]:
    """Return where the data lies: file system, bytes free and in all, whether we may write."""
    try:
        state = os.statvfs(path)
    except OSError as error:
        return {"path": path, "error": error.strerror or str(error)}
    return {
        "path": path,
        "filesystem": _filesystem(os.path.realpath(path), root),
        "free": state.f_bavail * state.f_frsize,
        "total": state.f_blocks * state.f_frsize,
        "writable": os.access(path, os.W_OK),
    }


def port_users(port: int, root: str = "") -> int:
    """Return how many UDP sockets of this network namespace are bound to ``port`` (proc(5), /proc/net/udp)."""
    wanted = f":{port:04X}"
    count = 0
    for name in ("udp", "udp6"):
        for line in _read(f"{root}/proc/net/{name}").splitlines()[1:]:
            fields = line.split()
            count += len(fields) > 1 and fields[1].endswith(wanted)
    return count


def udp_receive_errors(root: str = "") -> int | None:
    """Return how many datagrams the kernel threw away for full buffers since boot, None where it does not say."""
    rows = [line.split() for line in _read(f"{root}/proc/net/snmp").splitlines() if line.startswith("Udp:")]
    try:
        names, values = rows
        return int(values[names.index("RcvbufErrors")])
    except (ValueError, IndexError):
        return None


def _filesystem(path: str, root: str) -> str | None:
    """Return the type of the file system that ``path`` is on: the longest mount point above it."""
    best: tuple[int, str] | None = None
    for line in _read(f"{root}/proc/mounts").splitlines():
        fields = line.split()
        if len(fields) > 2:  # noqa: PLR2004 (device, mount point, type: fstab(5))
            point = fields[1].rstrip("/")
            if (path == point or path.startswith(point + "/")) and (best is None or len(point) >= best[0]):
                best = (len(point), fields[2])
    return best[1] if best else None


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_READ).decode("ascii", "replace")
    except OSError:
        return ""
