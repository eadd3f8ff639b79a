"""Two hops: three nodes in a line, qpq's with a relay and LXMF's with a transport node, in rounds that take turns."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import inside
import lxmf_side
import qpq_inside

if TYPE_CHECKING:
    from pathlib import Path

    from driven import DrivenPair
    from figures import Row
    from rig import Line

LABEL = "two hops, tmpfs, IPv4"
_NAMES = {
    "cpu_ms_per_message": "processor time of the two ends, a message",
    "link_bytes_per_message": "Ethernet bytes both ways on the first link, a message",
}
KINDS = (
    *((key, _NAMES.get(key, text), unit, better) for key, text, unit, better in inside.KINDS),
    ("relay_cpu_ms_per_message", "processor time of the node in the middle, a message", "ms", "less"),
)


def measure(
    line: Line,
    folder: Path,
    python: Path | None,
    *,
    flights: tuple[int, ...],
    count: int,
    seconds: float,
    size: int,
) -> dict[str, inside.Rounds]:
    """Return the rounds of ``qpq``, and of ``lxmf`` where its ``python`` is there."""
    with ExitStack() as stack:
        pairs: dict[str, DrivenPair] = {"qpq": stack.enter_context(qpq_inside.three(line, folder))}
        if python is not None:
            pairs["lxmf"] = stack.enter_context(lxmf_side.three(python, line, folder / "lxmf"))
        return inside.in_turns(pairs, flights=flights, count=count, seconds=seconds, size=size)


def rows(found: dict[str, inside.Rounds]) -> list[Row]:
    """Put the medians side by side."""
    return inside.rows(found["qpq"], found.get("lxmf"), LABEL, KINDS)
