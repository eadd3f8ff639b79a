"""The TLS half of what reaches behind aioquic's public face, and the protection of packets (see aioquic_private)."""

from __future__ import annotations

from qpq.link import imports as _imports  # noqa: F401 (it loads aioquic)

# isort: split

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aioquic import tls
from aioquic.quic.packet import decode_packet_number
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from qpq.link.errors import CertificateError
from qpq.link.imports import Certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aioquic.buffer import Buffer  # type: ignore[attr-defined]
    from aioquic.quic.crypto import CryptoPair

    from qpq.crypto.identity import Identity
    from qpq.link.ports import Credentials

# Of a short header (RFC 9000 section 17.3.1): bytes of the number, the place of the phase bit, bytes of the tag.
NUMBER_BYTES: Final = 2
PHASE: Final = 2
TAG_BYTES: Final = 16
_NUMBER_MASK: Final = 3
# Header protection (RFC 9001 section 5.4): the bits of the first byte, and where the sample begins behind the number's.
_PROTECTED: Final = 0x1F
_SAMPLE_AT: Final = 4
_SAMPLE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the owner of a connection decides.

    ``judge`` gets the peer's certificates (DER) and returns the identity they show or raises
    CertificateError; ``redeem`` (server) returns the ticket of that name once; ``keep`` stores a new one;
    ``choose`` (server) hears the ALPN before anything is shown, and raises CrowdedError.
    """

    new_connection_id: Callable[[], bytes]
    judge: Callable[[Sequence[bytes]], Identity]
    redeem: Callable[[bytes], tls.SessionTicket | None]
    keep: Callable[[tls.SessionTicket], None]
    choose: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trust:
    """The rules of one ALPN: with ``mutual`` a client must prove its identity by a certificate.

    ``credentials`` are shown instead of the node's own (None: those are), ``window`` the bytes a peer may have
    under way (None: as for links).
    """

    mutual: bool
    credentials: Callable[[], Credentials] | None = None
    window: int | None = None


class CertificateRequiredAlert(tls.Alert):
    """The client showed no certificate."""

    description = tls.AlertDescription.certificate_required


class LinkContext(tls.Context):
    """The TLS half of a connection, with the rules for certificates and tickets."""

    hooks: Hooks
    peer_identity: Identity | None
    peer_chain: tuple[bytes, ...]

    def adopt(self, hooks: Hooks) -> None:
        """Narrow what is offered and accepted."""
        self.hooks = hooks
        self.peer_identity = None
        self.peer_chain = ()
        self._supported_groups = [tls.Group.X25519]
        self._signature_algorithms = [tls.SignatureAlgorithm.ED25519]
        self._max_early_data = None
        if not self._is_client:
            self.get_session_ticket_cb = self._redeem

    def demand_certificate(self, demanded: bool) -> None:
        """Say whether the client must show a certificate."""
        self._request_client_certificate = demanded

    def show(self, credentials: Credentials) -> None:
        """Prove another key than the node's, and neither give nor take tickets."""
        certificates: list[Any] = [Certificate(der) for der in credentials.chain]
        self.certificate, self.certificate_chain = certificates[0], certificates[1:]
        self.certificate_private_key = Ed25519PrivateKey.from_private_bytes(credentials.seed)
        self.get_session_ticket_cb = self.new_session_ticket_cb = None

    def unread_bytes(self) -> int:
        """Return the number of bytes of an incomplete handshake message."""
        return len(self._receive_buffer)

    def _redeem(self, name: bytes) -> tls.SessionTicket | None:
        ticket = self.hooks.redeem(name)
        if ticket is None or not ticket.is_valid or ticket.cipher_suite not in self._cipher_suites:
            return None
        self._request_client_certificate = False
        return ticket

    def _set_peer_certificate(self, certificate: tls.Certificate) -> None:
        chain = tuple(der for der, _ in certificate.certificates)
        try:
            identity = self.hooks.judge(chain)
        except CertificateError as fault:
            raise tls.AlertBadCertificate(str(fault)) from fault
        super()._set_peer_certificate(certificate)
        key = self._peer_certificate.public_key() if self._peer_certificate is not None else None
        if not isinstance(key, Ed25519PublicKey) or key.public_bytes_raw() != identity:
            # Two readers of the same bytes must see the same key: this one checks the signature.
            raise tls.AlertBadCertificate("a certificate that can be read in two ways")
        self.peer_identity, self.peer_chain = identity, chain

    def _server_handle_certificate(self, input_buf: Buffer) -> None:
        super()._server_handle_certificate(input_buf)
        if self.peer_identity is None:
            raise CertificateRequiredAlert("the certificate is empty")

    def _handle_reassembled_message(
        self, message_type: int, input_buf: Buffer, output_buf: dict[tls.Epoch, Buffer]
    ) -> None:
        if self.state == tls.State.SERVER_EXPECT_CERTIFICATE and message_type == tls.HandshakeType.FINISHED:
            raise CertificateRequiredAlert("no certificate was shown")
        super()._handle_reassembled_message(message_type, input_buf, output_buf)


def open_packet(pair: CryptoPair, data: bytes, start: int, expected: int) -> tuple[int, bytes, int]:
    """Return a packet's first byte, payload and number (RFC 9001 section 5.4); raises the library's CryptoError.

    ``start``: where the number is. Quick with the keys of this phase and a number as long as those sent here; all
    others are left to the library.
    """
    keys = pair.recv
    sample = data[start + _SAMPLE_AT : start + _SAMPLE_AT + _SAMPLE_BYTES]
    if len(sample) == _SAMPLE_BYTES and keys.hp is not None and keys.aead is not None:
        mask = keys.hp._mask(sample)  # noqa: SLF001
        first = data[0] ^ mask[0] & _PROTECTED
        if first >> PHASE & 1 == keys.key_phase and first & _NUMBER_MASK == NUMBER_BYTES - 1:
            high, low = data[start] ^ mask[1], data[start + 1] ^ mask[2]
            number = decode_packet_number(high << 8 | low, 8 * NUMBER_BYTES, expected)
            header = b"%c%b%c%c" % (first, data[1:start], high, low)
            return first, keys.aead.decrypt(data[start + NUMBER_BYTES :], header, number), number
    plain, payload, number = pair.decrypt_packet(data, start, expected)
    return plain[0], payload, number


def protect_packet(pair: CryptoPair, first: int, name: bytes, number: int, payload: bytes) -> bytes:
    """Return the packet to the connection id ``name``; ``first`` is its first byte."""
    high, low = number >> 8 & 0xFF, number & 0xFF
    header = b"%c%b%c%c" % (first, name, high, low)
    keys = pair.send
    if pair._update_key_requested or keys.aead is None or keys.hp is None:  # noqa: SLF001
        return pair.encrypt_packet(header, payload, number)
    sealed = keys.aead.encrypt(payload, header, number)
    start = _SAMPLE_AT - NUMBER_BYTES
    mask = keys.hp._mask(sealed[start : start + _SAMPLE_BYTES])  # noqa: SLF001
    return b"%c%b%c%c%b" % (first ^ mask[0] & _PROTECTED, name, high ^ mask[1], low ^ mask[2], sealed)
