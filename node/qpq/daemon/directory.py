"""The names by which other domains find users of the whole mesh: names.json on a relay, kept by who administers it.

Nothing in a mesh tells people's names, so a name is known outside only if somebody has written it down here. The file
is JSON, format 1, mode 0600, replaced whole or not at all::

    {"format": 1, "names": {"anna": <id>, ...}}
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from qpq.crypto.errors import IdentityError
from qpq.crypto.identity import Identity, parse_id, text_id
from qpq.errors import QpqError
from qpq.store.keyring_file import read_private, replace_private
from qpq.store.wiping import NAMES
from qpq.wire.domain import check_user
from qpq.wire.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = 1
MAX_NAMES: Final = 2000
MAX_BYTES: Final = 512 << 10
"""Bytes of the file."""


class DirectoryError(QpqError):
    """A name that cannot be as it was asked for, or a file that is none or cannot be written; the message says why."""


class Directory:
    """The file of one relay and what it holds."""

    def __init__(self, data_dir: str) -> None:
        """Read the file, if there is one; raises DirectoryError."""
        self._path = os.path.join(data_dir, NAMES)
        self._names: dict[str, Identity] = {}
        try:
            self._names = _decode(read_private(self._path, MAX_BYTES).content)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, DirectoryError) as error:
            raise DirectoryError(
                f"{self._path}: {error}; put a good one back, or move it away and add the names anew"
            ) from None

    @property
    def names(self) -> Mapping[str, Identity]:
        """All names with their keys, in the order of the alphabet."""
        return self._names

    def add(self, name: str, key: Identity) -> None:
        """Let a name mean a key from now on; raises DirectoryError, and then nothing has changed."""
        known = self._names.get(name)
        if known is not None and known != key:
            raise DirectoryError(f"{name} means {text_id(known)}: remove it first if it is to mean somebody else")
        if known is None and len(self._names) >= MAX_NAMES:
            raise DirectoryError(f"there are {MAX_NAMES} names already: remove one first")
        self._write({**self._names, name: key})

    def remove(self, name: str) -> Identity:
        """Forget a name and return whose it was; raises DirectoryError, and then it is still there."""
        known = self._names.get(name)
        if known is None:
            raise DirectoryError(f"{name} is not in the directory: federation name list shows what is")
        self._write({other: key for other, key in self._names.items() if other != name})
        return known

    def _write(self, names: dict[str, Identity]) -> None:
        ordered = dict(sorted(names.items()))
        document = {"format": FORMAT, "names": {name: text_id(key) for name, key in ordered.items()}}
        try:
            replace_private(self._path, json.dumps(document, indent=1).encode() + b"\n")
        except OSError as error:
            raise DirectoryError(f"{self._path}: {error.strerror}: nothing was changed") from None
        self._names = ordered


def _decode(content: bytes) -> dict[str, Identity]:
    try:
        document: Any = json.loads(content)
        if set(document) != {"format", "names"} or document["format"] != FORMAT:
            raise DirectoryError(f"this is not format {FORMAT} of a directory of names")
        names = {name: Identity(parse_id(key)) for name, key in document["names"].items()}
        for name in names:
            check_user(name)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, IdentityError, FieldError) as fault:
        raise DirectoryError(f"this is no directory of names ({fault})") from None
    if len(names) > MAX_NAMES:
        raise DirectoryError(f"more than {MAX_NAMES} names")
    return dict(sorted(names.items()))
