"""What envelopes cost a node that nobody there can open, with and without the limit on them (mesh.ingress).

``PYTHONPATH=node python tests/bench/vain.py``: processor time from the frame's bytes to the core's answer, here.
Each envelope is from a sender of its own, and no two are the same.
"""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import replace

from qpq.crypto.identity import SecretIdentity
from qpq.daemon.memory import MIB, core_limits
from qpq.mesh import events
from qpq.mesh.core import Core
from qpq.mesh.limits import Limits
from qpq.wire.codec import codecs
from qpq.wire.envelope import sign_envelope
from qpq.wire.frames import FEATURES, MAX_FRAME, Hello, Role, Transfer

COUNT, ROUNDS = 2_000, 7
NODE, PEER, USER = (SecretIdentity(bytes((number,)) * 32) for number in range(1, 4))


def frames() -> list[bytes]:
    """Return the frames of a flood."""
    encoder, _ = codecs(PEER.identity, NODE.identity)
    made = []
    for number in range(COUNT):
        payload = b"\x01" + bytes(range(1, 33)) + number.to_bytes(4, "big") + bytes(200)
        sender = SecretIdentity(number.to_bytes(32, "big"))
        envelope = sign_envelope(sender, recipient=USER.address, payload=payload, commitment=bytes(16), ttl=60)
        made.append(encoder.encode(Transfer(1, 1, 0, envelope)))
    return made


def cost(limits: Limits, flood: list[bytes], rate: float) -> tuple[float, float]:
    """Return microseconds of processor time for one envelope, and the part of them that was tried."""
    draw = random.Random(1).randbytes  # noqa: S311 (a run that repeats)
    core = Core(NODE, boot=1, random=draw, limits=replace(limits, peer_frames=1e9, peer_bytes=1e12))
    _, decoder = codecs(NODE.identity, PEER.identity)
    hello = Hello(1, 1, FEATURES, 1, 0, False, 0, 1, Role.RELAY, MAX_FRAME, 0)
    core.handle(events.UserAdded(USER.seed), 0.0)
    core.handle(events.LinkUp(1, PEER.identity, "peer:1", initiator=True), 0.0)
    core.handle(events.FrameReceived(1, hello), 0.0)
    tried = 0
    began = time.process_time()
    for number, data in enumerate(flood):
        for frame in decoder.feed(data):
            effects = core.handle(events.FrameReceived(1, frame), 1.0 + number / rate)
            tried += any(getattr(each, "name", "") == "transfer.refused_unreadable" for each in effects)
    return (time.process_time() - began) / len(flood) * 1e6, tried / len(flood)


def main() -> None:
    """Print a line for a PC and one for a router of 64 MB, each at the most frames a second that a link may bring."""
    flood = frames()
    machines = {"PC": Limits(), "64 MB": core_limits(max_links=24, store_bytes=2 * MIB)}
    for name, limits in machines.items():
        rate = limits.peer_frames
        free = replace(limits, vain_rate=1e9, vain_burst=1 << 30)
        rounds = [(cost(free, flood, rate), cost(limits, flood, rate)) for _ in range(ROUNDS)]
        without, within = (statistics.median(each[kind][0] for each in rounds) for kind in (0, 1))
        tried = rounds[0][1][1]
        print(
            f"{name}: {rate:.0f} a second; without the limit {without:.1f} us each, with it {within:.1f} us"
            f" ({100 * tried:.1f} % tried, {limits.vain_rate:.0f} a second for long): x{within / without:.2f}"
        )


if __name__ == "__main__":
    main()
