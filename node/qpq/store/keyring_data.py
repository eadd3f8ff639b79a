"""What identity.json holds, as values: its rules, its JSON and nothing of files.

The JSON, format 1 (ids in text form, seeds as 64 hexadecimal digits)::

    {"format": 1,
     "node":  {"id": ..., "seed": ...},
     "users": [{"name": ..., "id": ..., "seed": ..., "petnames": {id: name}, "blocked": [id], "muted": [id],
                "channels": [{"topic": ..., "kind": "open", "key": ..., "signers": [id]}],
                "verified": [id], "changed": {id: new id}, "padding": false,
                "outside": {id: "name@domain"}}],
     "peers": [{"address": "host:port", "id": ...}],
     "seen":  [{"address": "host:port", "id": ...}]}

A user of no channel has no ``channels``, and keys are written as 64 hexadecimal digits like seeds. In the same way
``verified`` (whose key the user has checked), ``changed`` (whose petname is claimed by another id), ``padding`` (false
only), ``outside`` (who is of another domain: ``store.contacts``) and ``seen`` (which node answered at an address that
is always dialled) stand there only where they say something.

The id beside each seed is there for people, and to notice a damaged seed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qpq.crypto.channels import MAX_SIGNERS, Channel, ChannelKind
from qpq.crypto.errors import ChannelError, IdentityError
from qpq.crypto.identity import Address, Identity, SecretIdentity, looks_like_prefix, parse_id, text_id
from qpq.crypto.primitives import taken
from qpq.errors import QpqError

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT = 1
MAX_USERS = 16
MAX_PETNAMES = 256
MAX_BLOCKED = 256
MAX_MUTED = 256
MAX_PEERS = 64
MAX_CHANNELS = 64
MAX_VERIFIED = 256
MAX_CHANGED = 64
MAX_SEEN = 128
MAX_OUTSIDE = 256
MAX_NAME = 32
MAX_PETNAME_BYTES = 64

_USER_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
_HEX = frozenset("0123456789abcdef")
_SEED_DIGITS = 64
_MAX_PEER_ADDRESS = 280
_PETNAME_FORBIDDEN = frozenset("\"'\\`")
_PETNAME_FIRST = frozenset("-/")
_LOOKS_LIKE_ID = 20
_USER_OPTIONAL = ("channels", "verified", "changed", "padding", "outside")


class ContentError(QpqError):
    """JSON that is no identity.json (or no exported user); the message says where."""


class NameRefusedError(QpqError):
    """A user name or petname that breaks a rule or is taken; choose another."""


@dataclass(frozen=True, slots=True)
class User:
    """One person on this node: name, key, and how this person sees others (read-only).

    ``changed``: an id that has a petname, and the id that has claimed the petname since. ``padding``: the lengths of
    this user's messages are hidden within steps.
    """

    name: str
    secret: SecretIdentity
    petnames: dict[Address, str] = field(default_factory=dict)
    blocked: frozenset[Address] = frozenset()
    muted: frozenset[Address] = frozenset()
    channels: tuple[Channel, ...] = ()
    verified: frozenset[Address] = frozenset()
    changed: dict[Address, Address] = field(default_factory=dict)
    padding: bool = True
    outside: dict[Address, str] = field(default_factory=dict)

    @property
    def address(self) -> Address:
        """The address of this user's inbox."""
        return self.secret.address


@dataclass(frozen=True, slots=True)
class KnownPeer:
    """A node given by hand: socket address ``host:port``, and its identity where it is known."""

    address: str
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """All of identity.json; the first user is the default one, of ``seen`` the last is the newest."""

    node: SecretIdentity
    users: tuple[User, ...]
    peers: tuple[KnownPeer, ...] = ()
    seen: tuple[KnownPeer, ...] = ()


