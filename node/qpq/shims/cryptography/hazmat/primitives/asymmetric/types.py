"""The types of keys."""

from __future__ import annotations

from .ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from .x25519 import X25519PrivateKey, X25519PublicKey

CertificateIssuerPublicKeyTypes = Ed25519PublicKey
CertificatePublicKeyTypes = Ed25519PublicKey | X25519PublicKey
PrivateKeyTypes = Ed25519PrivateKey | X25519PrivateKey
PublicKeyTypes = Ed25519PublicKey | X25519PublicKey
