"""What relays bring sealed, and what people paste: ids, exports and channels."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qpq.crypto.channels import OVERHEAD, day_tag, decode_share, encode_share, open_broadcast
from qpq.crypto.errors import CryptoError
from qpq.crypto.export import open_export
from qpq.crypto.identity import SecretIdentity, looks_like_prefix, parse_id, text_id
from qpq.crypto.safety import matches, safety_number
from qpq.crypto.sealing import open_sealed

if TYPE_CHECKING:
    from collections.abc import Callable

SENDER, RECIPIENT = SecretIdentity(b"s" * 32), SecretIdentity(b"r" * 32)
NUMBER = safety_number(SENDER.address, RECIPIENT.address)
KEY = b"k" * 32
TAG = day_tag(KEY, 1)
MEMORY_KIB = 64
"""What an export may ask for here: enough to reach the cipher, little enough to be fast."""


def sealed(data: bytes) -> None:
    with contextlib.suppress(CryptoError):
        assert len(open_sealed(data, sender=SENDER.address, recipient_secret=RECIPIENT)) == len(data) - 49


def broadcast(data: bytes) -> None:
    with contextlib.suppress(CryptoError):
        assert len(open_broadcast(KEY, data, tag=TAG, sender=SENDER.address)) == len(data) - OVERHEAD


def share(data: bytes) -> None:
    text = data.decode(errors="replace")
    with contextlib.suppress(CryptoError):
        assert encode_share(decode_share(text)) == "".join(text.split()).lower()


def identity(data: bytes) -> None:
    text = data.decode(errors="replace")
    looks_like_prefix(text)
    with contextlib.suppress(CryptoError):
        assert text_id(parse_id(text)) == text


def safety(data: bytes) -> None:
    text = data.decode(errors="replace")
    with contextlib.suppress(CryptoError):
        if matches(text, RECIPIENT.address, SENDER.address, NUMBER):
            bare = "".join(text.split()).replace("-", "")
            assert bare == NUMBER or bare.upper().endswith(text_id(RECIPIENT.identity).upper())


def export(data: bytes) -> None:
    with contextlib.suppress(CryptoError):
        open_export(data.decode(errors="replace"), "a passphrase", memory_kib=MEMORY_KIB)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "broadcast": broadcast,
    "export": export,
    "identity": identity,
    "safety": safety,
    "session": sealed,
    "share": share,
}
