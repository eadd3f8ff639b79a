"""The suite for stand-ins runs twice: here against the real packages, and with QPQ_SHIMS=1 against the stand-ins.

test_both_ways.py starts the second run; tests/conftest.py puts the stand-ins in front there.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
