"""What stands in identity.json, vault.json, an export once it is open, and the snapshot of a store in RAM."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qpq.crypto.errors import ExportError
from qpq.store.codec import Sealed
from qpq.store.faults import StoreDamagedError, StoreSealedError, StoreTooNewError
from qpq.store.keyring_data import ContentError, decode_contents, decode_user, encode_contents, encode_user
from qpq.store.oplog import HEAD, block, head, item, read
from qpq.store.sealed_file import seal, unseal
from qpq.store.vault import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable


KEY = Sealed(b"k" * 32, bytes)


def vault(data: bytes) -> None:
    with contextlib.suppress(ValueError, ExportError):
        assert decode(encode(decode(data))) == decode(data)
    with contextlib.suppress(ValueError):
        assert unseal(data, KEY) == unseal(seal(unseal(data, KEY), KEY), KEY)


def keyring(data: bytes) -> None:
    with contextlib.suppress(ContentError):
        written = encode_contents(decode_contents(data))
        assert encode_contents(decode_contents(written)) == written


def user(data: bytes) -> None:
    with contextlib.suppress(ContentError):
        written = encode_user(decode_user(data))
        assert encode_user(decode_user(written)) == written


def snapshot(data: bytes) -> None:
    for whole in (data, HEAD + block([data[len(HEAD) + 8 :]])):  # as it lies there, and past its check
        with contextlib.suppress(StoreDamagedError, StoreTooNewError, StoreSealedError):
            operations, size = read(whole)
            assert size <= len(whole)
            written = HEAD + block(map(item, operations))
            assert read(written) == (operations, len(written))
    sealed = head(KEY) + block([data[len(HEAD) + 8 :]], len(HEAD), KEY)
    for whole in (data, sealed):
        with contextlib.suppress(StoreDamagedError, StoreTooNewError):
            operations, size = read(whole, KEY)
            assert size <= len(whole)
            written = head(KEY) + block(map(item, operations), len(HEAD), KEY)
            assert read(written, KEY) == (operations, len(written))


TARGETS: dict[str, Callable[[bytes], None]] = {"keyring": keyring, "user": user, "snapshot": snapshot, "vault": vault}
