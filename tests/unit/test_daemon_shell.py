"""The shell's own faults: what the store cannot give is told and counted, and the node goes on."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from qpq.daemon.shell import Shell
from qpq.mesh import events
from qpq.store.faults import StoreDamagedError


class Parts:
    """A core that wants one envelope sent, a store that gives ``found``, and links that note what they get."""

    def __init__(self, found: bytes | Exception | None) -> None:
        self.found = found
        self.queued: list[object] = []

    def handle(self, _event: object, _now: float) -> list[object]:
        return [events.SendEnvelope(1, b"i" * 32, 0, 1, 0)]

    def envelope(self, _envelope_id: bytes) -> bytes | None:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def queue(self, _link: int, frame: object) -> bool:
        self.queued.append(frame)
        return True

    def transmit(self) -> None:
        """Nothing is on its way."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: name


@pytest.mark.parametrize(
    ("found", "unreadable"), [(StoreDamagedError("a page is damaged"), 1), (b"no envelope", 1), (None, 0)]
)
def test_an_envelope_that_cannot_be_read_costs_that_message_only(
    found: bytes | Exception | None, unreadable: int
) -> None:
    parts = cast("Any", Parts(found))

    async def put() -> dict[str, int]:
        shell = Shell(parts, parts, parts, parts, group=False)
        shell.put(events.Tick())
        return shell.counters

    assert asyncio.run(put()).get("store.unreadable", 0) == unreadable
    assert parts.queued == []
