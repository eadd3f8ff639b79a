"""`make bench`: the node's figures beside LXMF's, measured in the same run on the same link.

Prints a table and writes dist/bench.json. Every burst is bounded in messages and seconds.
Messages are measured twice: like for like, both sides driven inside their own process (``inside.py``,
over two hops ``hops.py``, after the recipient was off ``drain.py``), and qpq's daemon driven by another
process through the console's socket, as people's programs do. There a rate is given over all rounds,
stalls included, and of the best round alone.

usage: run.py [--quick] [--no-lxmf]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))

import clients
import drain
import first
import hops
import inside
import lxmf_side
import qpq_links
import qpq_side
import relays
import rpc
import shim
from figures import Row, joined, table
from rig import hosts, line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from figures import Burst
    from rig import Host

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
RESULT = ROOT / "dist" / "bench.json"
SIZE = 200  # bytes of a message's text
FLIGHTS = (1, 32)
COUNT = 400  # messages of a burst: fewer than an inbox takes
WAITING = 1000  # messages that wait for one who is off
ROUNDS = 3
STALL = 1.0  # seconds for one message that nothing should hold up
STARTS = 5
SETTLE = 2.0  # seconds of rest before memory is read
SOCKET = "qpq through the console's socket"
WHICH = f"""
"{inside.ENDS}": like for like; the program that sends is the node's own process on both sides.
"{SOCKET}": a third process asks the daemon and hears of the receipt, which costs three wake-ups
more a message; LXMF beside it is driven in its own process."""

Figures = dict[str, object]


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="measure the node beside LXMF")
    parser.add_argument("--quick", action="store_true", help="short bursts: shows that the bench works, no more")
    parser.add_argument("--no-lxmf", action="store_true", help="leave LXMF out")
    options = parser.parse_args()
    seconds = 1.5 if options.quick else 5.0
    began = time.monotonic()
    with hosts() as ends:
        where = "two namespaces joined by a veth pair" if ends[0].namespace else "loopback (no root: no link bytes)"
        python, load = platform.python_version(), os.getloadavg()[0]
        print(f"bench: {where}; Python {python}, {os.cpu_count()} cores, load {load:.1f}", flush=True)
        python3 = None if options.no_lxmf else lxmf_python()
        alike = measure_inside(ends, seconds, python3)
        with line() as three, scratch() as folder:
            say("both, each in its own process, in turns: messages over two hops")
            far = hops.measure(three, folder, python3, flights=FLIGHTS, count=COUNT, seconds=seconds, size=SIZE)
            say(f"both: {WAITING} messages for one who was off")
            drained = drain.measure(ends, three, folder, python3, WAITING, SIZE)
        with scratch() as folder:
            say("qpq: first messages, packet by packet")
            begun = first.measure(ends, folder, SIZE)
        ours = measure_qpq(ends, seconds)
        theirs = {} if python3 is None else measure_lxmf(ends, seconds, python3)
        say("qpq: clients of its client port")
        with scratch() as folder:
            homes = clients.measure(folder, seconds, BUILD / "bench")
        say("qpq: relays of two domains")
        with scratch() as folder:
            joined_domains = relays.measure(folder, seconds)
        say("calls beside pycapnp's own RPC and a plain aioquic echo, in turns")
        with scratch() as folder:
            calls = rpc.measure(folder, seconds)
    rows = [*inside_rows(alike), *hops.rows(far), *drain.rows(drained, WAITING, SIZE)]
    rows += [*first.rows(begun, SIZE), *make_rows(ours, theirs)]
    print(table(rows))
    print(WHICH)
    added = shim.measure()
    print(clients.table(homes))
    print(relays.table(joined_domains))
    print(rpc.table(calls))
    print(shim.table(added))
    document = {
        "inside": alike,
        "two_hops": far,
        "drain": drained,
        "first": begun,
        "qpq": ours,
        "clients": homes,
        "relays": joined_domains,
        "calls": calls,
        "rpc_bytes": added,
        "lxmf": theirs,
        "rows": [row.document() for row in rows],
        "where": where,
        "python": python,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": load,
        "load_after": os.getloadavg()[0],
        "took_s": round(time.monotonic() - began, 1),
    }
    RESULT.parent.mkdir(exist_ok=True)
    before = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    document |= {key: before[key] for key in ("binary", "sealing") if key in before}  # of the other benches
    RESULT.write_text(json.dumps(document, indent=1) + "\n")
    print(f"written: {RESULT.relative_to(ROOT)} ({document['took_s']} s)")
    return 0


def measure_qpq(ends: tuple[Host, Host], seconds: float) -> Figures:
    """Measure the node: on tmpfs, with fsync on disk, and over IPv6."""
    memory = qpq_side.MEMORY if qpq_side.MEMORY.is_dir() else BUILD
    disk = BUILD / "bench"
    disk.mkdir(parents=True, exist_ok=True)
    figures: Figures = {"version": qpq_side.version()}
    say("qpq: start")
    figures["start_s"] = statistics.median(qpq_side.start_to_ready(ends[0], memory) for _ in range(STARTS))
    figures["modules"] = qpq_side.modules(memory)
    figures["rss_discovery_mib"] = qpq_side.rss_with_discovery(ends[0], memory, 2 * SETTLE)
    for name, place, ipv6 in (("tmpfs", memory, False), ("fsync", disk, False), ("ipv6", memory, True)):
        say(f"qpq: messages, {name}")
        with qpq_side.pair(ends, place, ipv6=ipv6) as nodes:
            figures[name] = _messages(nodes.burst, seconds, figures if name == "tmpfs" else None, nodes.idle_rss)
    for kind in ("fresh", "resumed"):
        say(f"qpq: links, {kind}")
        figures[f"links_{kind}"] = qpq_links.measure(ends, disk, seconds, kind)
    return figures


def lxmf_python() -> Path | None:
    """Install LXMF; None where it cannot be had."""
    say("lxmf: install")
    try:
        return lxmf_side.install(BUILD / "bench-venv")
    except lxmf_side.MissingError as error:
        print(f"bench: {error}; its column stays empty", file=sys.stderr)
        return None


def measure_inside(ends: tuple[Host, Host], seconds: float, python: Path | None) -> dict[str, dict[str, inside.Rounds]]:
    """Measure both like for like, on tmpfs, over IPv4 and IPv6."""
    found = {}
    for label, ipv6 in (("IPv4", False), ("IPv6", True)):
        say(f"both, each in its own process, in turns: messages, {label}")
        with scratch() as folder:
            found[label] = inside.measure(
                ends, folder, python, ipv6=ipv6, flights=FLIGHTS, count=COUNT, seconds=seconds, size=SIZE
            )
    return found


def inside_rows(found: dict[str, dict[str, inside.Rounds]]) -> list[Row]:
    """Return the like-for-like rows; LXMF's messages are in memory only, qpq's in the store on tmpfs."""
    return [
        row for label, sides in found.items() for row in inside.rows(sides["qpq"], sides.get("lxmf"), f"tmpfs, {label}")
    ]


def measure_lxmf(ends: tuple[Host, Host], seconds: float, python: Path) -> Figures:
    """Measure LXMF, method DIRECT with delivery proofs; its messages are kept in memory only."""
    figures: Figures = {"version": " ".join(lxmf_side.PACKAGES)}
    with scratch() as folder:
        say("lxmf: start")
        starts = [lxmf_side.start_to_ready(python, ends[0], folder / f"start{n}") for n in range(STARTS)]
        figures["start_s"] = statistics.median(starts)
        figures["modules"] = lxmf_side.modules(python, folder / "imports")
        for name, ipv6 in (("tmpfs", False), ("ipv6", True)):
            say(f"lxmf: messages, {name}")
            with lxmf_side.pair(python, ends, folder / name, ipv6=ipv6) as nodes:
                figures[name] = _messages(nodes.burst, seconds, figures if name == "tmpfs" else None, nodes.idle_rss)
                if name == "tmpfs":
                    say("lxmf: links")
                    figures["links"] = nodes.links(seconds).summary()
    return figures


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder in memory, removed at the end."""
    place = qpq_side.MEMORY if qpq_side.MEMORY.is_dir() else BUILD
    with tempfile.TemporaryDirectory(prefix="bench", dir=place) as name:
        yield Path(name)


