"""The caps and waits of links, each with its unit; the daemon fills them in by the machine's memory."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
_SERVER_LINKS = 500


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Every number that bounds what peers can make this room hold or do; ``*_s`` are seconds."""

    # how many
    links: int = 1100
    """Connections of all kinds; above it newcomers are turned away (the core's own cap is lower)."""
    links_a_host: int = 16
    """Connections that came from one IPv4 or link-local address."""
    links_a_prefix: int = 32
    """Connections that came from one IPv6 /64: a whole mesh may share one prefix."""
    half_open: int = 48
    """Handshakes that others began; above it newcomers are turned away."""
    half_open_a_source: int = 8
    """Of these, begun by one source (address or /64)."""
    retry_from: int = 12
    """Half-open handshakes from which on newcomers must first prove their address (RFC 9000 section 8.1.2)."""
    dials: int = 32
    """Handshakes this node began; more dials fail at once."""

    # how fast
    handshakes_a_second: float = 100.0
    handshake_burst: int = 200
    """New connections from one source that is not this machine; a handshake costs a router most of a second."""
    unproven_a_second: float = 200.0
    unproven_burst: int = 200
    """First packets worked on for sources that have not proven their address; further ones must."""
    sources: int = 256
    """Sources whose rate is remembered; the one not heard of for longest gives way."""
    stateless_a_second: float = 50.0
    stateless_burst: int = 100
    """Answers for which no state is kept: version negotiation, Retry, refusals. More requests get none."""

    # how much
    receive_window: int = 64 * KIB
    """Bytes a peer may have under way on its stream, so the most that is held for it out of order; above a frame."""
    send_buffer: int = 1024 * KIB
    """Bytes that wait for a peer's acknowledgement; a peer that is slower is closed (TOO_SLOW)."""
    datagrams_a_wake: int = 64
    """Datagrams read from the socket before the rest of the program has its turn."""

    # how long
    handshake_s: float = 10.0
    handshake_max_s: float = 60.0
    """Of silence after which a handshake has failed, and its longest duration; only a proven address gets more time."""
    lookup_s: float = 5.0
    """For the name of a host."""
    idle_s: float = 600.0
    """Of silence after which a link is gone whatever it loses (RFC 9000 section 10.1)."""
    keepalive_s: float = 60.0
    """Of silence after which the initiator asks whether the link is still there, up to a quarter earlier; the other end
    asks when half as much more has passed. It is longer where most packets are lost, so that an answer costs many.
    """
    patience_s: float = 15.0
    """For the acknowledgement of what was sent; then the link is closed, so that it can be dialled anew.

    A link that loses many packets, and was answered all the same, gets more (link.liveness), up to"""
    patience_max_s: float = 180.0
    kicked_patience_s: float = 5.0
    """The same after addresses of this machine have changed."""
    slow_s: float = 60.0
    """For a peer to take some of what waits for it; then it is closed (TOO_SLOW)."""
    quality_s: float = 20.0
    """Between two words on how good a link is; none while nothing comes over it."""
    acknowledge_s: float = 0.020
    """An acknowledgement waits that long for something it can ride along with; peers reckon with 25 ms."""
    lingering_s: float = 600.0
    """Of answering a peer that has missed the end of a link with that end."""
    lingering: int = 64
    """Ended links remembered for that; the oldest gives way."""

    # tickets
    tickets: int = 256
    """Session tickets kept for each role; the oldest gives way."""
    ticket_s: float = 12 * 3600.0

    @classmethod
    def sized(cls, *, max_links: int) -> LinkLimits:
        """Return the limits of a node whose core wants at most ``max_links`` usable links."""
        if max_links >= _SERVER_LINKS:
            return cls(links=max_links + 100)
        return cls(
            links=max_links + 16,
            links_a_host=8,
            links_a_prefix=16,
            half_open=12,
            half_open_a_source=4,
            retry_from=4,
            dials=8,
            handshakes_a_second=2.0,
            handshake_burst=20,
            unproven_a_second=4.0,
            unproven_burst=16,
            sources=64,
            send_buffer=512 * KIB,
            lingering=32,
            tickets=64,
        )