def check_user_name(name: str) -> None:
    """Raise NameRefusedError unless ``name`` is 1 to 32 of a-z, 0-9, _ and -, not beginning with -."""
    if not 1 <= len(name) <= MAX_NAME or not _USER_CHARACTERS.issuperset(name) or name.startswith("-"):
        raise NameRefusedError(
            f"a user name has 1 to {MAX_NAME} characters of a-z, 0-9, _ and -, and does not begin with -"
        )


def check_petname(name: str) -> None:
    """Raise NameRefusedError unless ``name`` can stand for a peer on the command line and on the screen.

    1 to 32 printable characters without white space, quotes or backslashes, not beginning with
    ``-`` or ``/``, and not long enough to be taken for an id (names win over beginnings of ids).
    """
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable() or len(name.encode()) > MAX_PETNAME_BYTES:
        raise NameRefusedError(f"a petname has 1 to {MAX_NAME} visible characters")
    if name[0] in _PETNAME_FIRST or " " in name or not _PETNAME_FORBIDDEN.isdisjoint(name):
        raise NameRefusedError("a petname has no spaces, quotes or backslashes and does not begin with - or /")
    if len(name) >= _LOOKS_LIKE_ID and looks_like_prefix(name):
        raise NameRefusedError(
            f"{name!r} could be taken for an id: write it with a capital letter, a dot or a hyphen in it"
        )


def encode_contents(contents: Contents) -> bytes:
    """Return identity.json, ASCII, in a form people can read."""
    document = {
        "format": FORMAT,
        "node": _key_pair(contents.node),
        "users": [_user_document(user) for user in contents.users],
        "peers": [_peer_document(peer) for peer in contents.peers],
        **({"seen": [_peer_document(peer) for peer in contents.seen]} if contents.seen else {}),
    }
    return _written(document, json.JSONEncoder(indent=1)) + b"\n"


def decode_contents(content: bytes) -> Contents:
    """Read identity.json strictly; raises ContentError with the place that is wrong."""
    document = _document(content, {"node", "users", "peers"}, optional=("seen",))
    node = _secret(_object(document["node"], "node", {"id", "seed"}), "node")
    rows = _list(document["users"], "users", MAX_USERS)
    users = tuple([_user(row, f"users[{index}]") for index, row in enumerate(rows)])
    peers, seen = _peers(document["peers"], "peers", MAX_PEERS), _peers(document.get("seen", []), "seen", MAX_SEEN)
    if not users:
        raise ContentError("users is empty")
    if any(peer.identity is None for peer in seen):
        raise ContentError("seen: an address without an id")
    _unique("users", [user.name for user in users])
    _unique("seeds", [node.identity, *[user.address for user in users]])
    return Contents(node, users, peers, seen)


def encode_user(user: User) -> bytes:
    """Return one user as the data of an export."""
    document = {"format": FORMAT, "user": _user_document(user)}
    return _written(document, json.JSONEncoder(separators=(",", ":"), ensure_ascii=False))


def decode_user(content: bytes) -> User:
    """Read the data of an export strictly; raises ContentError."""
    return _user(_document(content, {"user"})["user"], "user")


def check_peer_address(text: str) -> None:
    """Raise ContentError unless ``text`` can be a socket address: printable ASCII, no space, 1 to 280 long."""
    if not 1 <= len(text) <= _MAX_PEER_ADDRESS or not text.isascii() or not text.isprintable() or " " in text:
        raise ContentError("an address of a peer is host:port or [ipv6%interface]:port")


def _written(document: dict[str, object], encoder: json.JSONEncoder) -> bytes:
    """Return a document made of its parts at once: a text that grows is moved, and leaves its secrets where it was."""
    return "".join([*encoder.iterencode(document)]).encode()


def _key_pair(secret: SecretIdentity) -> dict[str, object]:
    return {"id": text_id(secret.identity), "seed": secret.seed.hex()}


