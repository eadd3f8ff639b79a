"""Loaded by pytest on a target's interpreter (`make target-tests`): every test runs, with fewer random examples.

Under emulation an example takes ten to fifty times as long. Examples that a test names itself all run. What fails is
shown as it was found, not made smaller first.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hypothesis import Phase, settings

if TYPE_CHECKING:
    import pytest

EXAMPLES = int(os.environ.get("QPQ_EXAMPLES") or "20")
MACHINES = max(1, EXAMPLES // 3)  # each has dozens of steps
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
SETTINGS = "_hypothesis_internal_use_settings"  # where hypothesis keeps a test's own (its version is pinned)


def fewer(kept: settings, most: int) -> settings:
    """Return a test's own settings with no more examples than ``most``."""
    return settings(kept, max_examples=min(kept.max_examples, most), phases=PHASES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Change the settings of functions, and of state machines, whose classes have them."""
    done: set[Any] = set()
    for item in items:
        given: Any = getattr(item, "obj", None)
        given = getattr(given, "__func__", given)
        if hasattr(given, SETTINGS) and given not in done:
            done.add(given)
            setattr(given, SETTINGS, fewer(getattr(given, SETTINGS), EXAMPLES))
        owner: Any = getattr(item, "cls", None)
        if isinstance(getattr(owner, "settings", None), settings) and owner not in done:
            done.add(owner)
            owner.settings = fewer(owner.settings, MACHINES)
