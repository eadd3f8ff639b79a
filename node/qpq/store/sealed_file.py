"""identity.json under the vault's key: the same document, sealed whole.

``{"format": 100, "sealed": base64 of nonce 12 || ciphertext || tag 16}``; older programs tell of a newer format and
leave it alone.
"""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Final

from qpq.store.codec import SEALED_HEAD
from qpq.store.faults import StoreDamagedError

if TYPE_CHECKING:
    from qpq.store.codec import Codec

PLACE: Final = "identity.json"
_BEHIND: Final = b'"}\n'


def seal(content: bytes, codec: Codec) -> bytes:
    """Return what is to be written of a document."""
    return SEALED_HEAD + b2a_base64(codec.data(PLACE, (), content), newline=False) + _BEHIND


def unseal(content: bytes, codec: Codec) -> bytes:
    """Return the document of a sealed file; raises ValueError where it was altered or is under another key."""
    if not codec.number:
        raise ValueError("it is sealed, and there is no vault.json to open it with: put vault.json back")
    if not content.endswith(_BEHIND):
        raise ValueError("it is sealed, and cut short")
    try:
        return codec.read_data(PLACE, (), a2b_base64(content[len(SEALED_HEAD) : -len(_BEHIND)], strict_mode=True))
    except Error:
        raise ValueError("it is sealed, and damaged") from None
    except StoreDamagedError:
        raise ValueError("it is sealed, and was altered or belongs to another vault.json") from None
