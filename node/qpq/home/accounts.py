"""Who may use the client port: names, their keys, and access tokens, of which only hashes are kept.

A token is text, ``qpq-`` and 8 letters or digits that name it, ``-`` and 52 that are secret (32 random bytes), and is
shown once. Its hash needs no salt and no slow function: nobody guesses 32 random bytes.

The file, JSON, format 1::

    {"format": 1, "tokens": [{"id": ..., "name": ..., "key": ..., "hash": 64 hexadecimal digits, "made": Unix seconds}]}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from qpq.crypto.errors import IdentityError
from qpq.crypto.identity import Identity, parse_id, text_id
from qpq.crypto.primitives import equal, tagged_hash
from qpq.errors import QpqError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FORMAT: Final = 1
MAX_TOKENS: Final = 256
MAX_BYTES: Final = 128 << 10
"""Bytes of the file."""
TOKEN_TAG: Final = b"qpq client token v1"
_HEAD = "qpq"
_ID_BYTES, _SECRET_BYTES, _HASH_BYTES = 5, 32, 32
_ID_CHARACTERS, _MAX_NAME = 8, 32
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
_NOBODY: Final = bytes(_HASH_BYTES)


class AccountError(QpqError):
    """An account or token that cannot be as it was asked for, or a file that is none; the message says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """One access token: what names it, whose it is, and the hash of the whole text. ``made``: Unix seconds."""

    number: str
    name: str
    identity: Identity
    digest: bytes
    made: int


class Accounts:
    """All tokens, oldest first; an account is a name and a key that at least one token is for."""

    def __init__(self, tokens: Iterable[Token] = ()) -> None:
        self._tokens: dict[str, Token] = {}
        self._names: dict[str, Identity] = {}
        self._keys: dict[bytes, str] = {}
        self.replace(tokens)

    def replace(self, tokens: Iterable[Token]) -> None:
        """Have these tokens from now on, and no others."""
        self._tokens = {token.number: token for token in tokens}
        self._index()

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All tokens, oldest first."""
        return tuple(self._tokens.values())

    def key(self, name: str) -> Identity | None:
        """Return the key of an account."""
        return self._names.get(name)

    def name(self, key: bytes) -> str:
        """Return the name of the account with that key; empty: there is none."""
        return self._keys.get(key, "")

    def holder(self, text: bytes) -> Token | None:
        """Return the token whose text that is; None: it is nobody's. Takes the same time for every wrong secret."""
        found = self._tokens.get(_number(text))
        matches = equal(_digest(text), found.digest if found is not None else _NOBODY)
        return found if matches else None

    def is_valid(self, token: Token) -> bool:
        """Whether a token has not been revoked since."""
        return token.number in self._tokens

    def add(self, name: str, key: Identity, made: int, random: Callable[[int], bytes]) -> tuple[Token, str]:
        """Make a token for an account, new or not; return it and its text. Raises AccountError."""
        _check_name(name)
        if len(self._tokens) >= MAX_TOKENS:
            raise AccountError(f"there are {MAX_TOKENS} tokens already: revoke one first")
        if self._names.get(name, key) != key:
            raise AccountError(f"{name} has tokens for another key: revoke those first, or choose another name")
        if self._keys.get(key, name) != name:
            raise AccountError(f"this key has tokens under the name {self._keys[key]}: use that name")
        number = text_id(random(_ID_BYTES))
        while number in self._tokens:
            number = text_id(random(_ID_BYTES))
        text = f"{_HEAD}-{number}-{text_id(random(_SECRET_BYTES))}"
        token = Token(number, name, key, _digest(text.encode()), made)
        self._tokens[number] = token
        self._index()
        return token, text

    def revoke(self, number: str) -> Token:
        """Take a token away; raises AccountError."""
        token = self._tokens.pop(number, None)
        if token is None:
            raise AccountError(f"no token is named {number}: client token list shows them")
        self._index()
        return token

    def encode(self) -> bytes:
        """Return the file."""
        rows = [
            {
                "id": token.number,
                "name": token.name,
                "key": text_id(token.identity),
                "hash": token.digest.hex(),
                "made": token.made,
            }
            for token in self._tokens.values()
        ]
        return json.dumps({"format": FORMAT, "tokens": rows}, indent=1).encode() + b"\n"

    @classmethod
    def decode(cls, content: bytes) -> Accounts:
        """Read the file; raises AccountError."""
        try:
            document = json.loads(content)
            if set(document) != {"format", "tokens"} or document["format"] != FORMAT:
                raise AccountError(f"this is not format {FORMAT} of a file of client tokens")
            tokens = [_token(row) for row in document["tokens"]]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, IdentityError) as fault:
            raise AccountError(f"this is no file of client tokens ({fault})") from None
        if len(tokens) > MAX_TOKENS or len({token.number for token in tokens}) < len(tokens):
            raise AccountError("too many tokens, or one of them twice")
        accounts = cls(tokens)
        if any(accounts._names[token.name] != token.identity for token in tokens) or len(accounts._keys) < len(
            accounts._names
        ):
            raise AccountError("a name with two keys, or a key with two names")
        return accounts

    def _index(self) -> None:
        self._names = {token.name: token.identity for token in self._tokens.values()}
        self._keys = {token.identity: token.name for token in self._tokens.values()}


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= _MAX_NAME or not _NAME_CHARACTERS.issuperset(name) or name.startswith("-"):
        raise AccountError(
            f"the name of a client has 1 to {_MAX_NAME} characters of a-z, 0-9, _ and -, and does not begin with -"
        )


def _token(row: dict[str, Any]) -> Token:
    number, name, key, digest, made = (row[field] for field in ("id", "name", "key", "hash", "made"))
    _check_name(name)
    if len(row) > 5 or type(made) is not int or type(number) is not str:  # noqa: PLR2004 (the fields above)
        raise AccountError("a token with other fields than it should have")
    if len(number) != _ID_CHARACTERS:
        raise AccountError("a token whose number has another length than it should have")
    found = Token(number, name, Identity(parse_id(key)), bytes.fromhex(digest), made)
    if len(found.digest) != _HASH_BYTES:
        raise AccountError("a token whose hash has another length than it should have")
    return found


def _number(text: bytes) -> str:
    """Return what names a token in its text; empty: this is no token's text."""
    head, _, rest = text.partition(b"-")
    number, _, _ = rest.partition(b"-")
    return number.decode() if head == _HEAD.encode() and number.isascii() else ""


def _digest(text: bytes) -> bytes:
    return tagged_hash(TOKEN_TAG, text)
