"""What stands in identity.json, in an export once it is open, and in the snapshot of a store in RAM."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qpq.store.faults import StoreDamagedError, StoreTooNewError
from qpq.store.keyring_data import ContentError, decode_contents, decode_user, encode_contents, encode_user
from qpq.store.oplog import HEAD, block, item, read

if TYPE_CHECKING:
    from collections.abc import Callable


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
        with contextlib.suppress(StoreDamagedError, StoreTooNewError):
            operations, size = read(whole)
            assert size <= len(whole)
            written = HEAD + block(map(item, operations))
            assert read(written) == (operations, len(written))


TARGETS: dict[str, Callable[[bytes], None]] = {"keyring": keyring, "user": user, "snapshot": snapshot}
