"""Broadcasts of the open channels that domains share: which they are, and to whom they are handed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.crypto.channels import day_of, day_tag, open_key
from qpq.crypto.identity import ID_BYTES, Address
from qpq.errors import QpqError
from qpq.federation.settings import MAX_HOPS
from qpq.wire.envelope import decode_envelope
from qpq.wire.outside import OutsideBroadcast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpq.federation.ports import Meter, Queue
    from qpq.federation.settings import Settings
    from qpq.wire.envelope import Envelope

NOBODY: Final = Address(bytes(ID_BYTES))
"""The recipient of a broadcast, where one is asked for."""


def topic_of(envelope: Envelope, topics: Iterable[str]) -> str:
    """Return which of these topics a channel envelope is of, by the tag it shows; empty: none of them."""
    day = day_of(envelope.timestamp)
    return next((topic for topic in topics if day_tag(open_key(topic), day) == envelope.recipient), "")


def share(settings: Settings, queue: Queue, meter: Meter, data: bytes, *, age: int, hops: int, home: str = "") -> None:
    """Keep a broadcast for each domain that shares its topic and does not have it from here, or us from there.

    ``hops``: domains that it has passed, as far as that is known; the queue knows each as long as it lives, so none
    goes round. ``home``: the domain that it is from, empty: this one. Where a domain has no room for more it is left
    out: broadcasts are worth no one's messages.
    """
    envelope = decode_envelope(data)
    topic = topic_of(envelope, settings.topics)
    if not topic or hops >= MAX_HOPS:
        return
    for relay in settings.relays:
        item = OutsideBroadcast(relay.domain, "", data)
        if topic not in relay.topics or relay.domain == home or queue.known(item) is not None:
            continue
        try:
            queue.hold(item, NOBODY, ttl=envelope.ttl, age=age, hops=hops, home=home)
        except QpqError:
            meter.count("federation.topics_left_out")
