"""What relays bring sealed, and what people paste: ids and exports."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qpq.crypto.errors import CryptoError
from qpq.crypto.export import open_export
from qpq.crypto.identity import SecretIdentity, looks_like_prefix, parse_id, text_id
from qpq.crypto.sealing import open_sealed

if TYPE_CHECKING:
    from collections.abc import Callable

SENDER, RECIPIENT = SecretIdentity(b"s" * 32), SecretIdentity(b"r" * 32)
MEMORY_KIB = 64
"""What an export may ask for here: enough to reach the cipher, little enough to be fast."""


def sealed(data: bytes) -> None:
    with contextlib.suppress(CryptoError):
        assert len(open_sealed(data, sender=SENDER.address, recipient_secret=RECIPIENT)) == len(data) - 49


def identity(data: bytes) -> None:
    text = data.decode(errors="replace")
    looks_like_prefix(text)
    with contextlib.suppress(CryptoError):
        assert text_id(parse_id(text)) == text


def export(data: bytes) -> None:
    with contextlib.suppress(CryptoError):
        open_export(data.decode(errors="replace"), "a passphrase", memory_kib=MEMORY_KIB)


TARGETS: dict[str, Callable[[bytes], None]] = {"session": sealed, "identity": identity, "export": export}