def _messages(
    burst: Callable[[int, int, float, int], Burst], seconds: float, figures: Figures | None, rss: Callable[[], float]
) -> dict[str, object]:
    burst(20, 1, seconds, SIZE)  # the first messages set things up
    if figures is not None:
        time.sleep(SETTLE)
        figures["rss_mib"] = rss()
    found: dict[str, object] = {}
    for flight in FLIGHTS:
        tries = [burst(COUNT, flight, seconds, SIZE) for _ in range(ROUNDS)]
        best = max(tries, key=lambda one: len(one.latencies) / one.elapsed)
        stalled = sum(one.unfinished > 0 or max(one.latencies, default=0.0) > STALL for one in tries)
        found[str(flight)] = {
            **joined(tries).summary(),
            "best_round_per_s": best.summary()["messages_per_s"],
            "rounds": len(tries),
            "rounds_that_stalled": stalled,
        }
    return found


def make_rows(ours: Figures, theirs: Figures) -> list[Row]:
    """Put both sides' figures side by side."""
    rows = [
        Row("start to ready", "s", "less", _get(ours, "start_s"), _get(theirs, "start_s")),
        Row("resident memory, one link, idle", "MiB", "less", _get(ours, "rss_mib"), _get(theirs, "rss_mib")),
        Row("resident memory, all ways of discovery, no link", "MiB", "less", _get(ours, "rss_discovery_mib"), None),
        Row("modules imported", "", "less", _get(ours, "modules"), _get(theirs, "modules")),
    ]
    kinds = (
        ("messages_per_s", "messages, all rounds", "1/s", "more"),
        ("best_round_per_s", "messages, best round", "1/s", "more"),
        ("p50_ms", "receipt after, p50", "ms", "less"),
        ("p99_ms", "receipt after, p99", "ms", "less"),
        ("cpu_ms_per_message", "processor time of both ends, a message", "ms", "less"),
        ("link_bytes_per_message", "Ethernet bytes both ways, a message", "B", "less"),
    )
    for flight in FLIGHTS:
        for place, label in (("tmpfs", "tmpfs, IPv4"), ("fsync", "disk with fsync, IPv4"), ("ipv6", "tmpfs, IPv6")):
            # LXMF keeps messages in memory: the same figures stand beside both of ours.
            other = "tmpfs" if place == "fsync" else place
            for key, text, unit, better in kinds:
                if place != "tmpfs" and key == "cpu_ms_per_message":
                    continue
                name = f"{text}; {flight} in flight, {label}, {SOCKET}"
                path = (str(flight), key)
                rows.append(Row(name, unit, better, _get(ours, place, *path), _get(theirs, other, *path)))
    links = (
        ("messages_per_s", "links set up one after another", "1/s", "more"),
        ("p50_ms", "link ready after, p50", "ms", "less"),
        ("cpu_ms_per_message", "processor time of both ends, a link", "ms", "less"),
        ("link_bytes_per_message", "Ethernet bytes both ways, a link", "B", "less"),
    )
    # LXMF's link proves the listener only and knows no resumption: the same figures stand beside both of ours.
    for kind in ("fresh", "resumed"):
        for key, text, unit, better in links:
            rows.append(
                Row(f"{text}; {kind}", unit, better, _get(ours, f"links_{kind}", key), _get(theirs, "links", key))
            )
    return rows


def _get(figures: Figures, *path: str) -> float | None:
    value: object = figures
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return float(value) if isinstance(value, (int, float)) else None


def say(text: str) -> None:
    """Tell what is being measured."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
