"""The known name that a mistyped one most likely meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_LENGTH = 40
_SHORT = 4


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the closest of ``known`` names, None where nothing is close.

    Close: at most 2 single-character edits (1 for names of up to 4 characters), or it begins with ``name``.
    """
    if not name or len(name) > _MAX_LENGTH:
        return None
    word = name.lower()
    ranked = sorted((_distance(word, candidate.lower()), candidate) for candidate in known)
    if ranked and ranked[0][0] <= (1 if len(word) <= _SHORT else 2):
        return ranked[0][1]
    return next((candidate for _, candidate in ranked if candidate.lower().startswith(word)), None)


def hint(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean X?`` or nothing, to end an error's text with."""
    found = nearest(name, known)
    return f"; did you mean {found}?" if found is not None else ""


def _distance(left: str, right: str) -> int:
    """Return the edit distance of Levenshtein (insert, delete, replace)."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (a != b))
    return row[-1]
