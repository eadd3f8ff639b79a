"""What a real daemon has in its memory of secrets that it is done with: nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from remains import Looker, pair, what_is_done_with_is_gone

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(os.geteuid() != 0, reason="looking into a daemon that forbids it needs root")
def test_used_keys_and_removed_ones_are_gone_at_once_and_all_at_the_end(tmp_path: Path) -> None:
    with pair(tmp_path, []) as nodes:
        what_is_done_with_is_gone(*nodes, Looker(whole=False))