def _user_document(user: User) -> dict[str, object]:
    channels = [_channel_document(channel) for channel in user.channels]
    return {
        "name": user.name,
        **_key_pair(user.secret),
        "petnames": {text_id(address): name for address, name in user.petnames.items()},
        "blocked": sorted(map(text_id, user.blocked)),
        "muted": sorted(map(text_id, user.muted)),
        **({"channels": channels} if channels else {}),
        **({"verified": sorted(map(text_id, user.verified))} if user.verified else {}),
        **({"changed": {text_id(old): text_id(new) for old, new in user.changed.items()}} if user.changed else {}),
        **({} if user.padding else {"padding": False}),
        **(
            {"outside": {text_id(address): contact for address, contact in user.outside.items()}}
            if user.outside
            else {}
        ),
    }


def _channel_document(channel: Channel) -> dict[str, object]:
    return {
        "topic": channel.topic,
        "kind": channel.kind.name.lower(),
        "key": channel.key.hex(),
        "signers": [text_id(signer) for signer in channel.signers],
    }


def _peer_document(peer: KnownPeer) -> dict[str, object]:
    known = {} if peer.identity is None else {"id": text_id(peer.identity)}
    return {"address": peer.address, **known}


def _document(content: bytes, keys: set[str], optional: Iterable[str] = ()) -> dict[str, object]:
    try:
        value = json.loads(content.decode(), object_pairs_hook=_pairs)
    except (ValueError, RecursionError) as error:
        raise ContentError(f"it is no JSON ({error})") from None
    if isinstance(value, dict) and isinstance(value.get("format"), int) and value["format"] > FORMAT:
        raise ContentError(f"format {value['format']} was written by a newer qpq: update this node")
    document = _object(value, "the file", {"format", *keys}, optional)
    if document["format"] != FORMAT:
        raise ContentError(f"format is {document['format']!r}, not {FORMAT}")
    return document


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands there twice")
    return result


def _object(value: object, where: str, keys: set[str], optional: Iterable[str] = ()) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ContentError(f"{where} is no object")
    missing = keys - value.keys()
    unknown = value.keys() - keys - {*optional}
    if missing or unknown:
        raise ContentError(f"{where}: {sorted(missing) or 'nothing'} missing, {sorted(unknown) or 'nothing'} unknown")
    return value


def _list(value: object, where: str, limit: int) -> list[object]:
    if not isinstance(value, list) or len(value) > limit:
        raise ContentError(f"{where} is no list of at most {limit}")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ContentError(f"{where} is no text")
    return value


def _secret(document: dict[str, object], where: str) -> SecretIdentity:
    secret = SecretIdentity(_hex(document["seed"], f"{where}.seed"))
    if _id(document["id"], f"{where}.id") != secret.identity:
        raise ContentError(f"{where}: id and seed do not belong together, one of them was altered")
    return secret


def _hex(value: object, where: str) -> bytes:
    digits = _text(value, where)
    if len(digits) != _SEED_DIGITS or not _HEX.issuperset(digits):
        raise ContentError(f"{where} is not {_SEED_DIGITS} hexadecimal digits")
    return taken(bytes.fromhex(digits))


def _id(value: object, where: str) -> bytes:
    try:
        return parse_id(_text(value, where))
    except IdentityError as error:
        raise ContentError(f"{where}: {error}") from None


def _ids(value: object, where: str, limit: int) -> frozenset[Address]:
    ids = [Address(_id(item, where)) for item in _list(value, where, limit)]
    _unique(where, ids)
    return frozenset(ids)


