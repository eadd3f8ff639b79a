"""Prometheus text (exposition format 0.0.4) from counters and gauges, and its file in RAM."""

from __future__ import annotations

import contextlib
import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpq.errors import QpqError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PREFIX = "qpq_"
MAX_SERIES = 512
"""Series in one text; the names are ours, so more is a fault."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,90}")
_OTHER = re.compile(r"[^a-z0-9]+")


class MetricsError(QpqError):
    """Metrics that cannot be made or written; the message names the series or the file."""


@dataclass(frozen=True, slots=True)
class Series:
    """One number: ``name`` without the prefix ``qpq_``, what it means, its value.

    ``counter``: it only grows while the process lives (its name then ends in ``_total``); else it is a gauge.
    """

    name: str
    help: str
    value: float
    counter: bool = False


def render(series: Iterable[Series]) -> str:
    """Return the exposition text, sorted by name.

    Series carry no labels: nothing of a user or a peer can get in. Raises MetricsError for a bad or double name.
    """
    rows = sorted(series, key=lambda row: row.name)
    names = {row.name for row in rows}
    if len(rows) > MAX_SERIES or len(names) != len(rows):
        raise MetricsError(f"{len(rows)} series, {len(names)} names; at most {MAX_SERIES} are allowed, each once")
    return "".join(_rendered(row) for row in rows)


def from_counters(counters: Mapping[str, int], helps: Mapping[str, str] | None = None) -> list[Series]:
    """Return counters by their names in the program (``mesh.frames_in`` becomes ``mesh_frames_in_total``)."""
    texts = helps or {}
    return [
        Series(_OTHER.sub("_", name.lower()).strip("_") + "_total", texts.get(name, f"Counter {name}."), value, True)
        for name, value in counters.items()
    ]


def write(path: str, text: str) -> None:
    """Replace the file at ``path`` as one step, readable for all; without fsync: it belongs in RAM.

    Raises MetricsError.
    """
    draft = f"{path}.{os.getpid()}.tmp"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)  # left by a process of the same number that was killed
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
                os.fchmod(handle, 0o644)
            os.replace(draft, path)
        except OSError:
            os.unlink(draft)
            raise
    except OSError as error:
        raise MetricsError(f"{path} cannot be written: {error.strerror}") from None


def _rendered(row: Series) -> str:
    if not _NAME.fullmatch(row.name) or row.counter != row.name.endswith("_total"):
        raise MetricsError(f"{row.name!r} is no name for a {'counter' if row.counter else 'gauge'}")
    if not math.isfinite(row.value):
        raise MetricsError(f"{row.name}: {row.value} is no number")
    name = PREFIX + row.name
    text = row.help.replace("\\", r"\\").replace("\n", r"\n")
    kind = "counter" if row.counter else "gauge"
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name} {_number(row.value)}\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
