"""Only what asyncio and aioquic.tls mention: this program has no OpenSSL, its TLS is aioquic's."""

from __future__ import annotations

from enum import IntEnum
from typing import NoReturn


class VerifyMode(IntEnum):
    """Whether a peer must show a certificate; aioquic compares its own setting with these."""

    CERT_NONE = 0
    CERT_OPTIONAL = 1
    CERT_REQUIRED = 2


CERT_NONE = VerifyMode.CERT_NONE
CERT_OPTIONAL = VerifyMode.CERT_OPTIONAL
CERT_REQUIRED = VerifyMode.CERT_REQUIRED


class SSLError(OSError):
    """Never raised."""


class SSLWantReadError(SSLError):
    """Never raised."""


class SSLWantWriteError(SSLError):
    """Never raised."""


class SSLSyscallError(SSLError):
    """Never raised."""


class SSLEOFError(SSLError):
    """Never raised."""


class _Missing:
    def __init__(self, *_: object, **__: object) -> None:
        raise NotImplementedError("this program has no OpenSSL: TLS over TCP is not built in")


class SSLContext(_Missing):
    """Says that it is missing."""


class SSLObject(_Missing):
    """Says that it is missing."""


class SSLSocket(_Missing):
    """Says that it is missing."""


class MemoryBIO(_Missing):
    """Says that it is missing."""


def create_default_context(*_: object, **__: object) -> NoReturn:
    """Refuse."""
    raise NotImplementedError("this program has no OpenSSL: TLS over TCP is not built in")