def _user(value: object, where: str) -> User:
    document = _object(value, where, {"name", "id", "seed", "petnames", "blocked", "muted"}, _USER_OPTIONAL)
    name = _text(document["name"], f"{where}.name")
    petnames = _petnames(document["petnames"], f"{where}.petnames")
    try:
        check_user_name(name)
        for petname in petnames.values():
            check_petname(petname)
    except NameRefusedError as error:
        raise ContentError(f"{where}: {error}") from None
    blocked = _ids(document["blocked"], f"{where}.blocked", MAX_BLOCKED)
    muted = _ids(document["muted"], f"{where}.muted", MAX_MUTED)
    listed = _list(document.get("channels", []), f"{where}.channels", MAX_CHANNELS)
    channels = tuple([_channel(row, f"{where}.channels[{index}]") for index, row in enumerate(listed)])
    _unique(f"{where}.channels", [channel.topic for channel in channels])
    _unique(f"{where}.channels", [channel.key for channel in channels])
    return User(
        name,
        _secret(document, where),
        petnames,
        blocked,
        muted,
        channels,
        verified=_ids(document.get("verified", []), f"{where}.verified", MAX_VERIFIED),
        changed=_changed(document.get("changed", {}), f"{where}.changed", petnames),
        padding=_flag(document.get("padding", True), f"{where}.padding"),
        outside=_outside(document.get("outside", {}), f"{where}.outside"),
    )


def _channel(value: object, where: str) -> Channel:
    document = _object(value, where, {"topic", "kind", "key", "signers"})
    kind = next((kind for kind in ChannelKind if kind.name.lower() == document["kind"]), None)
    if kind is None:
        raise ContentError(f"{where}.kind is none of open, private and announcement")
    signers = _list(document["signers"], f"{where}.signers", MAX_SIGNERS)
    try:
        return Channel(
            _text(document["topic"], f"{where}.topic"),
            _hex(document["key"], f"{where}.key"),
            kind,
            tuple([Address(_id(signer, f"{where}.signers")) for signer in signers]),
        )
    except ChannelError as error:
        raise ContentError(f"{where}: {error}") from None


def _petnames(value: object, where: str) -> dict[Address, str]:
    if not isinstance(value, dict) or len(value) > MAX_PETNAMES:
        raise ContentError(f"{where} is no object of at most {MAX_PETNAMES} names")
    petnames = {Address(_id(key, where)): _text(name, where) for key, name in value.items()}
    _unique(where, [name.casefold() for name in petnames.values()])
    return petnames


def _changed(value: object, where: str, petnames: dict[Address, str]) -> dict[Address, Address]:
    """Read which ids with a petname have another one that claims it."""
    if not isinstance(value, dict) or len(value) > MAX_CHANGED:
        raise ContentError(f"{where} is no object of at most {MAX_CHANGED} ids")
    changed = {Address(_id(old, where)): Address(_id(new, where)) for old, new in value.items()}
    if not changed.keys() <= petnames.keys() or any(old == new for old, new in changed.items()):
        raise ContentError(f"{where}: an id without a petname, or the same id on both sides")
    return changed


def _outside(value: object, where: str) -> dict[Address, str]:
    """Read who is of other domains."""
    if not isinstance(value, dict) or len(value) > MAX_OUTSIDE:
        raise ContentError(f"{where} is no object of at most {MAX_OUTSIDE} contacts")
    outside = {Address(_id(key, where)): _text(contact, where) for key, contact in value.items()}
    if outside:
        from qpq.store.contacts import check_contact  # noqa: PLC0415 (most users have none)

        try:
            for contact in outside.values():
                check_contact(contact)
        except QpqError as error:
            raise ContentError(f"{where}: {error}") from None
    return outside


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise ContentError(f"{where} is neither true nor false")
    return value


def _peers(value: object, where: str, limit: int) -> tuple[KnownPeer, ...]:
    peers = tuple([_peer(row, f"{where}[{index}]") for index, row in enumerate(_list(value, where, limit))])
    _unique(where, [peer.address for peer in peers])
    return peers


def _peer(value: object, where: str) -> KnownPeer:
    document = _object(value, where, {"address"}, ("id",))
    address = _text(document["address"], f"{where}.address")
    check_peer_address(address)
    return KnownPeer(address, Identity(_id(document["id"], f"{where}.id")) if "id" in document else None)


def _unique(where: str, values: Iterable[object]) -> None:
    listed = list(values)
    if len(set(listed)) != len(listed):
        raise ContentError(f"{where}: something stands there twice")
