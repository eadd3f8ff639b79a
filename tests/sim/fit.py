"""Holds the link model against real aioquic on the same lossy wire, and prints the constants the model uses.

``python -m sim.fit`` from ``tests/``: for each loss the same traffic goes over both, many seeds; what is printed is
delivery delay, bytes a message, hand-shakes and links lost, model beside library, and the sizes the model counts with.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sim import handshake, recovery, sizes, transport
from sim.echo import EchoHost
from sim.lines import ModelLines
from sim.medium import FRAMING, Quality
from sim.quic import QuicLines, seeded_urandom
from sim.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

REST_S = 1800
LOSSES = (0.0, 0.1, 0.3, 0.5, 0.8)
DELAY_S = 0.01


@dataclass
class Seen:
    """What many runs over one kind of link have shown; delays and times in seconds."""

    delays: list[float] = field(default_factory=list)
    linked: list[float] = field(default_factory=list)
    link_bytes: list[int] = field(default_factory=list)
    bytes_per_message: list[float] = field(default_factory=list)
    rest_bytes: list[float] = field(default_factory=list)
    links: int = 0
    lost: int = 0

    def delay(self, percent: float) -> float:
        """Return a percentile of the delivery delay."""
        return percentile(self.delays, percent)

    @property
    def mean_delay(self) -> float:
        """Return the mean of the delivery delay."""
        return statistics.fmean(self.delays) if self.delays else 0.0

    @property
    def size(self) -> float:
        """Return the Ethernet bytes per message, both ways, acknowledgements and receipt included."""
        return statistics.fmean(self.bytes_per_message)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile by the nearest rank; 0 of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def pair(lines: type[ModelLines | QuicLines], seed: int, quality: Quality) -> tuple[World, EchoHost, EchoHost]:
    """Return a world of two nodes, of which the first dials the second for ever."""
    world = World(seed)
    a, b = EchoHost(world, 0), EchoHost(world, 1)
    for host in (a, b):
        world.add(host, lines)
    world.join(a, b, quality, quality)
    a.dials = b.address
    return world, a, b


def watch(
    lines: type[ModelLines | QuicLines],
    loss: float,
    seeds: Sequence[int],
    *,
    messages: int = 30,
    every_s: float = 3.0,
    size: int = 200,
    rest_s: float = REST_S,
) -> Seen:
    """Run the same traffic over several seeds: link up, messages both ways at random times, an hour at rest."""
    seen = Seen()
    for seed in seeds:
        with seeded_urandom(seed):
            _one(seen, *pair(lines, seed, Quality(loss, DELAY_S)), messages, every_s, size, rest_s)
    return seen


def _one(
    seen: Seen, world: World, a: EchoHost, b: EchoHost, messages: int, every_s: float, size: int, rest_s: float
) -> None:
    b.start()
    a.start()
    began = world.now
    while not (a.link and b.link) and world.now < began + 120:
        world.agenda.run(world.now + 0.01)
    seen.linked.append(world.now - began)
    world.agenda.run(world.now + 5)
    before = a.tx_bytes + b.tx_bytes
    seen.link_bytes.append(before)
    sent: list[tuple[EchoHost, float]] = []
    for number in range(messages):
        world.agenda.run(world.now + world.random.expovariate(1 / every_s))
        sender, reader = (a, b) if number % 2 else (b, a)
        sent.append((reader, world.now))
        sender.send(size)
    world.agenda.run(world.now + 60)
    after = a.tx_bytes + b.tx_bytes
    seen.bytes_per_message.append((after - before) / max(1, messages))
    world.agenda.run(world.now + rest_s)
    seen.rest_bytes.append((a.tx_bytes + b.tx_bytes - after) / max(1, rest_s) / 2)
    for reader in (a, b):
        times = [at for whom, at in sent if whom is reader]
        seen.delays.extend(
            reader.arrived[number + 1] - at for number, at in enumerate(times) if number + 1 in reader.arrived
        )
    seen.links += a.ups
    seen.lost += a.ups - 1


def table(seeds: int) -> str:
    """Return the comparison as text."""
    rows = ["loss  of       linked p50/p90 s   link B   delay mean/p50/p90/p99 ms      B/message  rest B/s  links lost"]
    for loss in LOSSES:
        for name, lines in (("aioquic", QuicLines), ("model", ModelLines)):
            seen = watch(lines, loss, range(seeds))  # type: ignore[arg-type]
            delays = "/".join(f"{1000 * value:.0f}" for value in (seen.mean_delay, *map(seen.delay, (50, 90, 99))))
            rows.append(
                f"{loss:4.0%}  {name:<8} {percentile(seen.linked, 50):6.2f}/{percentile(seen.linked, 90):6.2f}"
                f"   {statistics.fmean(seen.link_bytes):8.0f}   {delays:<28} {seen.size:9.0f}"
                f"  {statistics.fmean(seen.rest_bytes):8.2f}  {seen.lost:5d} of {seen.links}"
            )
    return "\n".join(rows)


def constants() -> str:
    """Return what the model counts with."""
    last = f"{handshake.FINISH_BYTES} + {handshake.DONE_BYTES} + {handshake.DONE_ACK_BYTES}"
    return "\n".join(
        (
            f"Ethernet + IPv6 + UDP a packet      {FRAMING} B",
            f"QUIC header and tag                 {sizes.HEADER + sizes.TAG} B",
            f"ACK frame of one range, at least    {sizes.ACK_LEAST} B",
            "STREAM frame                        2 B, and 1 to 4 for the offset",
            f"hand-shake                          2 x {recovery.PACKET} + {last} B of UDP payload",
            f"first probe                         {2 * recovery.INITIAL_RTT} s, doubling",
            f"acknowledgement waits               {World(0).link_limits.acknowledge_s} s, or {transport.EVERY} packets",
        )
    )


if __name__ == "__main__":
    print(constants())
    print(table(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
