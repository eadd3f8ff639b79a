"""What a run shows, as numbers: the same seed gives the same numbers, so nothing of real time is in here."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import TYPE_CHECKING, Any

from sim.fit import percentile
from sim.hosts import CoreHost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.hosts import Host
    from sim.record import Message
    from sim.run import Run

WAKE_UPS = 3
SOON_S = 10.0
SERVER_DEGREE = 32
"""Nodes with more neighbours are servers."""
SETTLED_BROADCAST = 10
"""From which broadcast in one network on the copies per delivery count."""
_CAPS = (
    "over_cap",
    "over_rate",
    "refused_quota",
    "refused_full",
    "evicted",
    "gave_way",
    "exceeded",
    "dropped",
    "_full",
)

Figures = dict[str, Any]


def figures(run: Run) -> Figures:
    """Return all figures of a run."""
    messages = list(run.world.record.messages.values())
    unicasts = [message for message in messages if message.kind == "unicast"]
    broadcasts = [message for message in messages if message.kind == "broadcast"]
    found: Figures = {
        "scenario": run.scenario.name,
        "seed": run.seed,
        "nodes": run.graph.nodes,
        "edges": len(run.world.edges),
        "topology": run.graph.note,
        "virtual_s": round(run.world.now, 3),
        "events": run.world.agenda.done,
        "unicast": _unicast(run, unicasts),
        "broadcast": _broadcast(broadcasts),
        "traffic": _traffic(run, messages),
        "frames": dict(sorted(run.world.record.frames.items())),
        "frame_bytes": dict(sorted(run.world.record.frame_bytes.items())),
        "strange_messages": run.world.record.strange,
        "shown_twice": sum(message.again for message in messages),
        "counters": _counters(run),
        "store": _store(run),
        "sessions": _sessions(run),
        "links": _links(run),
        "honesty": _honesty(run),
        "probes": {
            "asked": len(run.world.record.probes),
            "answered": sum(probe.ok for probe in run.world.record.probes),
        },
    }
    found["caps_hit"] = {name: n for name, n in found["counters"].items() if any(word in name for word in _CAPS)}
    return found


def delays(messages: Sequence[Message]) -> list[float]:
    """Return how long each delivery took, in seconds."""
    return [at - message.sent_at for message in messages for at in message.arrived.values()]


def spread(values: Sequence[float]) -> Figures:
    """Return mean, percentiles and largest of some values."""
    if not values:
        return {"count": 0}
    return {
        "count": len(values),
        "mean": _round(statistics.fmean(values)),
        "p50": _round(percentile(values, 50)),
        "p90": _round(percentile(values, 90)),
        "p99": _round(percentile(values, 99)),
        "max": _round(max(values)),
    }


def _unicast(run: Run, messages: list[Message]) -> Figures:
    if not messages:
        return {"sent": 0}
    reachable = [message for message in messages if message.reachable]
    good = [message for message in messages if message.good]
    arrived = [message for message in messages if message.arrived]
    soon = [message for message in good if message.arrived and min(delays([message])) <= SOON_S]
    told = sum(1 for message in messages if message.states and message.states[-1][1].value == "delivered")
    transfers = sum(message.transfers for message in messages)
    return {
        "sent": len(messages),
        "reachable": len(reachable),
        "good": len(good),
        "refused": sum(bool(message.refused) for message in messages),
        "delivered": len(arrived),
        "ratio": _part(len(arrived), len(messages)),
        "ratio_reachable": _part(sum(bool(message.arrived) for message in reachable), len(reachable)),
        "ratio_good_soon": _part(len(soon), len(good)),
        "told_delivered": told,
        "delay_s": spread(delays(messages)),
        "transfers": transfers,
        "transfers_per_delivery": _part(transfers, len(arrived)),
        "within_wake_ups": _part(*_wake_ups(run, messages)),
    }


def _wake_ups(run: Run, messages: list[Message]) -> tuple[int, int]:
    """Return how many messages arrived before their recipient's fourth start after they were sent, and of how many."""
    within = total = 0
    for message in messages:
        recipient = next(iter(message.recipients))
        starts = [at for at in run.world.hosts[recipient].starts if at > message.sent_at]
        deadline = starts[WAKE_UPS] if len(starts) > WAKE_UPS else float("inf")
        judged = len(starts) > WAKE_UPS or bool(message.arrived)
        total += judged
        within += judged and bool(message.arrived) and min(message.arrived.values()) <= deadline
    return within, total


