"""The names of the core's counters; ``qpq status`` and the metrics show them as they stand here."""

from __future__ import annotations

from typing import Final

LINK_USABLE: Final = "link.usable"
LINK_DUPLICATE: Final = "link.duplicate"
LINK_SELF: Final = "link.self"
LINK_TOO_SLOW: Final = "link.hello_too_slow"
LINK_VERSION: Final = "link.version"
LINK_REFUSED_FULL: Final = "link.refused_full"
LINK_REFUSED_PENALTY: Final = "link.refused_penalty"
LINK_GAVE_WAY: Final = "link.gave_way"
LINK_MISBEHAVED: Final = "link.misbehaved"
LINK_BYE: Final = "link.bye"

FRAME_SKIPPED: Final = "frame.skipped"
FRAME_STRAY: Final = "frame.stray"
FRAME_OVER_RATE: Final = "frame.over_rate"

DIAL_STARTED: Final = "dial.started"
DIAL_FAILED: Final = "dial.failed"
PEER_REFUSED: Final = "peer.hint_refused"
PEER_EVICTED: Final = "peer.hint_evicted"
PEER_SELF: Final = "peer.hint_self"

ANNOUNCE_STORED: Final = "announce.stored"
ANNOUNCE_STALE: Final = "announce.stale"
ANNOUNCE_FOREIGN: Final = "announce.foreign"
ANNOUNCE_OVER_CAP: Final = "announce.over_cap"
ANNOUNCE_FORGED: Final = "announce.forged"

MESSAGE_QUEUED: Final = "message.queued"
MESSAGE_REFUSED: Final = "message.refused"
MESSAGE_SENT: Final = "message.sent"
MESSAGE_RELAYED: Final = "message.relayed"
MESSAGE_CONFIRMED: Final = "message.confirmed"
MESSAGE_EXPIRED: Final = "message.expired"
MESSAGE_RETRIED: Final = "message.retried"
MESSAGE_TOO_LARGE: Final = "message.too_large_for_peer"

TRANSFER_DELIVERED: Final = "transfer.delivered"
TRANSFER_DUPLICATE: Final = "transfer.duplicate"
TRANSFER_RESENT: Final = "transfer.resent"
TRANSFER_REFUSED: Final = "transfer.refused_"
"""Followed by the name of the custody code in small letters, for instance ``transfer.refused_quota``."""

RECEIPT_UNKNOWN: Final = "receipt.unknown"
CUSTODY_UNKNOWN: Final = "custody.unknown"
TOMBSTONE_EVICTED: Final = "tombstone.evicted"

STORE_FAILED: Final = "store.failed"
