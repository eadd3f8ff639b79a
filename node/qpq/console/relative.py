"""Times, durations and sizes as people say them."""

from __future__ import annotations

_STEPS = ((60, "s"), (3600, "min"), (86400, "h"))
_FIRST_CLOCK = 1_600_000_000
_KIBI = 1024


def duration(seconds: float | None) -> str:
    """Return ``45 s``, ``3 min``, ``5 h`` or ``2 d``; ``-`` when unknown or negative."""
    if seconds is None or seconds < 0:
        return "-"
    unit = 1
    for limit, name in _STEPS:
        if seconds < limit:
            return f"{int(seconds // unit)} {name}"
        unit = limit
    return f"{int(seconds // unit)} d"


def ago(when: float | None, now: float) -> str:
    """Return how long ago a Unix time was; ``-`` without a sane clock (0, or a minute in the future)."""
    if when is None or when < _FIRST_CLOCK or when > now + 60:
        return "-"
    passed = now - when
    return "now" if passed < 1 else duration(passed) + " ago"


def milliseconds(value: float | None) -> str:
    """Return a round-trip time: ``0.4 ms``, ``12 ms``."""
    if value is None or value < 0:
        return "-"
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"  # noqa: PLR2004 (one decimal below ten)


def size(count: float | None) -> str:
    """Return bytes as ``512 B``, ``1.5 KiB``, ``20 MiB``."""
    if count is None or count < 0:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < _KIBI or unit == "GiB":
            break
        count /= _KIBI
    return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"  # noqa: PLR2004