def _broadcast(messages: list[Message]) -> Figures:
    if not messages:
        return {"sent": 0}
    wanted = sum(len(message.recipients) for message in messages)
    arrived = sum(len(message.arrived) for message in messages)
    return {
        "sent": len(messages),
        "wanted": wanted,
        "delivered": arrived,
        "ratio": _part(arrived, wanted),
        "complete": sum(len(message.arrived) == len(message.recipients) for message in messages),
        "delay_s": spread(delays(messages)),
        "transfers": sum(message.transfers for message in messages),
        "copies_per_delivery": [copies(message) for message in messages],
        "copies_settled": max(map(copies, _settled(messages)), default=0.0),
    }


def _settled(messages: list[Message]) -> list[Message]:
    """Leave out the first broadcasts of each network: a graph may be several that know nothing of each other."""
    seen: Counter[int] = Counter()
    settled = []
    for message in messages:
        network = min(message.recipients | {message.sender})
        seen[network] += 1
        if seen[network] >= SETTLED_BROADCAST:
            settled.append(message)
    return settled


def copies(message: Message) -> float:
    """Return how often an envelope was sent for each node that it reached."""
    return _part(message.transfers, len(message.holders - {message.sender}))


def _traffic(run: Run, messages: list[Message]) -> Figures:
    marks = run.marks
    settled, rested, end = marks["settled"], marks["rested"], marks["end"]
    rest_s = rested.at - settled.at
    at_rest = [(b - a) / rest_s for a, b in zip(settled.tx_bytes, rested.tx_bytes, strict=True)] if rest_s else []
    busy = [b - a for a, b in zip(rested.tx_bytes, end.tx_bytes, strict=True)]
    deliveries = sum(len(message.arrived) for message in messages)
    degrees = run.graph.degrees()
    least = run.scenario.nodes.get("server_degree", SERVER_DEGREE)
    return {
        "settling_bytes_per_node": spread(settled.tx_bytes),
        "rest_bytes_per_second_per_node": spread(at_rest),
        "rest_bytes_per_second_per_router": spread([rate for n, rate in enumerate(at_rest) if degrees[n] <= least]),
        "rest_bytes_per_second_per_server": spread([rate for n, rate in enumerate(at_rest) if degrees[n] > least]),
        "rest_by_kind": _by_kind(settled.tx_kinds, rested.tx_kinds, rest_s * len(at_rest)),
        "rest_by_frame": _by_kind(settled.frame_bytes, rested.frame_bytes, rest_s * len(at_rest)),
        "busy_bytes_per_node": spread(busy),
        "all_bytes_per_node": spread(end.tx_bytes),
        "packets": sum(end.tx_packets),
        "bytes": sum(end.tx_bytes),
        "busy_bytes_per_delivery": _part(sum(busy), deliveries),
    }


def _by_kind(before: Counter[str], after: Counter[str], over: float) -> Figures:
    """Return what was sent of each kind between two moments, bytes a second and node."""
    return {kind: _round((after[kind] - before[kind]) / over) for kind in sorted(after)} if over else {}


def _counters(run: Run) -> dict[str, int]:
    total: Counter[str] = Counter()
    for host in run.world.hosts:
        if isinstance(host, CoreHost):
            total.update(host.counts)
    return dict(sorted(total.items()))


