"""The caps and waits of the core, each with its unit; the daemon fills them in by the machine's memory."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB

_LARGE_STORE = 16 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Every number that bounds what peers, and local users, can make a node hold or do.

    The defaults suit a PC; ``sized`` gives those of a smaller machine.
    Counts are numbers, ``*_bytes`` bytes, ``*_s`` seconds.
    """

    # links
    max_links: int = 1000
    """Usable links; above it newcomers are refused or somebody gives way (mesh.admission)."""
    max_pending: int = 64
    """Links whose HELLO has not come; above it a newcomer is refused at once."""
    hello_s: float = 10.0
    """A link that has not said HELLO by then is closed."""
    turn_s: float = 600.0
    """The least turn of a leaf before another leaf may take its place."""
    full_retry_s: int = 60
    """What a refused newcomer is told to wait."""
    settled_s: float = 10.0
    """A link usable that long gives way to a newer one to the same peer."""
    peer_frames: float = 10_000.0
    """Frames a second a link may bring for long; bursts of two seconds' worth."""
    peer_bytes: float = 8.0 * MIB
    """Bytes a second a link may bring for long; bursts of two seconds' worth."""
    abuse_frames: float = 5_000.0
    """Frames over those rates, forgiven at a hundredth of them a second; beyond it the link is closed."""
    penalty_min_s: float = 10.0
    penalty_max_s: float = 3_600.0
    """How long a peer that misbehaved is kept away: from the first, doubling, to the last."""

    # dialling
    target_links: int = 5
    """Usable and dialling links on discovered peers that a node strives for."""
    max_candidates: int = 256
    """Discovered addresses; the oldest unproven one of the busiest source gives way."""
    max_static: int = 64
    """Addresses the configuration or the user asked for; more are refused."""
    addresses_a_peer: int = 4
    """Addresses kept for one identity that no link has proven; the oldest gives way."""
    gather_s: float = 0.3
    """The wait, half of it at least, before an address that discovery has just found is dialled."""
    max_dials: int = 8
    """Dials in flight."""
    dial_s: float = 30.0
    """A dial that has become nothing by then has failed."""
    backoff_min_s: float = 1.0
    backoff_max_s: float = 300.0
    """Ceiling of the first and the last back-off; the wait is drawn evenly from zero to the ceiling."""
    nudge_s: float = 10.0
    """The longest back-off for a peer to whom a user has just written."""
    good_link_s: float = 60.0
    """A link that lasted this long ends the back-off."""
    stale_s: float = 3_600.0
    """A discovered address that fails and was not heard of for so long is forgotten."""
    max_penalties: int = 256
    """Identities that misbehaved; the one whose penalty ends first gives way."""

    # users
    max_users: int = 16
    """Users of this node, and addresses accepted from one neighbour; more are ignored."""
    announce_rate: float = 1.0
    """Announces a second a neighbour may send for long; bursts of twice its users."""

    # messages of local users
    outbox_count: int = 1_000
    outbox_bytes: int = 4 * MIB
    """Messages of one user on their way, and the bytes of their envelopes; more are refused."""
    recipient_count: int = 500
    """Messages of one user on their way to one recipient; more are refused."""
    window_count: int = 64
    window_bytes: int = 256 * KIB
    """Messages, and bytes, on one link without an answer; more wait."""
    answer_s: float = 30.0
    """A message without an answer for that long is sent again after a back-off."""
    retry_min_s: float = 5.0
    retry_max_s: float = 600.0
    """The first and the last wait before a recipient that refused for lack of room, or kept silent, is tried again."""
    hold_s: float = 3_600.0
    """The wait before a message is sent again that was refused for another reason, or taken into custody."""
    late_receipts: int = 1_024
    """Expired messages whose receipt may still come; the oldest is forgotten."""

    # messages for local users
    inbox_count: int = 50_000
    inbox_bytes: int = 64 * MIB
    """Messages one user may keep, and the bytes of their texts; more are refused, none is evicted."""
    sender_percent: int = 50
    """The part of an inbox that one sender may fill."""
    link_percent: int = 75
    """The part of an inbox that may come over one neighbour."""
    tombstones: int = 16_384
    """Envelopes known to have been delivered here; the one that expires first is forgotten."""

    # time
    skew_s: float = 300.0
    """Two trusted clocks that differ by more are not both right: neither judges an envelope's age."""
    checkpoint_min_s: float = 60.0
    checkpoint_max_s: float = 3_600.0
    """How often the clock of ages is saved while something waits; the wait doubles from the first to the last."""

    @classmethod
    def sized(cls, *, max_links: int, store_bytes: int) -> Limits:
        """Return the limits of a node with so many links and a store of so many bytes (``daemon.memory``)."""
        if store_bytes >= _LARGE_STORE:
            return cls(max_links=max_links)
        scale = max(1, store_bytes // (2 * MIB))
        return cls(
            max_links=max_links,
            max_pending=8 * min(scale, 4),
            peer_frames=500.0 * min(scale, 8),
            peer_bytes=0.5 * MIB * min(scale, 8),
            max_candidates=128 if scale == 1 else 256,
            outbox_count=100 * scale,
            outbox_bytes=256 * KIB * scale,
            recipient_count=50 * scale,
            window_count=min(64, 16 * scale),
            window_bytes=min(256 * KIB, 64 * KIB * scale),
            inbox_count=1_000 * scale,
            inbox_bytes=512 * KIB * scale,
            tombstones=1_024 * scale,
            late_receipts=128,
        )
