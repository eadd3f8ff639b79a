"""Messages that wait for a recipient who is off: how long it takes, once it is back, until it has them all.

They wait at their sender, or at a third node whose sender is gone: qpq's relay has them in custody, LXMF's
propagation node is asked for them. Counted from when the recipient's node is up and has nothing but an
address to dial (LXMF's at a propagation node: from its request, the path being known) until the last is shown.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import lxmf_side
import qpq_inside
from driven import STEP, until_true
from figures import Row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from driven import Driven
    from rig import Host, Line

ROUNDS = 3
PATIENCE = 60.0  # seconds for messages to be put where they wait
PAUSE = 25.0  # seconds without a message until no more is waited for: LXMF tries again after 10
NOTHING = {"messages": 0.0, "seconds": None, "messages_per_s": None}

Figures = dict[str, float | None]


def measure(
    ends: tuple[Host, Host], line: Line, folder: Path, python: Path | None, count: int, size: int
) -> dict[str, dict[str, list[Figures]]]:
    """Return the rounds of each by where ``count`` messages waited; LXMF's where its ``python`` is there."""
    runs: dict[str, dict[str, Callable[[Path], Figures]]] = {
        "outbox": {"qpq": lambda place: _qpq_outbox(ends, place, count, size)},
        "relay": {"qpq": lambda place: _qpq_relay(line, place, count, size)},
    }
    if python is not None:
        runs["outbox"]["lxmf"] = lambda place: _lxmf_outbox(python, ends, place, count, size)
        runs["relay"]["lxmf"] = lambda place: _lxmf_relay(python, line, place, count, size)
    found: dict[str, dict[str, list[Figures]]] = {}
    for where, sides in runs.items():
        found[where] = {name: [] for name in sides}
        for number in range(ROUNDS):
            for name, run in sides.items():
                if name == "lxmf" and where == "outbox" and number:
                    continue  # one takes a minute or two
                place = folder / f"{where}-{name}-{number}"
                place.mkdir(mode=0o700)
                found[where][name].append(run(place))
    return found


def rows(found: dict[str, dict[str, list[Figures]]], count: int, size: int) -> list[Row]:
    """Put both sides' medians side by side; there is a time where all came, and a rate of those that did."""
    places = {
        "outbox": "waiting at their sender",
        "relay": "waiting at a third node, the sender gone (LXMF: a propagation node)",
    }
    made = []
    for where, text in places.items():
        ours, theirs = found[where]["qpq"], found[where].get("lxmf", [])
        name = f"{count:,} messages of {size} bytes {text}"
        for key, head, unit, better in (
            ("seconds", "all delivered after", "s", "less"),
            ("messages_per_s", "delivered", "1/s", "more"),
        ):
            note = "; ".join(part for part in (_missing(ours, "qpq", count), _missing(theirs, "LXMF", count)) if part)
            made.append(Row(f"{head}; {name}", unit, better, _median(ours, key), _median(theirs, key), note))
    return made


def _missing(rounds: list[Figures], name: str, count: int) -> str:
    least = min((one["messages"] or 0.0 for one in rounds), default=count)
    return f"{name}: {least:,.0f} came" if least < count else ""


def _median(rounds: list[Figures], key: str) -> float | None:
    values = [value for one in rounds if (value := one[key]) is not None]
    return statistics.median(values) if values else None


def _wait(receiver: Driven, since: float, count: int) -> Figures:
    """Wait until ``count`` messages have come, or no more do."""
    received, changed = 0, time.monotonic()
    while received < count and time.monotonic() < changed + PAUSE:
        time.sleep(STEP)
        known = receiver.ask("info")
        before, received = received, int(known["received"])  # type: ignore[call-overload]
        if received != before:
            changed = time.monotonic()
    if not received:
        return NOTHING
    seconds = float(known["latest"]) - since  # type: ignore[arg-type]
    return {
        "messages": float(received),
        "seconds": seconds if received == count else None,
        "messages_per_s": received / seconds,
    }


# --- qpq ------------------------------------------------------------------------------------------


def _qpq_outbox(ends: tuple[Host, Host], folder: Path, count: int, size: int) -> Figures:
    listens = [qpq_inside.listen(end.ipv4, n) for n, end in enumerate(ends)]

    def end(number: int) -> qpq_inside.Running:
        place = folder / str(number)
        return qpq_inside.node(ends[number], place, "--listen", listens[number], "--peer", listens[1 - number])

    with end(0) as sender:
        with end(1) as receiver:
            qpq_inside.Pair(sender, receiver, ends[0])
        sender.ask("post", count=count, size=size, within=PATIENCE)
        with end(1) as receiver:
            return _wait(receiver, float(receiver.ask("info")["ready"]), count)  # type: ignore[arg-type]


def _qpq_relay(line: Line, folder: Path, count: int, size: int) -> Figures:
    with qpq_inside.relay(line, folder / "relay") as relay:
        with qpq_inside.outer(line, folder / "sender", 0) as sender:
            with qpq_inside.outer(line, folder / "receiver", 1) as receiver:
                qpq_inside.Pair(sender, receiver, line.sender)
            sender.ask("post", count=count, size=size, within=PATIENCE)
            # More than the messages: each of their senders asks for the recipient's keys, and that waits as well.
            until_true(lambda: relay.ask("info")["held"] >= count, "the relay did not take all", PATIENCE)
        with qpq_inside.outer(line, folder / "receiver", 1) as receiver:
            return _wait(receiver, float(receiver.ask("info")["ready"]), count)  # type: ignore[arg-type]


# --- LXMF -----------------------------------------------------------------------------------------


def _lxmf_outbox(python: Path, ends: tuple[Host, Host], folder: Path, count: int, size: int) -> Figures:
    """Here the recipient dials: the sender would try again only after five seconds."""
    with lxmf_side.node(python, ends[0], "listen", ends[0].ipv4, folder / "sender") as sender:
        with lxmf_side.node(python, ends[1], "dial", ends[0].ipv4, folder / "receiver") as receiver:
            lxmf_side.Pair(sender, receiver, ends[0])
        sender.ask("post", count=count, size=size, within=2 * PATIENCE)
        with lxmf_side.node(python, ends[1], "dial", ends[0].ipv4, folder / "receiver") as receiver:
            return _wait(receiver, float(receiver.ask("announce")["now"]), count)  # type: ignore[arg-type]


def _lxmf_relay(python: Path, line: Line, folder: Path, count: int, size: int) -> Figures:
    """The messages are put into the propagation node's store: a sender would make stamps for hours."""

    def recipient() -> lxmf_side.Running:
        return lxmf_side.node(python, line.receiver, "dial", line.far.ipv4, folder / "receiver")

    with lxmf_side.relay(python, line, "propagation", folder / "relay") as relay:
        with recipient() as receiver:
            lxmf_side.introduce(receiver, relay)
        relay.ask("stock", count=count, size=size, within=PATIENCE)
        with recipient() as receiver:
            lxmf_side.introduce(relay, receiver)
            store = relay.ask("info")["store"]
            answer: dict[str, object] = {}

            def asked() -> object:
                answer.update(receiver.ask("fetch", store=store))
                return answer["known"] or (relay.ask("announce") and False)

            until_true(asked, "no path to the propagation node", step=0.3)
            return _wait(receiver, float(answer["now"]), count)  # type: ignore[arg-type]
