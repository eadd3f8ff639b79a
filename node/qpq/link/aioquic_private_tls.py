"""The TLS half of what reaches behind aioquic's public face (see aioquic_private)."""

from __future__ import annotations

from qpq.link import imports as _imports  # noqa: F401 (it loads aioquic)

# isort: split

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aioquic import tls
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from qpq.link.errors import CertificateError
from qpq.link.imports import Certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aioquic.buffer import Buffer  # type: ignore[attr-defined]

    from qpq.crypto.identity import Identity
    from qpq.link.ports import Credentials


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
