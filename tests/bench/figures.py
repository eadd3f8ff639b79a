"""The figures of the bench as values, and how they are printed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Burst:
    """One run of messages with receipts: ``latencies`` and ``elapsed`` in seconds.

    ``cpu_ms`` is both ends' processor time together, ``link_bytes`` Ethernet bytes both
    ways (None: not measured), ``unfinished`` messages without a receipt when time was up,
    ``relay_cpu_ms`` the processor time of a node between the two (None: there is none).
    """

    latencies: list[float]
    elapsed: float
    cpu_ms: float
    link_bytes: int | None
    unfinished: int
    relay_cpu_ms: float | None = None

    def summary(self) -> dict[str, float | int | None]:
        """Return the figures per message; None where there is none."""
        count = len(self.latencies)
        return {
            "messages": count,
            "messages_per_s": count / self.elapsed if self.elapsed else None,
            "p50_ms": percentile(self.latencies, 50) * 1e3 if count else None,
            "p99_ms": percentile(self.latencies, 99) * 1e3 if count else None,
            "cpu_ms_per_message": self.cpu_ms / count if count else None,
            "link_bytes_per_message": self.link_bytes / count if count and self.link_bytes is not None else None,
            "relay_cpu_ms_per_message": self.relay_cpu_ms / count if count and self.relay_cpu_ms is not None else None,
            "unfinished": self.unfinished,
        }


def joined(bursts: list[Burst]) -> Burst:
    """Return several runs as one."""
    octets = [burst.link_bytes for burst in bursts]
    relays = [burst.relay_cpu_ms for burst in bursts]
    return Burst(
        latencies=[value for burst in bursts for value in burst.latencies],
        elapsed=sum(burst.elapsed for burst in bursts),
        cpu_ms=sum(burst.cpu_ms for burst in bursts),
        link_bytes=None if None in octets else sum(value or 0 for value in octets),
        unfinished=sum(burst.unfinished for burst in bursts),
        relay_cpu_ms=None if None in relays else sum(value or 0 for value in relays),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of both sides; ``better`` is ``less`` or ``more``; None: not measured."""

    name: str
    unit: str
    better: str
    qpq: float | None
    lxmf: float | None
    note: str = ""

    @property
    def ahead(self) -> bool | None:
        """Whether qpq is ahead; None when one side has no figure."""
        if self.qpq is None or self.lxmf is None:
            return None
        return self.qpq < self.lxmf if self.better == "less" else self.qpq > self.lxmf

    def document(self) -> dict[str, object]:
        """Return the row as it stands in bench.json."""
        return {**asdict(self), "ahead": self.ahead}


def percentile(values: list[float], percent: float) -> float:
    """Return the nearest-rank percentile of ``values`` (not empty)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def table(rows: list[Row]) -> str:
    """Return the rows as text, one line each, with a mark where LXMF is ahead."""
    head = ("", "unit", "qpq", "LXMF", "")
    marks = {True: "", False: "behind", None: ""}
    lines = [
        head,
        *(
            (
                r.name,
                r.unit,
                _number(r.qpq),
                _number(r.lxmf),
                " ".join(part for part in (r.note, marks[r.ahead]) if part),
            )
            for r in rows
        ),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}  {e}".rstrip()
        for a, b, c, d, e in lines
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:,.{digits}f}"
