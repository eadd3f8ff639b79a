"""What stands in identity.json and in an export once it is open."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qpq.store.keyring_data import ContentError, decode_contents, decode_user, encode_contents, encode_user

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


TARGETS: dict[str, Callable[[bytes], None]] = {"keyring": keyring, "user": user}
