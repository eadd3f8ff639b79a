"""Encodings of keys: raw, DER and PEM; private keys without encryption."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .asymmetric.types import PrivateKeyTypes

_LINE = 48  # bytes in a line of PEM
_PKCS8_BYTES = 48
_SEED_AT = 16


class Encoding(Enum):
    """How bytes are wrapped."""

    PEM = "PEM"
    DER = "DER"
    OpenSSH = "OpenSSH"
    Raw = "Raw"
    X962 = "ANSI X9.62"
    SMIME = "S/MIME"


class PublicFormat(Enum):
    """What the bytes of a public key are."""

    SubjectPublicKeyInfo = "X.509 subjectPublicKeyInfo with PKCS#1"
    PKCS1 = "Raw PKCS#1"
    OpenSSH = "OpenSSH"
    Raw = "Raw"
    CompressedPoint = "X9.62 Compressed Point"
    UncompressedPoint = "X9.62 Uncompressed Point"


class PrivateFormat(Enum):
    """What the bytes of a private key are."""

    PKCS8 = "PKCS8"
    TraditionalOpenSSL = "TraditionalOpenSSL"
    Raw = "Raw"
    OpenSSH = "OpenSSH"
    PKCS12 = "PKCS12"


class NoEncryption:
    """A private key as it is."""

    __slots__ = ()


class BestAvailableEncryption:
    """There is none: whoever asks for it is refused."""

    __slots__ = ()

    def __init__(self, password: bytes) -> None:
        """Take a password and forget it."""


def load_pem_private_key(data: bytes, password: bytes | None, backend: object = None) -> PrivateKeyTypes:  # noqa: ARG001 (theirs)
    """Return the Ed25519 or X25519 key of a PKCS #8 file; raises ValueError."""
    from .asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 (they need this module)
    from .asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415

    der = from_pem(data, "PRIVATE KEY")
    for key in (Ed25519PrivateKey, X25519PrivateKey):
        if len(der) == _PKCS8_BYTES and der.startswith(b"\x30\x2e\x02\x01\x00\x30\x05" + key.oid + b"\x04\x22\x04\x20"):
            if password is not None:
                raise TypeError("Password was given but private key is not encrypted.")
            return key.from_private_bytes(der[_SEED_AT:])
    raise ValueError("Could not deserialize key data: no PKCS #8 file of an Ed25519 or X25519 key.")


def check(value: object, kind: type) -> None:
    """Raise TypeError for what is no instance of ``kind``."""
    if not isinstance(value, kind):
        raise TypeError(f"{str(value)!r} is not an instance of {kind.__name__!r}")


def encoded(der: bytes, encoding: Encoding, label: str) -> bytes:
    """Return DER as it is or as PEM."""
    if encoding is Encoding.DER:
        return der
    lines = b"".join(b2a_base64(der[start : start + _LINE]) for start in range(0, len(der), _LINE))
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label.encode(), lines, label.encode())


def from_pem(data: bytes, label: str) -> bytes:
    """Return the content of the first PEM block, which must have this label; raises ValueError."""
    lines = bytes(memoryview(data)).decode("ascii", "replace").split("\n")
    lines = [line.strip("\r") for line in lines]
    try:
        blocks = [number for number, line in enumerate(lines) if line.startswith("-----BEGIN ")]
        start = lines.index(f"-----BEGIN {label}-----", blocks[0], blocks[0] + 1)
        end = lines.index(f"-----END {label}-----", start)
        return a2b_base64("".join(lines[start + 1 : end]), strict_mode=True)
    except (IndexError, ValueError):
        raise ValueError("Unable to load PEM file: malformed framing or no such block") from None
