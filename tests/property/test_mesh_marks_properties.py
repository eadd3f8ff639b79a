"""Marks and the messages they are about, in any order and with restarts between: whoever has both sees the domain."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from test_mesh_marks import C, D, arrive, kept, mark, sharing, text

_WHAT = st.permutations([(kind, number) for kind in ("message", "mark", "restart") for number in range(4)])


@settings(max_examples=25)
@given(steps=_WHAT, cut=st.integers(0, 12))
def test_in_whatever_order_they_come_what_is_marked_is_shown_as_such_and_nothing_else(
    steps: list[tuple[str, int]], cut: int
) -> None:
    world, nodes = sharing()
    gateway = nodes[2].gateway
    assert gateway is not None
    came = steps[:cut]
    for kind, number in came:
        if kind == "message":
            arrive(world, nodes[0], text(number))
        elif kind == "mark":
            arrive(world, nodes[0], mark(gateway[0], C, number))
            arrive(world, nodes[0], mark(gateway[0], D, number))  # another of its words about the same message
        else:
            world.crash(nodes[0])
            world.start(nodes[0])
            world.run(10.0)
    expected = [
        (f"text {number}", C if ("mark", number) in came else "") for number in range(4) if ("message", number) in came
    ]
    assert kept(nodes[0]) == expected
