r"""What stands in clear before the ciphertext of seal formats 2 and 3.

A session message, format 2::

    u8 2 || u8 flags || ratchet key (32) || varint n || varint pn || random (16)
         || [KEM key (1184)] || [KEM ciphertext (1088)] || ciphertext || tag (16)

An opening message, format 3, has behind its flags ``prekey id (8) || [one-time id (8)] || ephemeral key (32) ||
X-Wing ciphertext (1120)`` and goes on as format 2. Flags: 1 KEM key, 2 KEM ciphertext, 4 one-time id (format 3 only).
``n`` is the message's number in its chain, ``pn`` the length of the chain before (the Double Ratchet's header); varints
are those of QUIC (RFC 9000 section 16) in 1, 2 or 4 bytes, the shortest that does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from qpq.crypto import kem, xwing
from qpq.crypto.errors import AuthenticationError, UnknownFormatError
from qpq.crypto.prekeys import KEY_ID_BYTES
from qpq.crypto.primitives import KEY_BYTES, TAG_BYTES

FORMAT_SESSION: Final = 2
FORMAT_OPENING: Final = 3
RANDOM_BYTES: Final = 16
MAX_NUMBER: Final = (1 << 30) - 1
OPENING_BYTES: Final = KEY_ID_BYTES + KEY_BYTES + xwing.CIPHERTEXT_BYTES
"""What format 3 adds, without a one-time id."""

_KEM_KEY: Final = 1
_KEM_CIPHERTEXT: Final = 2
_ONE_TIME: Final = 4
_ONE: Final = 1 << 6
_TWO: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Header:
    """A header; keys and ids that are not there are empty. ``end`` is where the ciphertext begins."""

    format: int
    ratchet_key: bytes
    n: int
    pn: int
    random: bytes
    prekey_id: bytes = b""
    one_time_id: bytes = b""
    ephemeral: bytes = b""
    xwing_ciphertext: bytes = field(default=b"", repr=False)
    kem_key: bytes = field(default=b"", repr=False)
    kem_ciphertext: bytes = field(default=b"", repr=False)
    end: int = 0


def encode_header(opening: bytes, header: Header) -> bytes:
    """Return the bytes of a header; ``opening`` is what format 3 adds, empty for format 2."""
    flags = (_KEM_KEY if header.kem_key else 0) | (_KEM_CIPHERTEXT if header.kem_ciphertext else 0)
    if len(opening) > OPENING_BYTES:
        flags |= _ONE_TIME
    return b"".join(
        (
            bytes((header.format, flags)),
            opening,
            header.ratchet_key,
            _varint(header.n),
            _varint(header.pn),
            header.random,
            header.kem_key,
            header.kem_ciphertext,
        )
    )


def read_header(payload: bytes) -> Header:
    """Read the header of a payload of format 2 or 3.

    Raises UnknownFormatError for another format or flags this version lacks, AuthenticationError for one that is cut
    short or not in shortest form.
    """
    if payload[:1] not in {b"\x02", b"\x03"}:
        raise UnknownFormatError(f"a session message of format {payload[:1].hex() or 'none'}: a newer qpq may open it")
    reader = _Reader(payload)
    form, flags = reader.take(2)
    known = _KEM_KEY | _KEM_CIPHERTEXT | (_ONE_TIME if form == FORMAT_OPENING else 0)
    if flags & ~known:
        raise UnknownFormatError(f"a session message with flags {flags}: a newer qpq may open it")
    prekey_id = one_time_id = ephemeral = xwing_ciphertext = b""
    if form == FORMAT_OPENING:
        prekey_id = reader.take(KEY_ID_BYTES)
        one_time_id = reader.take(KEY_ID_BYTES if flags & _ONE_TIME else 0)
        ephemeral = reader.take(KEY_BYTES)
        xwing_ciphertext = reader.take(xwing.CIPHERTEXT_BYTES)
    header = Header(
        form,
        reader.take(KEY_BYTES),
        reader.varint(),
        reader.varint(),
        reader.take(RANDOM_BYTES),
        prekey_id,
        one_time_id,
        ephemeral,
        xwing_ciphertext,
        reader.take(kem.PUBLIC_BYTES if flags & _KEM_KEY else 0),
        reader.take(kem.CIPHERTEXT_BYTES if flags & _KEM_CIPHERTEXT else 0),
        reader.position,
    )
    reader.take(TAG_BYTES)
    return header


def plaintext_bytes(payload: bytes) -> int:
    """Return the length of what a payload of format 2 or 3 hides; raises as ``read_header``."""
    return len(payload) - read_header(payload).end - TAG_BYTES


class _Reader:
    """Takes fields from the front; AuthenticationError where there are too few bytes."""

    __slots__ = ("_data", "position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def take(self, size: int) -> bytes:
        start, self.position = self.position, self.position + size
        if self.position > len(self._data):
            raise AuthenticationError(f"a session message of {len(self._data)} bytes is cut short")
        return self._data[start : self.position]

    def varint(self) -> int:
        first = self.take(1)
        width = 1 << (first[0] >> 6)
        value = int.from_bytes(first + self.take(width - 1), "big") & ((1 << (8 * width - 2)) - 1)
        if value > MAX_NUMBER or _varint_size(value) != width:
            raise AuthenticationError("a number in a session message is not in its shortest form")
        return value


def _varint_size(value: int) -> int:
    if value < _ONE:
        return 1
    return 2 if value < _TWO else 4


def _varint(value: int) -> bytes:
    width = _varint_size(value)
    return (value | (width >> 1) << (8 * width - 2)).to_bytes(width, "big")
