"""A mesh with two relays, real daemons: what becomes of messages when one of them goes."""

from __future__ import annotations

from contextlib import ExitStack

from domains import Federation, delivered
from netns import Lab

SOON = 55.0  # seconds; who waited for the one that has gone would wait an hour
A, B = "aachen.example", "berlin.example"


def test_of_two_relays_the_one_that_lives_is_used_soon_after_the_other_has_gone() -> None:
    with Lab() as lab, ExitStack() as stack:
        federation = Federation(lab, stack, {A: (0, 2), B: (0,)})
        federation.start()
        aachen, berlin = federation.members
        delivered(aachen.nodes[1], [aachen.nodes[1].send(berlin.name(2), "over either")])
        late = {}
        for number, end in ((0, "stop"), (2, "kill"), (0, "power")):
            relay = aachen.nodes[number]
            if end == "power":
                aachen.mesh.cut((0, 1))
                federation.uplink(aachen, up=False)
            else:
                getattr(relay, end)()
            out = aachen.nodes[1].send(berlin.name(2), f"without {number}")
            into = berlin.nodes[2].send(aachen.name(1), f"without {number}")
            took = delivered(aachen.nodes[1], [out], SOON)
            late[end] = took, took + delivered(berlin.nodes[2], [into], SOON)
            if end == "power":
                aachen.mesh.heal((0, 1))
                federation.uplink(aachen, up=True)
                aachen.mesh.settle(30.0)
            else:
                relay.start()
            federation.expect_connected()
        print("late by (out, in):", {end: [round(took, 1) for took in both] for end, both in late.items()})
