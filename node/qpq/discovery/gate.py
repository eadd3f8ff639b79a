"""Decides which mDNS messages zeroconf gets to see, so that a flood costs neither its memory nor our time.

zeroconf bounds its tables, but for PCs: known answers of queries alone may grow to hundreds of
megabytes within the ten seconds for which it keeps them.
"""

from __future__ import annotations

import struct
from typing import Final

from qpq.discovery.limits import SourceLimiter, TokenBucket

MAX_RECORDS: Final = 128
MAX_QUESTIONS: Final = 32
MESSAGE_RATE, MESSAGE_BURST = 50.0, 200.0
"""Messages a second and at once, from everybody ..."""

SOURCE_RATE, SOURCE_BURST = 10.0, 60.0
"""... and from one address."""

_HEADER = struct.Struct(">HHHHHH")


class MdnsGate:
    """Lets messages of sane size through at a bounded rate; the others are dropped and counted in ``refused``."""

    __slots__ = ("_all", "_sources", "refused")

    def __init__(self) -> None:
        self._all = TokenBucket(MESSAGE_RATE, MESSAGE_BURST)
        self._sources = SourceLimiter(SOURCE_RATE, SOURCE_BURST)
        self.refused = 0

    def admit(self, message: bytes, source: str, now: float) -> bool:
        """Whether zeroconf should read ``message``, which came from the host ``source`` at ``now`` seconds."""
        if self._is_sane(message) and self._sources.take(source, now) and self._all.take(now):
            return True
        self.refused += 1
        return False

    def _is_sane(self, message: bytes) -> bool:
        if len(message) < _HEADER.size:
            return False
        _id, _flags, questions, *records = _HEADER.unpack_from(message)
        return bool(questions <= MAX_QUESTIONS and sum(records) <= MAX_RECORDS)
