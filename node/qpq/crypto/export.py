"""An identity as text under a passphrase, to carry it from one node to another.

``qpq-identity-1:`` and base64 of::

    u32be passes || u32be memory in KiB || salt (16) || nonce (12) || ciphertext || tag (16)

Key = Argon2id(passphrase, salt); the prefix and all before the ciphertext are authenticated.
The parameters come from the text, so they are capped before any memory is asked for.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass
from struct import Struct

from qpq.crypto import primitives
from qpq.crypto.errors import (
    AuthenticationError,
    ExportError,
    PassphraseError,
    UnknownFormatError,
)

PREFIX = "qpq-identity-1:"
MIN_PASSPHRASE = 8
MAX_PASSPHRASE = 1024
MAX_DATA = 128 * 1024
MAX_OPS = 16
MAX_MEMORY_KIB = 256 * 1024
MAX_WORK_KIB = 1024 * 1024

_FAMILY = "qpq-identity-"
_HEAD = Struct(">II16s12s")
_MIN_MEMORY_KIB = 8
_MAX_TEXT = 256 * 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """What guessing a passphrase costs: Argon2id passes (1..16) and memory (8..262144 KiB).

    Their product is capped at 1 GiB-passes. The default is above the least OWASP recommends
    (19 MiB, 2 passes) and still opens on a router with 64 MB.
    """

    ops: int = 4
    memory_kib: int = 16 * 1024


DEFAULT_COST = Cost()


def check_passphrase(passphrase: str) -> bytes:
    """Return the passphrase as UTF-8; raises PassphraseError for under 8 characters or over 1024 bytes."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise PassphraseError(f"a passphrase has at least {MIN_PASSPHRASE} characters: choose a longer one")
    try:
        encoded = passphrase.encode()
    except UnicodeEncodeError:
        raise PassphraseError("the passphrase is no valid text: type it in a UTF-8 terminal") from None
    if len(encoded) > MAX_PASSPHRASE:
        raise PassphraseError(f"a passphrase has at most {MAX_PASSPHRASE} bytes: choose a shorter one")
    return encoded


def seal_export(data: bytes, passphrase: str, *, salt: bytes, nonce: bytes, cost: Cost = DEFAULT_COST) -> str:
    """Return ``data`` (at most 128 KiB) as one line of text; ``salt`` 16 and ``nonce`` 12 random bytes.

    Raises PassphraseError, ExportError for too much data or a cost out of its limits, CryptoError
    where the memory cannot be had. Takes seconds on a router.
    """
    if len(data) > MAX_DATA:
        raise ExportError(f"{len(data)} bytes are too much for an export; at most {MAX_DATA} fit")
    check_cost(cost)
    encoded = check_passphrase(passphrase)
    key = primitives.argon2id(encoded, salt, ops=cost.ops, memory=cost.memory_kib << 10)
    head = _HEAD.pack(cost.ops, cost.memory_kib, salt, nonce)
    sealed = primitives.aead_seal(key, nonce, data, PREFIX.encode() + head)
    return PREFIX + b2a_base64(head + sealed, newline=False).decode()


def open_export(text: str, passphrase: str, *, memory_kib: int = MAX_MEMORY_KIB) -> bytes:
    """Return the data of ``seal_export``; white space anywhere in ``text`` does not matter.

    ``memory_kib`` is what this machine can give without harm (a kernel that overcommits would
    grant more, and then kill).
    Raises UnknownFormatError, ExportError for a text that is cut or asks for too much,
    PassphraseError, AuthenticationError for a wrong passphrase or an altered text.
    """
    raw = _unarmour(text)
    if len(raw) < _HEAD.size + primitives.TAG_BYTES:
        raise ExportError("the export is cut short: copy it again, whole")
    ops, wanted, salt, nonce = _HEAD.unpack_from(raw)
    cost = Cost(ops, wanted)
    check_cost(cost)
    if cost.memory_kib > memory_kib:
        raise ExportError(
            f"the export needs {cost.memory_kib} KiB of memory, more than the {memory_kib} KiB there are for it:"
            " import it on a larger machine"
        )
    encoded = check_passphrase(passphrase)
    key = primitives.argon2id(encoded, salt, ops=cost.ops, memory=cost.memory_kib << 10)
    head, sealed = raw[: _HEAD.size], raw[_HEAD.size :]
    try:
        return primitives.aead_open(key, nonce, sealed, PREFIX.encode() + head)
    except AuthenticationError:
        raise AuthenticationError("wrong passphrase, or the export was altered: try again") from None


def _unarmour(text: str) -> bytes:
    if len(text) > _MAX_TEXT:
        raise ExportError(f"{len(text)} characters are no export of an identity: at most {_MAX_TEXT} can be")
    compact = "".join(text.split())
    if not compact.startswith(PREFIX):
        if compact.startswith(_FAMILY):
            raise UnknownFormatError("this export was written by a newer qpq: import it there, or update this node")
        raise ExportError(f"this is no export of an identity: it begins with {PREFIX}")
    armour = compact[len(PREFIX) :]
    try:
        raw = a2b_base64(armour, strict_mode=True)
    except ValueError:
        raise ExportError("the export is damaged: copy it again, whole") from None
    if b2a_base64(raw, newline=False).decode() != armour:
        raise ExportError("the export is damaged at its end: copy it again, whole")
    return raw


def check_cost(cost: Cost) -> None:
    """Raise ExportError for a cost out of its limits."""
    if not (
        1 <= cost.ops <= MAX_OPS
        and _MIN_MEMORY_KIB <= cost.memory_kib <= MAX_MEMORY_KIB
        and cost.ops * cost.memory_kib <= MAX_WORK_KIB
    ):
        raise ExportError(
            f"the export asks for {cost.ops} passes over {cost.memory_kib} KiB of memory, more than is allowed"
            f" ({MAX_OPS} passes, {MAX_MEMORY_KIB} KiB): it was damaged, or made to harm"
        )
