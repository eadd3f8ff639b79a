"""What the built binary has in its memory of secrets that it is done with: nothing, nor of their texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import binaries
import pytest
from remains import Looker, pair, what_is_done_with_is_gone

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.net


def test_the_binary_keeps_neither_used_keys_nor_removed_ones_nor_any_at_the_end(tmp_path: Path) -> None:
    with pair(tmp_path, binaries.command("x86_64")) as nodes:
        what_is_done_with_is_gone(*nodes, Looker(whole=True))
