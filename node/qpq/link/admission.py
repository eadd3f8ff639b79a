"""Who may begin a handshake: the answers to first packets for which no state is kept.

Nothing here sends more bytes than it was sent, so none of it amplifies (RFC 9000 sections 8.1 and 21.3).
"""

from __future__ import annotations

from qpq.link import imports as _imports  # noqa: F401 (it loads aioquic)

# isort: split

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.connection import TRANSPORT_CLOSE_FRAME_CAPACITY
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicFrameType,
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.retry import QuicRetryTokenHandler

from qpq.link.aioquic_private import FIRST_DESTINATION_BYTES
from qpq.link.refusals import Refusal
from qpq.link.sources import Bucket, source_of
from qpq.netaddress import NetAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioquic.quic.packet import QuicHeader

    from qpq.link.limits import LinkLimits
    from qpq.link.ports import Send
    from qpq.link.refusals import Refusals
    from qpq.link.sources import Local, SockAddr, Source, Sources

VERSIONS: Final = [QuicProtocolVersion.VERSION_1]
MIN_FIRST_DATAGRAM: Final = 1200
"""Bytes of the datagram a first packet comes in (RFC 9000 section 14.1)."""
_LONG_HEADER = 0x80


@dataclass(frozen=True, slots=True)
class Admission:
    """A handshake that may begin, with what the transport parameters must say (RFC 9000 section 7.3)."""

    source: Source
    destination: bytes
    original_destination: bytes
    retry_source: bytes | None


@dataclass(frozen=True, slots=True)
class _Caller:
    """Where a first packet came from, which own address it was sent to, and when."""

    address: SockAddr
    local: Local
    now: float


class Door:
    """Answers what belongs to no connection: lets it in, asks for proof of the address, or turns it away."""

    __slots__ = ("_limits", "_refusals", "_send", "_sources", "_stateless", "_tokens")

    def __init__(
        self,
        limits: LinkLimits,
        sources: Sources,
        refusals: Refusals,
        send: Send,
        now: float,
    ) -> None:
        self._limits = limits
        self._sources = sources
        self._refusals = refusals
        self._send = send
        self._stateless = Bucket(limits.stateless_a_second, limits.stateless_burst, now)
        self._tokens = QuicRetryTokenHandler()

    def admit(self, data: bytes, address: SockAddr, local: Local, now: float) -> Admission | None:
        """Return what to begin a connection with, or None when ``data`` begins none; answers leave from ``local``."""
        caller = _Caller(address, local, now)
        if len(data) < MIN_FIRST_DATAGRAM or not data[0] & _LONG_HEADER:
            self._refusals.count("dropped_unknown")
            return None
        try:
            header = pull_quic_header(Buffer(data=data))
        except (ValueError, TypeError):
            self._refusals.count("dropped_garbage")
            return None
        if header.packet_type is QuicPacketType.VERSION_NEGOTIATION:
            self._refusals.count("dropped_unknown")
            return None
        if header.version not in VERSIONS:
            self._answer(
                "answered_version",
                lambda: encode_quic_version_negotiation(header.destination_cid, header.source_cid, list(VERSIONS)),
                caller,
            )
            return None
        if header.packet_type is not QuicPacketType.INITIAL or len(header.destination_cid) < FIRST_DESTINATION_BYTES:
            self._refusals.count("dropped_unknown")
            return None
        return self._admit_first(header, caller)

    def _admit_first(self, header: QuicHeader, caller: _Caller) -> Admission | None:
        source = source_of(caller.address)
        original = self._proven(header, caller)
        if original is None and self._sources.must_prove(source, caller.now):
            if header.token:
                self._turn_away(header, caller, Refusal.TOKEN, "a token that is not of this node")
            else:
                self._answer("answered_retry", lambda: self._retry(header, caller), caller)
            return None
        reason = self._sources.crowded(source)
        if self._sources.links >= self._limits.links or self._sources.half_open >= self._limits.half_open:
            self._turn_away(header, caller, Refusal.FULL, "this node has no room for more links")
        elif reason:
            self._turn_away(header, caller, Refusal.CROWDED, reason)
        elif self._sources.hasty(source, caller.now):
            self._turn_away(header, caller, Refusal.HASTY, "too many links a second from this address")
        else:
            retry_source = header.destination_cid if original is not None else None
            return Admission(source, header.destination_cid, original or header.destination_cid, retry_source)
        return None

    def _proven(self, header: QuicHeader, caller: _Caller) -> bytes | None:
        if not header.token:
            return None
        try:
            original: bytes = self._tokens.validate_token(
                address=_plain(caller.address),
                destination_cid=header.destination_cid,
                token=header.token,
                now=caller.now,
            )
        except ValueError:
            return None
        return original

    def _retry(self, header: QuicHeader, caller: _Caller) -> bytes:
        source = os.urandom(FIRST_DESTINATION_BYTES)
        token = self._tokens.create_token(
            address=_plain(caller.address),
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=source,
            now=caller.now,
        )
        return encode_quic_retry(
            version=QuicProtocolVersion.VERSION_1,
            source_cid=source,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )

    def _turn_away(self, header: QuicHeader, caller: _Caller, refusal: Refusal, reason: str) -> None:
        self._refusals.refuse(refusal, str(NetAddress.from_sockaddr(caller.address)), reason, caller.now)
        code = QuicErrorCode.INVALID_TOKEN if refusal is Refusal.TOKEN else QuicErrorCode.CONNECTION_REFUSED
        self._answer(
            "answered_refusal",
            lambda: encode_refusal(
                QuicProtocolVersion.VERSION_1, header.destination_cid, header.source_cid, code, reason
            ),
            caller,
        )

    def _answer(self, counter: str, make: Callable[[], bytes], caller: _Caller) -> None:
        if self._stateless.take(caller.now):
            self._refusals.count(counter)
            self._send(make(), caller.address, caller.local)
        else:
            self._refusals.count("dropped_flood")


def _plain(address: SockAddr) -> SockAddr:
    return (address[0].partition("%")[0], address[1])


def encode_refusal(version: int, source: bytes, destination: bytes, code: int, reason: str) -> bytes:
    """Return a first packet that ends a connection nobody keeps state for (RFC 9000 section 10.2.3).

    ``source`` is the destination the client had invented, ``destination`` its own id.
    """
    crypto = CryptoPair()
    crypto.setup_initial(cid=source, is_client=False, version=version)
    builder = QuicPacketBuilder(
        host_cid=source, is_client=False, max_datagram_size=MIN_FIRST_DATAGRAM, peer_cid=destination, version=version
    )
    builder.start_packet(QuicPacketType.INITIAL, crypto)
    text = reason.encode()
    buf = builder.start_frame(QuicFrameType.TRANSPORT_CLOSE, capacity=TRANSPORT_CLOSE_FRAME_CAPACITY + len(text))
    buf.push_uint_var(code)
    buf.push_uint_var(QuicFrameType.PADDING)
    buf.push_uint_var(len(text))
    buf.push_bytes(text)
    datagrams, _ = builder.flush()
    datagram: bytes = datagrams[0]
    return datagram
