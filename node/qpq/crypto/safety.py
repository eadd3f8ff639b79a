"""Safety numbers: 60 digits that two people compare to know that nobody stands between them.

The derivation is Signal's numeric fingerprint (libsignal, ``fingerprint.rs``, hash version 0), digit for digit::

    d = SHA-512(00 00 || key || identifier || key),  then 5199 times  d = SHA-512(d || key)
    30 digits of a party = for each of the first six groups of 5 bytes of d: big-endian number mod 100000, five digits
    safety number = the smaller of the two parties' 30 digits, then the larger

Here key is the identity (Ed25519, 32 bytes) and identifier the address, which are the same bytes in this version. The
5200 rounds make each guess at a key with wanted digits that much dearer. For cameras there is a text of both ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.crypto.errors import IdentityError, SafetyError, UnknownFormatError
from qpq.crypto.identity import Address, parse_id, text_id
from qpq.crypto.primitives import equal, sha512

if TYPE_CHECKING:
    from collections.abc import Sequence

ITERATIONS: Final = 5200
DIGITS: Final = 60
SCAN_PREFIX: Final = "QPQ-VERIFY:"
SCAN_VERSION: Final = "1"

_HASH_VERSION = b"\x00\x00"
_GROUP = 5
_PARTY_BYTES = 30
_MODULUS = 100_000
_PARTIES = 2
_NUMERALS = frozenset("0123456789")


def party_digits(key: bytes, identifier: bytes, *, iterations: int = ITERATIONS) -> str:
    """Return the 30 digits of one party; ``iterations`` (1 or more) are fixed for people, tests may take fewer."""
    digest = sha512(b"".join((_HASH_VERSION, key, identifier, key)))
    for _ in range(iterations - 1):
        digest = sha512(digest + key)
    groups = [digest[at : at + _GROUP] for at in range(0, _PARTY_BYTES, _GROUP)]
    return "".join([f"{int.from_bytes(group, 'big') % _MODULUS:05d}" for group in groups])


def safety_number(one: Address, other: Address) -> str:
    """Return the 60 digits of two people, the same for both; 10 ms on a PC, up to a second on a router."""
    return "".join(sorted(party_digits(key, key) for key in (one, other)))


def groups(number: str) -> Sequence[str]:
    """Return a number in its 12 groups of 5 digits, as people read it out."""
    return [number[at : at + _GROUP] for at in range(0, len(number), _GROUP)]


def scan_text(own: Address, peer: Address) -> str:
    """Return what a QR code holds: version, whose screen it is on, whom that person sees; in capitals, dense."""
    return f"{SCAN_PREFIX}{SCAN_VERSION}:{text_id(own).upper()}:{text_id(peer).upper()}"


def matches(given: str, own: Address, peer: Address, number: str) -> bool:
    """Whether what was read out (60 digits, grouped anyhow) or scanned from the peer's screen is of these two.

    ``number`` is their safety number. Compares in constant time. Raises SafetyError for a text that is neither,
    UnknownFormatError for a scanned text of a later version.
    """
    text = "".join(given.split())
    if text.upper().startswith(SCAN_PREFIX):
        theirs, seen = _scanned(text)
        return equal(theirs + seen, peer + own)
    digits = text.replace("-", "")
    if len(digits) != DIGITS or not _NUMERALS.issuperset(digits):
        raise SafetyError(f"a safety number has {DIGITS} digits, not what was given: compare it whole")
    return equal(digits.encode(), number.encode())


def _scanned(text: str) -> tuple[bytes, bytes]:
    version, *ids = text[len(SCAN_PREFIX) :].split(":")
    if version != SCAN_VERSION and version and _NUMERALS.issuperset(version):
        raise UnknownFormatError(f"this code is of version {version[:8]}, made by a newer qpq: compare the digits")
    try:
        if version == SCAN_VERSION and len(ids) == _PARTIES:
            return parse_id(ids[0].lower()), parse_id(ids[1].lower())
    except IdentityError:
        pass
    raise SafetyError("this code is cut or altered: scan it again, whole")
