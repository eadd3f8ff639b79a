"""Who writes to whom, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qpq.crypto.channels import channel_id, open_key
from qpq.mesh import events
from sim import topology
from sim.hosts import CoreHost
from sim.liars import honest_graph
from sim.outside import THERE
from sim.record import Message

if TYPE_CHECKING:
    import random

    from sim.hosts import Host
    from sim.run import Run

TOPIC = "town square"
DAY = 86_400
DEFAULT_SIZE = 200
DEFAULT_TTL = 7 * DAY


def plan(result: Run, rng: random.Random) -> None:
    """Put all that users will send on the agenda."""
    for entry in result.scenario.traffic:
        start = result.world.now + entry.get("start", 0.0)
        over = entry.get("over", result.scenario.duration / 2)
        count = entry["count"]
        chooser = Chooser(result, rng)
        for number in range(count):
            at = start + over * (number + rng.random()) / count
            result.world.agenda.at(at, _send, (result, chooser, entry))


class Chooser:
    """Draws senders and recipients; honest ones, and of those only who runs at the time."""

    def __init__(self, result: Run, rng: random.Random) -> None:
        self.result = result
        self.random = rng
        graph = honest_graph(result)
        self.good = graph.components(1 - topology.GOOD_TQ)
        self.joined = graph.components(topology.REACHABLE_LOSS)
        self.hosts = [host for host, honest in zip(result.world.hosts, result.honest, strict=True) if honest]

    def sender(self) -> Host | None:
        """Return a node that runs."""
        running = [host for host in self.hosts if host.awake]
        return self.random.choice(running) if running else None

    def pair(self, kind: str) -> tuple[Host, Host] | None:
        """Return who writes to whom: ``ends`` the first to the last, ``good`` over good links, else anybody."""
        hosts = self.hosts
        if kind == "ends":
            return hosts[0], hosts[-1]
        for _ in range(1000):
            sender, other = self.sender(), self.random.choice(hosts)
            if sender is None or other is sender:
                continue
            same = self.good if kind == "good" else self.joined
            if kind == "any" or same[sender.number] == same[other.number]:
                return sender, other
        return None


def _send(what: tuple[Run, Chooser, dict[str, Any]]) -> None:
    result, chooser, entry = what
    if entry["kind"] == "broadcast":
        sender = chooser.sender()
        if sender is not None:
            _broadcast(result, chooser, sender, entry)
        return
    pair = chooser.pair(entry.get("pairs", "reachable"))
    if pair is not None:
        unicast(result, chooser, *pair, entry)


def unicast(result: Run, chooser: Chooser, sender: Host, other: Host, entry: dict[str, Any]) -> None:
    """Let one user write to another."""
    world = result.world
    ttl, size = entry.get("ttl", DEFAULT_TTL), entry.get("size", DEFAULT_SIZE)
    message_id = world.random.randbytes(16)
    moving = bool(result.scenario.mobility)
    message = Message(
        world.now,
        sender.number,
        frozenset({other.number}),
        "unicast",
        ttl,
        good=moving or chooser.good[sender.number] == chooser.good[other.number],
        reachable=moving or chooser.joined[sender.number] == chooser.joined[other.number],
    )
    world.record.sent(message_id, message)
    if isinstance(sender, CoreHost):
        padding = result.scenario.sessions
        domain = THERE if entry["kind"] == "outside" else ""
        text = events.SendText(sender.user, other.user, message_id, "x" * size, ttl, padding=padding, domain=domain)
        sender.act(text, message_id)
    else:
        sender.send(other, message_id, size, ttl)  # type: ignore[attr-defined]


def _broadcast(result: Run, chooser: Chooser, sender: Host, entry: dict[str, Any]) -> None:
    world = result.world
    key = open_key(TOPIC)
    ttl, size = entry.get("ttl", DAY), entry.get("size", DEFAULT_SIZE)
    readers = frozenset(
        host.number
        for host in chooser.hosts
        if isinstance(host, CoreHost)
        and key in host.channels
        and host is not sender
        and chooser.joined[host.number] == chooser.joined[sender.number]
    )
    good = frozenset(number for number in readers if chooser.good[number] == chooser.good[sender.number])
    message_id = world.random.randbytes(16)
    message = Message(world.now, sender.number, readers, "broadcast", ttl, good=len(good) == len(readers))
    world.record.sent(message_id, message)
    if isinstance(sender, CoreHost):
        if key not in sender.channels:
            sender.channels[key] = events.ChannelJoined(sender.user, key)
            sender.act(sender.channels[key])
        event = events.SendBroadcast(
            sender.user, channel_id(key), message_id, "x" * size, ttl, padding=result.scenario.sessions
        )
        sender.act(event, message_id)
