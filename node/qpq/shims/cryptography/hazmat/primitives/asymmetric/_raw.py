"""Keys of 32 bytes and their encodings (RFC 8410)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, check, encoded

if TYPE_CHECKING:
    from typing import Self

    from ..serialization import BestAvailableEncryption

KEY_BYTES = 32


class RawKey:
    """32 bytes; equal when they are."""

    __slots__ = ("_raw",)

    kind: ClassVar[str]
    oid: ClassVar[bytes]

    _raw: bytes

    @classmethod
    def _of(cls, raw: bytes) -> Self:
        key = object.__new__(cls)
        key._raw = raw
        return key

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


class RawPublicKey(RawKey):
    """A public key."""

    __slots__ = ()

    def __new__(cls, *_: object) -> Self:
        """Refuse: keys come from ``from_public_bytes``."""
        raise TypeError(f"Can't instantiate abstract class {cls.__name__}")

    __hash__ = None  # type: ignore[assignment]  # as the real keys

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._raw == self._raw

    @classmethod
    def from_public_bytes(cls, data: bytes) -> Self:
        """Take the 32 bytes; raises ValueError for another number."""
        if not isinstance(data, bytes):
            raise TypeError(f"{type(data).__name__!r} object is not an instance of 'bytes'")
        if len(data) != KEY_BYTES:
            raise ValueError(f"An {cls.kind} public key is 32 bytes long")
        return cls._of(data)

    def public_bytes_raw(self) -> bytes:
        """Return the 32 bytes."""
        return self._raw

    def public_bytes(self, encoding: Encoding, format: PublicFormat) -> bytes:  # noqa: A002 (theirs)
        """Return the key raw, or as SubjectPublicKeyInfo in DER or PEM."""
        check(encoding, Encoding)
        check(format, PublicFormat)
        if encoding is Encoding.Raw or format is PublicFormat.Raw:
            if encoding is not Encoding.Raw or format is not PublicFormat.Raw:
                raise ValueError("When using Raw both encoding and format must be Raw")
            return self._raw
        if format is not PublicFormat.SubjectPublicKeyInfo or encoding not in {Encoding.DER, Encoding.PEM}:
            raise ValueError("format is invalid with this key")
        return encoded(b"\x30\x2a\x30\x05" + self.oid + b"\x03\x21\x00" + self._raw, encoding, "PUBLIC KEY")


class RawPrivateKey(RawKey):
    """A private key; nothing shows it but what is named after that."""

    __slots__ = ()

    def __new__(cls, *_: object) -> Self:
        """Refuse: keys come from ``generate`` and ``from_private_bytes``."""
        raise TypeError(f"Can't instantiate abstract class {cls.__name__}")

    def private_bytes_raw(self) -> bytes:
        """Return the 32 bytes."""
        return self._raw

    def private_bytes(
        self,
        encoding: Encoding,
        format: PrivateFormat,  # noqa: A002 (theirs)
        encryption_algorithm: NoEncryption | BestAvailableEncryption,
    ) -> bytes:
        """Return the key raw, or as PKCS #8 in DER or PEM; never encrypted."""
        check(encoding, Encoding)
        check(format, PrivateFormat)
        plain = isinstance(encryption_algorithm, NoEncryption)
        if encoding is Encoding.Raw or format is PrivateFormat.Raw:
            if encoding is not Encoding.Raw or format is not PrivateFormat.Raw or not plain:
                raise ValueError(
                    "When using Raw both encoding and format must be Raw "
                    "and encryption_algorithm must be NoEncryption()"
                )
            return self._raw
        if format is not PrivateFormat.PKCS8 or encoding not in {Encoding.DER, Encoding.PEM} or not plain:
            raise ValueError("format is invalid with this key")
        der = b"\x30\x2e\x02\x01\x00\x30\x05" + self.oid + b"\x04\x22\x04\x20" + self._raw
        return encoded(der, encoding, "PRIVATE KEY")
