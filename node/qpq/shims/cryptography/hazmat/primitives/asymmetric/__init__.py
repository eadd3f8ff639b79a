"""X25519 and Ed25519; of the others the names that aioquic mentions, each refusing when it is called."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn

from ....exceptions import AbsentAlgorithm
from . import ed25519, x25519

if TYPE_CHECKING:
    from typing import Any

__all__ = ["dsa", "ec", "ed448", "ed25519", "padding", "rsa", "x448", "x25519"]


class _Absent:
    """Nothing is ever an instance of a class below this."""

    def __new__(cls, *_: object, **__: object) -> NoReturn:
        raise AbsentAlgorithm(f"{cls.__name__} is not built in")

    @classmethod
    def generate(cls) -> NoReturn:
        """Refuse."""
        cls()

    @classmethod
    def from_public_bytes(cls, data: bytes) -> NoReturn:  # noqa: ARG003 (theirs)
        """Refuse."""
        cls()

    from_private_bytes = from_public_bytes

    @classmethod
    def from_encoded_point(cls, curve: object, data: bytes) -> NoReturn:  # noqa: ARG003 (theirs)
        """Refuse."""
        cls()


def _absent(*names: str) -> Any:
    return SimpleNamespace(**{name: type(name, (_Absent,), {}) for name in names})


dsa = _absent("DSAPrivateKey", "DSAPublicKey")
ec = _absent(
    "ECDH", "ECDSA", "EllipticCurvePrivateKey", "EllipticCurvePublicKey", "SECP256R1", "SECP384R1", "SECP521R1"
)
ec.generate_private_key = type("generate_private_key", (_Absent,), {})
ed448 = _absent("Ed448PrivateKey", "Ed448PublicKey")
padding = _absent("MGF1", "PKCS1v15", "PSS")
rsa = _absent("RSAPrivateKey", "RSAPublicKey")
x448 = _absent("X448PrivateKey", "X448PublicKey")
