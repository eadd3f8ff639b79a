"""What the first message to somebody puts on the link, packet by packet: keys asked for, X-Wing's ciphertext, receipt.

Needs namespaces: on loopback packets cannot be told from others. ``python tests/bench/first.py`` prints each packet.
"""

from __future__ import annotations

import json
import select
import statistics
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))

import inside
import qpq_inside
import qpq_side
from figures import Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from rig import Host

OUTGOING = 4  # PACKET_OUTGOING (packet(7))
CALM = 0.7  # seconds without a packet: all that belongs to a message is through
SETTLED = 3.5  # seconds without one: the link has said all there is to say, its first comparison (1 to 3 s) too
LARGE = 1000  # bytes of a frame that only a first message or a bundle of keys fills
DEADLINE = 10.0  # seconds for a message
ROUNDS = 3
GOALS = {"first": 1900, "first_alone": 1900, "later_alone": 640}
LISTENER = """
import json, socket
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
    wire.bind(("eth0", 0))
    print("ready", flush=True)
    while True:
        frame, (_, protocol, kind, *_) = wire.recvfrom(65536)
        if protocol == 0x800:
            print(json.dumps([len(frame), kind]), flush=True)
"""

Packets = list[tuple[int, bool]]
"""Bytes of an Ethernet frame, and whether it is the sender's."""


def measure(ends: tuple[Host, Host], folder: Path, size: int) -> dict[str, float]:
    """Return Ethernet bytes both ways of a first message of ``size`` bytes, and of one later, padding off.

    Medians of some rounds: now and then the link has something of its own to say meanwhile.

    ``keys``: what goes before, until the recipient's keys are there. ``first_alone`` and ``later_alone``: nothing
    follows. ``first``: another message follows at once, as in the rows for one message in flight.
    """
    if not ends[0].namespace:
        return {}
    rounds = [_round(ends, folder, size) for _ in range(ROUNDS)]
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}


def _round(ends: tuple[Host, Host], folder: Path, size: int) -> dict[str, int]:
    found = {}
    with qpq_inside.pair(ends, folder, ipv6=False) as pair, listener(ends[0]) as wire:
        heard(wire, SETTLED)
        pair.burst(1, 1, DEADLINE, size)
        keys, first = cut(heard(wire))
        found["keys"], found["first_alone"] = octets(keys), octets(first)
        pair.burst(1, 1, DEADLINE, size)
        found["later_alone"] = octets(heard(wire))
    with qpq_inside.pair(ends, folder, ipv6=False) as pair, listener(ends[0]) as wire:
        heard(wire, SETTLED)
        pair.burst(2, 1, DEADLINE, size)
        _, both = cut(heard(wire))
        found["first"] = octets(both) - found["later_alone"]
    return found


def rows(found: dict[str, float], size: int) -> list[Row]:
    """Return the rows. LXMF has nothing like it: its keys come with announces, its secret with the link."""
    names = {
        "first": f"first message of {size} bytes, another behind it",
        "first_alone": f"first message of {size} bytes, nothing behind it",
        "later_alone": f"later message of {size} bytes, nothing behind it",
        "keys": "keys asked for before a first message",
    }
    goals = {key: "reached" if value < GOALS[key] else "missed" for key, value in found.items() if key in GOALS}
    return [
        Row(
            f"Ethernet bytes both ways: {text}; IPv4, {inside.ENDS}",
            "B",
            "less",
            found.get(key),
            None,
            f"goal under {GOALS[key]:,}: {goals[key]}" if key in goals else "",
        )
        for key, text in names.items()
    ]


def cut(packets: Packets) -> tuple[Packets, Packets]:
    """Return what is there before the sender's first full frame, and the rest."""
    at = next(n for n, (length, own) in enumerate(packets) if own and length >= LARGE)
    return packets[:at], packets[at:]


def octets(packets: Packets) -> int:
    """Return the bytes of all frames."""
    return sum(length for length, _ in packets)


@contextmanager
def listener(host: Host) -> Iterator[IO[bytes]]:
    """Give what tells of every IPv4 frame on the host's link."""
    command = host.command(sys.executable, "-c", LISTENER)
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:  # unread lines are seen by select
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process.stdout
        finally:
            process.kill()


def heard(wire: IO[bytes], rest: float = CALM) -> Packets:
    """Return the frames since the last call, once there was none for ``rest`` seconds."""
    packets: Packets = []
    while select.select([wire], [], [], rest)[0]:
        length, kind = json.loads(wire.readline())
        packets.append((length, kind == OUTGOING))
    return packets


if __name__ == "__main__":  # a look at these rows alone
    from rig import hosts

    with hosts() as both_ends:
        for row in rows(measure(both_ends, qpq_side.MEMORY, 200), 200):
            print(f"{row.name:70}{row.qpq or 0:8,}")
