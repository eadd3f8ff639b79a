"""The suite for stand-ins runs twice: here against the real packages, and with QPQ_SHIMS=1 against the stand-ins.

test_both_ways.py starts the second run.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import shim_paths

if shim_paths.ON_SHIMS:
    if shim_paths.extension():
        raise RuntimeError(f"QPQ_SHIMS=1, but the C extension cannot be built: {shim_paths.extension()}")
    sys.path[:0] = [str(shim_paths.SHIMS), str(shim_paths.OUTPUT)]
