"""Why a connection ended, in one line for people, and what kind of refusal that was."""

from __future__ import annotations

from qpq.link import imports as _imports  # noqa: F401 (it loads aioquic)

# isort: split

from dataclasses import dataclass
from typing import Final

from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import AlertDescription

from qpq.link.refusals import Refusal, printable
from qpq.wire.frames import CloseCode

_KINDS: Final = {
    QuicErrorCode.CONNECTION_REFUSED: Refusal.CROWDED,
    QuicErrorCode.CRYPTO_ERROR + AlertDescription.no_application_protocol: Refusal.ALPN,
    QuicErrorCode.CRYPTO_ERROR + AlertDescription.bad_certificate: Refusal.CERTIFICATE,
    QuicErrorCode.CRYPTO_ERROR + AlertDescription.certificate_required: Refusal.CERTIFICATE,
    QuicErrorCode.CRYPTO_ERROR + AlertDescription.decrypt_error: Refusal.CERTIFICATE,
}
_PROOF = QuicErrorCode.CRYPTO_ERROR + AlertDescription.decrypt_error
_FALSE_HERE = "it has not proven the key in its certificate: whoever runs it must have one issued for its own id"
_FALSE_THERE = "this node has not proven the key in its certificate: have one issued for the id that qpq status shows"
"""TLS sends no words with that alert, and to people its number says nothing."""
_SILENCE: Final = frozenset((QuicErrorCode.NO_ERROR, QuicErrorCode.INTERNAL_ERROR, QuicErrorCode.NO_VIABLE_PATH))
"""Codes the library ends a connection with when the peer is gone, and has done nothing wrong."""

LIBRARY_FAULTS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What hostile bytes can make a parser raise that is not ours: it costs that peer its connection, nobody else."""


@dataclass(frozen=True, slots=True)
class Ending:
    """QUIC error code and words; ``application`` if the code is one of ours, ``remote`` if the peer said so."""

    code: int
    reason: str
    application: bool
    remote: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a link has ended; ``refusal`` is set when this end found fault with the peer."""

    reason: str
    refusal: Refusal | None = None


def explain(ending: Ending, in_handshake: bool) -> Verdict:
    """Return the verdict on a connection that the library or the peer has ended."""
    reason = printable(ending.reason)
    if ending.application:
        name = _NAMES.get(ending.code, f"code {ending.code}")
        return Verdict(f"closed by the peer: {name}" + (f" ({reason})" if reason else ""))
    if not reason and ending.code == _PROOF:
        reason = _FALSE_THERE if ending.remote else _FALSE_HERE
    reason = reason or f"QUIC error {ending.code:#x}"
    if ending.remote:
        return Verdict(f"refused by the peer: {reason}")
    if ending.code in _SILENCE:
        return Verdict(reason)
    return Verdict(reason, _KINDS.get(ending.code, Refusal.HANDSHAKE if in_handshake else Refusal.PROTOCOL))


_NAMES: Final = {code.value: code.name.lower().replace("_", " ") for code in CloseCode}
