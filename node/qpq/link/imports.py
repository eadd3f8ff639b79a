"""Imports aioquic without what a node of pinned keys never uses; ``qpq.link`` runs this before anything else in it.

aioquic.tls imports three packages to check chains of certificates against authorities (certifi, OpenSSL,
service_identity), all of X.509, OpenSSL's ``ssl`` for three constants, and eight kinds of keys; its
loggers bring HTTP/3. That is 160 modules and 15 MB, of which links use Ed25519 and X25519. While aioquic is
imported, the names below stand for them; afterwards the names are free again, and whoever imports
``cryptography.x509`` gets the real one. What is imported already is left alone.

Two kinds of stand-ins: ``Certificate`` does what it does with this room's own strict reader, so that the
key that is judged is the key that verifies. All else raises NotUsedError when it is called. That is a
ValueError, which the library expects of a bad key: a peer that answers in another group gets an alert.
"""

from __future__ import annotations

import sys
from enum import IntEnum
from types import ModuleType
from typing import TYPE_CHECKING, Final, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

try:  # the names of encodings without what reads keys from files, and X25519 without what asks which OpenSSL it is
    from cryptography.hazmat.bindings._rust import openssl as _openssl
    from cryptography.hazmat.primitives import _serialization as _encodings
except ImportError:  # a cryptography of another make, light by itself
    from cryptography.hazmat.primitives import serialization as _encodings  # type: ignore[no-redef]

    _openssl = None  # type: ignore[assignment]

from qpq.link.certificates import identity_of
from qpq.link.errors import CertificateError, NotUsedError

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEYS: Final = "cryptography.hazmat.primitives.asymmetric"
_SERIALIZATION: Final = "cryptography.hazmat.primitives.serialization"

# Modules of which aioquic wants names only: module to names.
NAMES_ONLY: Final = {
    "certifi": "where",
    "OpenSSL.crypto": "X509 X509Store X509StoreContext X509StoreContextError",
    "service_identity.cryptography": "extract_patterns verify_certificate_hostname verify_certificate_ip_address",
    "service_identity": "CertificateError VerificationError",
    f"{_KEYS}.dsa": "DSAPrivateKey DSAPublicKey",
    f"{_KEYS}.ec": "ECDH ECDSA EllipticCurvePrivateKey EllipticCurvePublicKey SECP256R1 SECP384R1 SECP521R1"
    " generate_private_key",
    f"{_KEYS}.ed448": "Ed448PrivateKey Ed448PublicKey",
    f"{_KEYS}.padding": "MGF1 PKCS1v15 PSS",
    f"{_KEYS}.rsa": "RSAPrivateKey RSAPublicKey",
    f"{_KEYS}.x448": "X448PrivateKey X448PublicKey",
    f"{_KEYS}.types": "CertificateIssuerPublicKeyTypes PrivateKeyTypes",
    "aioquic.quic.congestion.cubic": "CubicCongestionControl",
    "aioquic.quic.logger": "QuicLogger QuicLoggerTrace",
}


class _Names(type):
    """The class of stand-ins: nothing is an instance of them, and whatever is asked of them is refused."""

    def __call__(cls, *_: object, **__: object) -> NoReturn:
        raise NotUsedError(f"{cls.__module__}.{cls.__qualname__} is not used by links and was not loaded")

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotUsedError(f"{cls.__module__}.{cls.__qualname__}.{name} is not used by links and was not loaded")


class Certificate:
    """A certificate that ``identity_of`` has read: its key and its bytes. Dates and names are nobody's business."""

    __slots__ = ("_der", "_key")

    def __init__(self, der: bytes) -> None:
        self._key = identity_of(der)
        self._der = der

    def public_key(self) -> Ed25519PublicKey:
        """Return the key."""
        return Ed25519PublicKey.from_public_bytes(self._key)

    def public_bytes(self, encoding: object) -> bytes:
        """Return DER; raises NotUsedError for other encodings."""
        if encoding != _encodings.Encoding.DER:
            raise NotUsedError("certificates of links are DER only")
        return self._der

    @property
    def not_valid_before_utc(self) -> NoReturn:
        """Refuse: whoever asks for dates is about to trust an authority."""
        raise NotUsedError("links look at no dates of certificates: verify_mode must be CERT_NONE")

    not_valid_after_utc = not_valid_before_utc


def load_der_x509_certificate(data: bytes, backend: object = None) -> Certificate:  # noqa: ARG001 (theirs)
    """Return the certificate; raises ValueError for what ``identity_of`` refuses."""
    try:
        return Certificate(data)
    except CertificateError as fault:
        raise ValueError(str(fault)) from fault


class VerifyMode(IntEnum):
    """The constants of ``ssl`` that aioquic compares its own setting with."""

    CERT_NONE = 0
    CERT_OPTIONAL = 1
    CERT_REQUIRED = 2


class _OfOpenSSL(type):
    """The class of ``_X25519PublicKey``: its instances are the real keys."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _openssl.x25519.X25519PublicKey)


class _X25519PublicKey(metaclass=_OfOpenSSL):
    """What aioquic uses of the class of this name."""

    from_public_bytes = staticmethod(_openssl.x25519.from_public_bytes) if _openssl else None


class _X25519PrivateKey:
    """What aioquic uses of the class of this name."""

    generate = staticmethod(_openssl.x25519.generate_key) if _openssl else None


class _Backend:
    """Says which keys there are."""

    @staticmethod
    def ed25519_supported() -> bool:
        return True

    @staticmethod
    def ed448_supported() -> bool:
        return False

    x25519_supported = ed25519_supported
    x448_supported = ed448_supported


def _stand_ins() -> Iterator[ModuleType]:
    """Make them all."""
    for name, names in NAMES_ONLY.items():
        yield _module(name, **{each: _Names(each, (), {"__module__": name}) for each in names.split()})
    yield _module(
        "cryptography.x509",
        Certificate=Certificate,
        load_der_x509_certificate=load_der_x509_certificate,
        load_pem_x509_certificate=_Names("load_pem_x509_certificate", (), {"__module__": "cryptography.x509"}),
    )
    yield _module("cryptography.hazmat.backends", default_backend=_Backend)
    if _openssl is not None:
        yield _module(f"{_KEYS}.x25519", X25519PublicKey=_X25519PublicKey, X25519PrivateKey=_X25519PrivateKey)
    yield _module("ssl", VerifyMode=VerifyMode, **VerifyMode.__members__)
    yield _module(
        _SERIALIZATION,
        Encoding=_encodings.Encoding,
        PublicFormat=_encodings.PublicFormat,
        load_pem_private_key=_Names("load_pem_private_key", (), {"__module__": _SERIALIZATION}),
    )


def _module(name: str, **contents: object) -> ModuleType:
    module = ModuleType(name, "Stands for the real one while aioquic is imported.")
    vars(module).update(contents)
    return module


def load_aioquic() -> None:
    """Import aioquic, once."""
    if "aioquic.tls" in sys.modules:
        return
    placed = {module.__name__: module for module in _stand_ins() if module.__name__ not in sys.modules}
    for package, name in (("OpenSSL", "crypto"), ("service_identity", "cryptography")):
        inner = placed.get(f"{package}.{name}")
        if inner is not None:
            vars(placed.setdefault(package, _module(package)))[name] = inner
    sys.modules.update(placed)
    try:
        import aioquic.quic.connection  # noqa: F401, PLC0415 (the place is the point)
    finally:
        for name in placed:
            del sys.modules[name]


load_aioquic()
