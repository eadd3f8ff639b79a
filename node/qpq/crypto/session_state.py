"""A session's state as bytes for the store.

Version 1::

    u8 1 || u8 1 for the initiator, else 0 || session id (8) || binding (32) || ephemeral key (32) || root key (32)
         || u64 last step || u64 last KEM step + 1 || u32 sent || u32 previous || u32 received
         || fields: u16 length and bytes each, in the order of FIELDS, of which an absent one has length 0
         || u8 count, past ratchet keys (8 each)
         || u8 count, ratchet keys of kept message keys (32 each)
         || u16 count, kept message keys, oldest first: u8 index of ratchet key, u32 n, u64 life, key (32)

Integers are big-endian. A later version reads what an earlier one wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

from qpq.crypto import kem
from qpq.crypto.agreement import SESSION_ID_BYTES
from qpq.crypto.errors import CryptoError, UnknownFormatError
from qpq.crypto.prekeys import KEY_ID_BYTES
from qpq.crypto.primitives import KEY_BYTES, spend, taken
from qpq.crypto.ratchet import MARK_BYTES, MAX_SKIPPED, PAST_CHAINS, Kept, Ratchet
from qpq.crypto.session_header import MAX_NUMBER, OPENING_BYTES

VERSION: Final = 1
FIELDS: Final = (
    ("opening", (OPENING_BYTES, OPENING_BYTES + KEY_ID_BYTES)),
    ("own_secret", (KEY_BYTES,)),
    ("own_public", (KEY_BYTES,)),
    ("sending", (KEY_BYTES,)),
    ("remote", (KEY_BYTES,)),
    ("receiving", (KEY_BYTES,)),
    ("kem_secret", (kem.SECRET_BYTES,)),
    ("kem_public", (kem.PUBLIC_BYTES,)),
    ("kem_ciphertext", (kem.CIPHERTEXT_BYTES,)),
    ("peer_kem", (kem.PUBLIC_BYTES,)),
)
"""Fields that may be absent, and the lengths they have otherwise."""

_SECRET: Final = frozenset({"own_secret", "sending", "receiving", "kem_secret"})
_HEAD: Final = Struct(f">BB{SESSION_ID_BYTES}s32s32s32sQQIII")
_LENGTH: Final = Struct(">H")
_KEPT: Final = Struct(">BIQ32s")
_MAX_LIFE: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class State:
    """What a session is made of; ``opening`` is what its messages of format 3 carry, empty when they are format 2."""

    session_id: bytes
    is_initiator: bool
    binding: bytes
    ephemeral: bytes
    opening: bytes
    last_step: int
    ratchet: Ratchet


def encode(state: State) -> bytes:
    """Return the state as bytes, all of it secret."""
    ratchet = state.ratchet
    head = _HEAD.pack(
        VERSION,
        state.is_initiator,
        state.session_id,
        state.binding,
        state.ephemeral,
        ratchet.root,
        state.last_step,
        ratchet.kem_life + 1,
        ratchet.sent,
        ratchet.previous,
        ratchet.received,
    )
    parts = [head]
    for name, _ in FIELDS:
        value: bytes = state.opening if name == "opening" else getattr(ratchet, name)
        parts += (_LENGTH.pack(len(value)), value)
    keys = list(dict.fromkeys(ratchet_key for ratchet_key, _ in ratchet.skipped))
    indexes = {ratchet_key: index for index, ratchet_key in enumerate(keys)}
    parts += (bytes((len(ratchet.past),)), *ratchet.past, bytes((len(keys),)), *keys)
    parts.append(_LENGTH.pack(len(ratchet.skipped)))
    skipped = [
        _KEPT.pack(indexes[ratchet_key], n, kept.life, kept.key) for (ratchet_key, n), kept in ratchet.skipped.items()
    ]
    data = taken(b"".join((*parts, *skipped)))
    for part in (head, *skipped):
        spend(part)
    return data


def decode(data: bytes) -> State:
    """Read what ``encode`` gave; raises UnknownFormatError for a later version, CryptoError for what is damaged."""
    if data[:1] != bytes((VERSION,)):
        raise UnknownFormatError(f"the state of a session, version {data[:1].hex() or 'none'}: a newer qpq wrote it")
    reader = _Reader(data)
    _, initiator, session_id, binding, ephemeral, root, last_step, kem_life, sent, previous, received = reader.unpack(
        _HEAD
    )
    fields: dict[str, Any] = {name: reader.field(lengths) for name, lengths in FIELDS}
    fields |= {name: taken(fields[name]) for name in _SECRET}
    opening: bytes = fields.pop("opening")
    ratchet = Ratchet(taken(root), sent=sent, previous=previous, received=received, kem_life=kem_life - 1, **fields)
    ratchet.past = tuple(reader.take(MARK_BYTES) for _ in range(reader.count(PAST_CHAINS)))
    keys = [reader.take(KEY_BYTES) for _ in range(reader.take(1)[0])]
    (kept,) = reader.unpack(_LENGTH)
    for _ in range(kept):
        index, n, life, key = reader.unpack(_KEPT)
        _require(index < len(keys))
        ratchet.skipped[keys[index], n] = Kept(taken(key), life)
    _require(reader.is_at_end and kept == len(ratchet.skipped) <= MAX_SKIPPED)
    _require(max(sent, previous, received) <= MAX_NUMBER + 1 and max(last_step, kem_life) <= _MAX_LIFE)
    _require(initiator <= 1 and (initiator or not opening) and _is_possible(ratchet))
    state = State(session_id, bool(initiator), binding, ephemeral, opening, last_step, ratchet)
    _require(encode(state) == data)
    return state


def _is_possible(ratchet: Ratchet) -> bool:
    """Whether the parts that belong together are there together."""
    is_sending = bool(ratchet.sending)
    return (
        bool(ratchet.remote)
        and is_sending is bool(ratchet.own_secret) is bool(ratchet.own_public)
        and (is_sending or not (ratchet.kem_secret or ratchet.kem_ciphertext))
        and (bool(ratchet.kem_secret) or not ratchet.kem_public)
    )


def _require(condition: bool) -> None:
    if not condition:
        raise CryptoError("the state of a session is damaged")


class _Reader:
    """Takes parts from the front; CryptoError where there are too few bytes."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def is_at_end(self) -> bool:
        return self._position == len(self._data)

    def take(self, size: int) -> bytes:
        start, self._position = self._position, self._position + size
        _require(self._position <= len(self._data))
        return self._data[start : self._position]

    def unpack(self, form: Struct) -> tuple[Any, ...]:
        return form.unpack(self.take(form.size))

    def count(self, most: int) -> int:
        found = self.take(1)[0]
        _require(found <= most)
        return found

    def field(self, lengths: tuple[int, ...]) -> bytes:
        (length,) = self.unpack(_LENGTH)
        _require(length == 0 or length in lengths)
        return self.take(length)
