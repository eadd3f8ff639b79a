"""The keys of a feed, which come from outside: usign's Ed25519 for opkg's index, P-256 for apk's packages and index."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from openwrt.errors import PackError
from openwrt.pack.adb import Block, Schema, block

if TYPE_CHECKING:
    from pathlib import Path

_USIGN_SECRET = struct.Struct(">2s2sI16s8s8s32s32s")  # Ed, BK, rounds, salt, checksum, fingerprint, seed, public key
_SHA512 = 4  # apk's number of the hash
_KEY_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class UsignKey:
    """A secret key as usign -G and signify -G -n make it; ``fingerprint`` is 8 bytes, the public key 32."""

    fingerprint: bytes
    public: bytes
    secret: Ed25519PrivateKey

    @property
    def name(self) -> str:
        """What opkg calls the file of the public key, in /etc/opkg/keys/."""
        return self.fingerprint.hex()

    def signature(self, message: bytes) -> bytes:
        """Return the text of Packages.sig."""
        return self._text(f"signed by key {self.name}", self.secret.sign(message))

    def public_text(self) -> bytes:
        """Return the text of the public key's file."""
        return self._text(f"public key {self.name}", self.public)

    def _text(self, comment: str, data: bytes) -> bytes:
        return f"untrusted comment: {comment}\n".encode() + base64.b64encode(b"Ed" + self.fingerprint + data) + b"\n"


@dataclass(frozen=True, slots=True)
class ApkKey:
    """A P-256 key; ``public`` is its point, uncompressed."""

    public: bytes
    secret: ec.EllipticCurvePrivateKey

    def signature(self, schema: Schema, payload: bytes) -> bytes:
        """Return the signature block over a container's payload; always the same for the same payload (RFC 6979)."""
        head = bytes((0, _SHA512)) + hashlib.sha512(self.public).digest()[:_KEY_ID_BYTES]
        signed = struct.pack("<I", schema) + head + hashlib.sha512(payload).digest()
        algorithm = ec.ECDSA(hashes.SHA512(), deterministic_signing=True)
        return block(Block.SIGNATURE, head, self.secret.sign(signed, algorithm))

    def public_text(self) -> bytes:
        """Return the PEM text that goes into /etc/apk/keys/."""
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.secret.public_key().public_bytes(serialization.Encoding.PEM, kind)


def usign_key(path: Path) -> UsignKey:
    """Read a secret key without a passphrase.

    Raises:
        PackError: there is no such file, or no such key in it.
    """
    lines = _read(path).split(b"\n")
    try:
        parts = _USIGN_SECRET.unpack(base64.b64decode(lines[1], validate=True))
    except (IndexError, binascii.Error, struct.error):
        parts = ()
    if not parts or parts[:2] != (b"Ed", b"BK"):
        msg = f"{path} is no secret key of usign or signify (made with: usign -G -s secret -p public)"
        raise PackError(msg)
    rounds, checksum, fingerprint, seed, public = parts[2], *parts[4:]
    if rounds:
        msg = f"{path} is locked with a passphrase; use a key without one (signify -n)"
        raise PackError(msg)
    secret = Ed25519PrivateKey.from_private_bytes(seed)
    derived = secret.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    digest = hashlib.sha512(seed + public).digest()
    if not hmac.compare_digest(digest[: len(checksum)], checksum) or derived != public:
        msg = f"{path} is damaged: its checksum or its public half is wrong"
        raise PackError(msg)
    return UsignKey(fingerprint, public, secret)


def apk_key(path: Path) -> ApkKey:
    """Read a P-256 secret key from PEM without a passphrase.

    Raises:
        PackError: there is no such file, or no such key in it.
    """
    try:
        secret = serialization.load_pem_private_key(_read(path), None)
    except (ValueError, TypeError):
        secret = None
    if not isinstance(secret, ec.EllipticCurvePrivateKey) or not isinstance(secret.curve, ec.SECP256R1):
        msg = f"{path} is no open P-256 key in PEM (made with: openssl ecparam -name prime256v1 -genkey -noout)"
        raise PackError(msg)
    form = serialization.PublicFormat.UncompressedPoint
    return ApkKey(secret.public_key().public_bytes(serialization.Encoding.X962, form), secret)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"the key {path} cannot be read: {error.strerror}"
        raise PackError(msg) from None
