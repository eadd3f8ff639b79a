"""How long a receipt is waited for."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from qpq.crypto.identity import Identity
from qpq.mesh.chance import Chance
from qpq.mesh.limits import Limits
from qpq.mesh.ways import Ways


@dataclass(frozen=True)
class Step:
    """A hop as ``Ways`` asks for it."""

    link: int
    peer: Identity
    hops: int
    cost: int


@pytest.mark.parametrize(
    ("peer", "steps", "wait"),
    [
        (b"p", [Step(1, Identity(b"p" * 32), 4, 64)], 3.0 + 2.0),
        (b"p", [Step(1, Identity(b"p" * 32), 4, 64 + 5 * 16)], 3.0 + 2.0 + 15.0),
        (b"p", [Step(1, Identity(b"p" * 32), 4, 4096)], 3.0 + 2.0 + 60.0),
        (b"p", [Step(1, Identity(b"p" * 32), 1, 0)], 3.0 + 0.5),
        (b"q", [Step(1, Identity(b"p" * 32), 4, 4096)], 3.0 + 3.0),
        (b"q", [], 3.0 + 0.5),
    ],
)
def test_a_receipt_is_waited_for_as_long_as_the_links_of_its_route_need(
    peer: bytes, steps: list[Step], wait: float
) -> None:
    nothing: Any = None
    routing: Any = SimpleNamespace(next_hops=lambda _recipient, _now: tuple(steps))
    ways = Ways(
        limits=Limits(),
        chance=Chance(bytes),
        timers=nothing,
        served=nothing,
        custody=nothing,
        routing=routing,
        windows=nothing,
    )
    item: Any = SimpleNamespace(recipient=b"r" * 32, peer=Identity(peer * 32), rounds=0)
    assert ways.patience(item, 0.0) == wait
    item.rounds = 2
    assert ways.patience(item, 0.0) == 4 * wait
