"""What a linked peer says, from its bytes to the effects of the core."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from qpq.crypto.channels import channel_id
from qpq.crypto.identity import SecretIdentity
from qpq.mesh import events
from qpq.mesh.core import Core
from qpq.mesh.effects import SendFrame
from qpq.wire.codec import FrameDecoder, FrameEncoder
from qpq.wire.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.wire.frames import Frame

VECTORS = Path(__file__).resolve().parents[2] / "schemas" / "vectors"
SEEDS = {
    entry["name"]: bytes.fromhex(entry["seed"])
    for entry in json.loads((VECTORS / "keys.json").read_text(encoding="utf-8"))["identities"]
}
CHANNEL = bytes.fromhex(json.loads((VECTORS / "channel.json").read_text(encoding="utf-8"))["channels"][2]["key"])
PEER, NODE = SecretIdentity(SEEDS["node a"]), SecretIdentity(SEEDS["node b"])
STEP = 0.25
"""Seconds from one frame to the next."""


def peer(data: bytes) -> None:
    """Let a peer say ``data`` to a node, then tick and hang up.

    The node has one user, who reads a channel, and one message for the peer's user and one for the channel.
    """
    now = 1000.0
    core = Core(NODE, boot=300, random=bytes)
    anna = SecretIdentity(SEEDS["anna"])
    bert = SecretIdentity(SEEDS["bert"])
    told: list[Frame] = []
    _do(core, events.UserAdded(SEEDS["bert"]), now, told)
    _do(core, events.ClockSet(1_767_225_600 - now, trusted=True), now, told)
    _do(core, events.SendText(bert.address, anna.address, bytes(range(16)), "Ja", 3600), now, told)
    _do(core, events.ChannelJoined(bert.address, CHANNEL), now, told)
    _do(core, events.SendBroadcast(bert.address, channel_id(CHANNEL), bytes(16), "Hallo", 3600), now, told)
    _do(core, events.LinkUp(1, PEER.identity, "10.0.0.1:7000", initiator=False), now, told)
    decoder = FrameDecoder(NODE.identity, PEER.identity)
    try:
        frames = decoder.feed(data)
    except WireError:
        frames = []
    for frame in frames:
        now += STEP
        _do(core, events.FrameReceived(1, frame), now, told)
    for later in (1.0, 60.0, 4000.0):
        _do(core, events.Tick(), now + later, told)
    core.peers(now)
    _do(core, events.LinkDown(1, "gone"), now + 5000.0, told)
    encoder = FrameEncoder(NODE.identity, PEER.identity)
    sent = b"".join([encoder.encode(frame) for frame in told])
    assert FrameDecoder(PEER.identity, NODE.identity).feed(sent) == told


def _do(core: Core, event: events.Event, now: float, told: list[Frame]) -> None:
    told += [effect.frame for effect in core.handle(event, now) if isinstance(effect, SendFrame)]


TARGETS: dict[str, Callable[[bytes], None]] = {"peer": peer}