def _store(run: Run) -> Figures:
    hosts = [host for host in run.world.hosts if isinstance(host, CoreHost)]
    rows = [len(host.store.relay) for host in hosts]
    sizes = [sum(len(row.envelope) for row in host.store.relay.values()) for host in hosts]
    return {
        "relayed_messages": spread(rows),
        "relayed_bytes": spread(sizes),
        "known_ids": spread([len(host.store.known) for host in hosts]),
        "tombstones": spread([len(host.store.tombstones) for host in hosts]),
    }


def _sessions(run: Run) -> Figures:
    """Return what came of sessions: ``part`` of the unicasts were sealed in one at last."""
    hosts = [host for host in run.world.hosts if isinstance(host, CoreHost)]
    sealed = [row.sealed for host in hosts for row in host.store.outbox.values() if row.sealed is not None]
    states = [len(row.data) for host in hosts for row in host.store.sessions.values()]
    counts = _counters(run)
    names = ("begun", "taken_up", "renewed", "unreadable", "evicted")
    return {
        "part": _part(sum(sealed), len(sealed)),
        "state_bytes": spread(states),
        **{name: counts.get(f"session.{name}", 0) for name in names},
    }


def _links(run: Run) -> Figures:
    pipes = [pipe for edge in run.world.edges.values() for pipe in (edge.there, edge.back)]
    return {
        "per_node": spread([len(host.lines.numbers) for host in run.world.hosts]),
        "packets": sum(pipe.packets for pipe in pipes),
        "lost": sum(pipe.lost for pipe in pipes),
        "dropped_by_queue": sum(pipe.dropped for pipe in pipes),
    }


def _part(some: float, whole: float) -> float:
    return _round(some / whole) if whole else 0.0


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def _honesty(run: Run) -> Figures:
    blame = run.world.record.punished
    honest = run.honest
    return {
        "liars": honest.count(False),
        "bound": _round(run.bound),
        "honest_punished": sum(n for (judge, judged), n in blame.items() if honest[judge] and honest[judged]),
        "liars_punished": sum(n for (judge, judged), n in blame.items() if honest[judge] and not honest[judged]),
        "over_caps": sum(_over_caps(host) for host in run.world.hosts if honest[host.number]),
    }


def _over_caps(host: Host) -> int:
    """Return how many of a node's indexes, and of its stores, are larger than their caps."""
    if not isinstance(host, CoreHost) or host.core is None:
        return 0
    core, limits = host.core, host.limits
    relaying, flooded, queries = core._relaying, core._flooded, core._routing.queries
    sizes = [
        (relaying._quotas.size, limits.relay_bytes),
        (flooded.size, limits.flood_bytes),
        (sum(len(row.envelope) for row in host.store.relay.values()), limits.relay_bytes + limits.flood_bytes),
        (len(relaying.proofs), limits.proofs + limits.proofs // 4),
        (len(relaying.proofs._spent), limits.proofs // 4),
        (len(core._tombstones), limits.tombstones),
        (flooded.known, limits.known_ids),
        (len(core._flooding._awaiting._missing), limits.missing_ids),
        (len(core._routing._routes), limits.routes),
        (len(core._routing._scores._deficits), limits.scores),
        (len(core._routing._scores._proven), limits.scores),
        (len(queries._askers), limits.askers),
        (len(queries._answered), limits.askers),
        (len(queries._asked), limits.asked),
        (len(queries._searches), limits.searches),
        (len(core._sessions), limits.sessions),
        (len(core._sessions._unstored), limits.unstored),
        (len(core._asking._asks), limits.keys_asked),
        (len(core._asking._expected), limits.keys_expected),
        (len(core._asking._bundles), limits.bundles),
        (len(core._giving._owed), limits.keys_owed),
        (len(core._giving._told), limits.keys_told),
        (len(core._controls._items), limits.controls),
    ]
    return sum(size > cap for size, cap in sizes)


def look_up(found: Figures, name: str) -> float:
    """Return the figure of a dotted name; a missing one is not a number, which no expectation holds."""
    value: Any = found
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return float("nan")
        value = value[part]
    return float(value) if isinstance(value, int | float) else float("nan")
