"""Who somebody is: Ed25519 keys, their text form, and the secret half of one's own."""

from __future__ import annotations

from functools import lru_cache
from typing import NewType, NoReturn

from qpq.crypto import primitives
from qpq.crypto.errors import CryptoError, IdentityError
from qpq.crypto.primitives import kept, lock

Identity = NewType("Identity", bytes)
"""The 32-byte Ed25519 public key of a node or a user."""

Address = NewType("Address", bytes)
"""The 32 bytes by which the wire names a sender or recipient; blinded modes will make them differ."""

ID_BYTES = 32
ID_CHARACTERS = 52
MIN_PREFIX = 8

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_LETTERS = frozenset(_ALPHABET)
_DIGITS = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_BITS = 5
_TEXTS = 128  # kept, 25 KiB: people write to few, and a message is told of more than once
_TAIL_BITS = ID_CHARACTERS * _BITS - ID_BYTES * 8


def address_of(identity: Identity) -> Address:
    """Return the address of an identity (today the same bytes)."""
    return Address(identity)


@lru_cache(_TEXTS)
def text_id(key: bytes) -> str:
    """Return a public ``key`` as ``base32`` does, 32 bytes in 52 characters; the last ones are remembered."""
    return base32(key)


def base32(key: bytes) -> str:
    """Return ``key`` as lower-case base32 without padding (RFC 4648 section 6); nothing of it is remembered."""
    count = -(-len(key) * 8 // _BITS)
    number = int.from_bytes(key, "big") << (count * _BITS - len(key) * 8)
    return "".join([_ALPHABET[number >> shift & 31] for shift in range((count - 1) * _BITS, -1, -_BITS)])


def parse_id(text: str) -> bytes:
    """Return the 32 bytes of a text id, the inverse of ``text_id``; one key has one text.

    Raises IdentityError for another length, other characters, or bits beyond the 32nd byte.
    """
    if len(text) != ID_CHARACTERS:
        raise IdentityError(f"an id has {ID_CHARACTERS} characters, not {len(text)}: copy it again, whole")
    if not _LETTERS.issuperset(text):
        raise IdentityError("an id is made of the letters a-z (small) and the digits 2-7: copy it again")
    number = int(text.translate(_DIGITS), 32)
    if number & ((1 << _TAIL_BITS) - 1):
        raise IdentityError("the last character of this id cannot be right: copy it again")
    return (number >> _TAIL_BITS).to_bytes(ID_BYTES, "big")


def parse_base32(text: str) -> bytes | None:
    """Return the bytes that ``base32`` gives ``text`` for, of any length; None: there are none."""
    if not text or not _LETTERS.issuperset(text):
        return None
    size, spare = divmod(len(text) * _BITS, 8)
    data = (int(text.translate(_DIGITS), 32) >> spare).to_bytes(size, "big")
    return data if base32(data) == text else None


def prefix_range(text: str, size: int) -> tuple[bytes, bytes] | None:
    """Return the first and the last key of ``size`` bytes whose text form begins with ``text``; None: there is none."""
    bits = size * 8
    spare = -bits % _BITS
    shift = bits + spare - len(text) * _BITS
    if shift < 0 or not text or not _LETTERS.issuperset(text):
        return None
    number = int(text.translate(_DIGITS), 32)
    low, high = -(-(number << shift) >> spare), ((number + 1 << shift) - 1) >> spare
    return (low.to_bytes(size, "big"), high.to_bytes(size, "big")) if low <= high else None


def looks_like_prefix(text: str) -> bool:
    """Whether ``text`` could be typed as the beginning of an id (8 to 52 of its characters)."""
    return MIN_PREFIX <= len(text) <= ID_CHARACTERS and _LETTERS.issuperset(text)


class SecretIdentity:
    """A node's or user's own key pair, made from a 32-byte seed; raises CryptoError for another length.

    Its secrets are kept out of swap where that can be had; ``wipe`` drops them, which overwrites them.
    """

    __slots__ = ("_seed", "_x25519_secret", "address", "identity", "x25519_public")

    def __init__(self, seed: bytes) -> None:
        public = primitives.ed25519_public(seed)
        self.identity = Identity(public)
        self.address = address_of(self.identity)
        self._seed = kept(seed)
        self._x25519_secret = primitives.ed25519_seed_to_x25519(seed, public)
        self.x25519_public = primitives.x25519_public(self._x25519_secret)
        lock(self._seed, self._x25519_secret)

    @property
    def seed(self) -> bytes:
        """The 32-byte Ed25519 seed, for the key file only; raises CryptoError once wiped."""
        return self._seed or self._wiped()

    @property
    def x25519_secret(self) -> bytes:
        """The X25519 form of the secret, for key agreement; raises CryptoError once wiped."""
        return self._x25519_secret or self._wiped()

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature; raises CryptoError once wiped."""
        return primitives.ed25519_sign(self.seed, self.identity, message)

    def wipe(self) -> None:
        """Forget the secrets; the public half stays."""
        self._seed = b""
        self._x25519_secret = b""

    def __repr__(self) -> str:
        """Name the public half only."""
        return f"<SecretIdentity {text_id(self.identity)}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: a secret leaves through the key file or an export only."""
        raise TypeError("a SecretIdentity is not pickled")

    def _wiped(self) -> NoReturn:
        raise CryptoError(f"the secret key of {text_id(self.identity)} has been wiped")
