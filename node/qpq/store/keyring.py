"""identity.json: the keys of node and users, petnames, blocked and muted senders, channels, peers given by hand.

Each change is written (0600, atomic replace) before it holds in memory; where writing fails,
nothing has changed. A file that cannot be read is reported and never written to.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from qpq.crypto.export import DEFAULT_COST, MAX_MEMORY_KIB, Cost, open_export, seal_export
from qpq.crypto.identity import (
    ID_CHARACTERS,
    Address,
    Identity,
    SecretIdentity,
    looks_like_prefix,
    parse_id,
    text_id,
)
from qpq.crypto.primitives import NONCE_BYTES, SALT_BYTES, SEED_BYTES, taken
from qpq.store import trust
from qpq.store.codec import PLAIN
from qpq.store.keyring_data import (
    MAX_BLOCKED,
    MAX_CHANNELS,
    MAX_MUTED,
    MAX_PEERS,
    MAX_SEEN,
    MAX_USERS,
    ContentError,
    Contents,
    KnownPeer,
    NameRefusedError,
    User,
    check_peer_address,
    check_user_name,
    decode_contents,
    decode_user,
    encode_contents,
    encode_user,
)
from qpq.store.keyring_errors import (
    AmbiguousPeerError,
    KeyringDamagedError,
    KeyringError,
    KeyringMissingError,
    KeyringWriteError,
    LimitReachedError,
    NoSuchChannelError,
    NoSuchUserError,
    UnknownPeerError,
)
from qpq.store.keyring_file import Stamp, destroy, opened, read_private, replace_private, sealed, stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qpq.crypto.channels import Channel
    from qpq.store.codec import Codec

FILE_NAME = "identity.json"
FIRST_USER = "me"
MAX_FILE = 3 * 1024 * 1024


class Keyring:
    """The identities of one node. ``random`` gives n secret random bytes (the default: the kernel's)."""

    __slots__ = ("_codec", "_contents", "_gone", "_path", "_random", "_stamp", "exposed")

    def __init__(
        self,
        path: str,
        contents: Contents,
        stamp: Stamp | None,
        *,
        random: Callable[[int], bytes] = os.urandom,
        exposed: bool = False,
        codec: Codec = PLAIN,
    ) -> None:
        self._path = path
        self._contents = contents
        self._stamp = stamp
        self._random = random
        self._codec = codec
        self._gone = False
        self.exposed = exposed

    @classmethod
    def load(cls, path: str, *, random: Callable[[int], bytes] = os.urandom, codec: Codec = PLAIN) -> Keyring:
        """Read an existing file; ``exposed`` on the result: others could read it until now.

        ``codec``: what it is sealed under; one that is not sealed is read as well, and sealed now.

        Raises KeyringMissingError, KeyringDamagedError.
        """
        path = os.path.realpath(path)
        try:
            file = read_private(path, 2 * MAX_FILE)
            was_sealed, content = opened(file.content, codec, MAX_FILE)
            contents = decode_contents(content)
        except FileNotFoundError:
            raise KeyringMissingError(f"{path} does not exist: a node makes it on its first start") from None
        except (OSError, ValueError, ContentError) as error:
            raise KeyringDamagedError(
                f"{path} cannot be used: {error}. It was left as it is: put a backup in its place,"
                " or move it away to start with a new identity"
            ) from None
        keyring = cls(path, contents, file.stamp, random=random, exposed=file.exposed, codec=codec)
        if codec.number and not was_sealed:
            keyring.reseal(codec)
        return keyring

    @classmethod
    def create(cls, path: str, *, random: Callable[[int], bytes] = os.urandom, codec: Codec = PLAIN) -> Keyring:
        """Make node identity and first user ("me") and write the file; raises KeyringWriteError."""
        node, user = SecretIdentity(taken(random(SEED_BYTES))), SecretIdentity(taken(random(SEED_BYTES)))
        contents = Contents(node, (User(FIRST_USER, user),))
        keyring = cls(os.path.realpath(path), contents, None, random=random, codec=codec)
        keyring._commit(contents)
        return keyring

    @classmethod
    def open(cls, path: str, *, random: Callable[[int], bytes] = os.urandom, codec: Codec = PLAIN) -> Keyring:
        """Load the file, or create it where there is none; raises KeyringDamagedError, KeyringWriteError."""
        try:
            return cls.load(path, random=random, codec=codec)
        except KeyringMissingError:
            return cls.create(path, random=random, codec=codec)

    def reseal(self, codec: Codec) -> None:
        """Write the file under another codec and overwrite what it was; raises KeyringWriteError."""
        before, self._codec = self._codec, codec
        try:
            self._write(self._contents, shred=True)
        except KeyringWriteError:
            self._codec = before
            raise

    def destroy(self) -> None:
        """Overwrite and remove the file; from now on nothing can be changed. Raises OSError."""
        self._gone = True
        destroy(self._path)

    @property
    def path(self) -> str:
        """Where the file lies."""
        return self._path

    @property
    def node(self) -> SecretIdentity:
        """The identity of the node's links."""
        return self._contents.node

    @property
    def users(self) -> tuple[User, ...]:
        """All users, the default one first."""
        return self._contents.users

    @property
    def peers(self) -> tuple[KnownPeer, ...]:
        """The peers given by hand, oldest first."""
        return self._contents.peers

    def user(self, name: str) -> User:
        """Return the user of that name; raises NoSuchUserError."""
        for user in self.users:
            if user.name == name:
                return user
        names = ", ".join([user.name for user in self.users])
        raise NoSuchUserError(f"no user {name!r} on this node; there is: {names}")

    def add_user(self, name: str) -> User:
        """Make a user with a new key; raises NameRefusedError, LimitReachedError, KeyringWriteError."""
        return self._add(User(name, SecretIdentity(taken(self._random(SEED_BYTES)))))

    def remove_user(self, name: str) -> User:
        """Remove a user and the key for good; raises NoSuchUserError, and KeyringError for the last one."""
        user = self.user(name)
        if len(self.users) == 1:
            raise KeyringError(f"{name} is the only user of this node and stays: add another one first")
        self._commit(replace(self._contents, users=tuple([one for one in self.users if one is not user])))
        return user

    def update_user(self, user_name: str, change: Callable[[User], User]) -> User:
        """Put ``change(user)`` in the user's place; raises NoSuchUserError, KeyringWriteError and what it raises."""
        changed = change(self.user(user_name))
        self._change(changed)
        return changed

    def name_peer(self, user_name: str, address: Address, petname: str) -> bool:
        """Call ``address`` by ``petname`` from now on; an empty one takes the name away.

        False: the petname is another id's, and stays there until the user accepts the new one (``store.trust``).
        Raises NoSuchUserError, NameRefusedError, LimitReachedError, KeyringWriteError.
        """
        user = self.update_user(user_name, lambda user: trust.named(user, address, petname, self.users))
        return user.petnames.get(address, "") == petname

    def block(self, user_name: str, address: Address) -> None:
        """Take nothing more from ``address``; raises NoSuchUserError, LimitReachedError, KeyringWriteError."""
        user = self.user(user_name)
        if address == user.address:
            raise KeyringError("that is your own id: it is not blocked")
        blocked = _limited(user.blocked | {address}, MAX_BLOCKED, "blocked senders")
        self._change(replace(user, blocked=blocked))

    def unblock(self, user_name: str, address: Address) -> None:
        """Take messages from ``address`` again; raises NoSuchUserError, KeyringWriteError."""
        user = self.user(user_name)
        self._change(replace(user, blocked=user.blocked - {address}))

    def mute(self, user_name: str, address: Address) -> None:
        """Keep messages of ``address`` without showing them as they come; raises as ``block``."""
        user = self.user(user_name)
        muted = _limited(user.muted | {address}, MAX_MUTED, "muted senders")
        self._change(replace(user, muted=muted))

    def unmute(self, user_name: str, address: Address) -> None:
        """Show messages of ``address`` as they come again; raises NoSuchUserError, KeyringWriteError."""
        user = self.user(user_name)
        self._change(replace(user, muted=user.muted - {address}))

    def join_channel(self, user_name: str, channel: Channel) -> None:
        """Keep a channel that a user reads; one that is kept already is no fault.

        Raises NoSuchUserError, LimitReachedError, KeyringWriteError, and KeyringError where the topic or the key
        belongs to another channel of this user.
        """
        user = self.user(user_name)
        if channel in user.channels:
            return
        if any(channel.topic == other.topic or channel.key == other.key for other in user.channels):
            raise KeyringError(f"{user_name} reads another channel #{channel.topic} already: unsubscribe from it first")
        if len(user.channels) >= MAX_CHANNELS:
            raise LimitReachedError(f"{MAX_CHANNELS} channels is all that are kept: unsubscribe from one first")
        self._change(replace(user, channels=(*user.channels, channel)))

    def leave_channel(self, user_name: str, topic: str) -> Channel:
        """Forget a channel and return it; raises NoSuchUserError, NoSuchChannelError, KeyringWriteError."""
        user, channel = self.user(user_name), self.channel(user_name, topic)
        self._change(replace(user, channels=tuple([other for other in user.channels if other is not channel])))
        return channel

    def channel(self, user_name: str, topic: str) -> Channel:
        """Return the channel that a user reads under this topic; raises NoSuchUserError, NoSuchChannelError."""
        for channel in self.user(user_name).channels:
            if channel.topic == topic:
                return channel
        raise NoSuchChannelError(f"{user_name} reads no channel #{topic}: subscribe to it first")

    def add_peer(self, address: str, identity: Identity | None = None) -> None:
        """Keep a peer given by hand; one with the same address is replaced.

        Raises ContentError for what is no address, LimitReachedError, KeyringWriteError.
        """
        check_peer_address(address)
        others = [peer for peer in self.peers if peer.address != address]
        if len(others) >= MAX_PEERS:
            raise LimitReachedError(f"{MAX_PEERS} peers given by hand is all that are kept: remove one first")
        self._commit_peers((*others, KnownPeer(address, identity)))

    def remove_peer(self, address: str) -> bool:
        """Forget a peer given by hand; False where there is none. Raises KeyringWriteError."""
        others = tuple([peer for peer in self.peers if peer.address != address])
        found = len(others) < len(self.peers)
        self._commit_peers(others)
        return found

    @property
    def seen(self) -> dict[str, Identity]:
        """Which node answered at addresses that are always dialled."""
        return {peer.address: peer.identity for peer in self._contents.seen if peer.identity is not None}

    def note_seen(self, address: str, identity: Identity | None) -> None:
        """Remember which node answered at ``address``, None: forget it; the oldest of too many goes.

        Raises KeyringWriteError.
        """
        seen = [peer for peer in self._contents.seen if peer.address != address]
        if identity is not None:
            seen.append(KnownPeer(address, identity))
        self._commit(replace(self._contents, seen=tuple(seen[-MAX_SEEN:])))

    def export_user(self, name: str, passphrase: str, cost: Cost = DEFAULT_COST) -> str:
        """Return the user (key, names, blocked, muted) as text under a passphrase.

        Takes up to seconds of Argon2id. Raises NoSuchUserError, PassphraseError, CryptoError.
        """
        data = encode_user(self.user(name))
        return seal_export(data, passphrase, salt=self._random(SALT_BYTES), nonce=self._random(NONCE_BYTES), cost=cost)

    def import_user(self, text: str, passphrase: str, name: str = "", *, memory_kib: int = MAX_MEMORY_KIB) -> User:
        """Add an exported user, under its own name or ``name``; ``memory_kib``: what this machine can give.

        Takes up to seconds of Argon2id. Raises what ``open_export`` raises, ContentError,
        NameRefusedError, LimitReachedError, KeyringError where the key is here already.
        """
        return self.take_user(open_user(text, passphrase, memory_kib=memory_kib), name)

    def take_user(self, user: User, name: str = "") -> User:
        """Add what ``open_user`` returned, under its own name or ``name``; raises as ``import_user``."""
        return self._add(replace(user, name=name) if name else user)

    def resolve(self, user_name: str, text: str, known: Iterable[bytes] = ()) -> Address:
        """Return whom ``text`` means to a user: petname, user of this node, id, or unique beginning of one.

        The user's own names come first, so that no stranger's id can take their place.
        ``known`` are further ids (peers, senders). Raises UnknownPeerError, AmbiguousPeerError,
        IdentityError for 52 characters that are no id.
        """
        user = self.user(user_name)
        for address, petname in user.petnames.items():
            if petname.casefold() == text.casefold():
                return address
        for local in self.users:
            if local.name == text:
                return local.address
        if not looks_like_prefix(text):
            raise UnknownPeerError(f"nobody is called {text!r}: give a petname, an id, or 8 or more characters of one")
        if len(text) == ID_CHARACTERS:
            return Address(parse_id(text))
        named = {*user.petnames, *user.changed.values(), *user.verified}
        candidates = {*known, *named, self.node.identity, *[local.address for local in self.users]}
        return _by_prefix(text, candidates)

    def _add(self, user: User) -> User:
        check_user_name(user.name)
        if len(self.users) >= MAX_USERS:
            raise LimitReachedError(f"a node has at most {MAX_USERS} users: remove one first")
        for other in self.users:
            if other.name == user.name:
                raise NameRefusedError(f"there is a user {user.name} already: choose another name")
            if other.address == user.address:
                raise KeyringError(f"this key is here already, as user {other.name}")
        if user.address == self.node.address:
            raise KeyringError("this key is the node's own: it cannot be a user's as well")
        users = (*self.users, user)
        self._commit(replace(self._contents, users=tuple([trust.met(each, users) for each in users])))
        return self.users[-1]

    def _change(self, changed: User) -> None:
        users = tuple([changed if user.name == changed.name else user for user in self.users])
        self._commit(replace(self._contents, users=users))

    def _commit_peers(self, peers: tuple[KnownPeer, ...]) -> None:
        self._commit(replace(self._contents, peers=peers))

    def _commit(self, contents: Contents) -> None:
        if contents is not self._contents and contents == self._contents:
            return
        self._write(contents, shred=len(contents.users) < len(self.users))
        self._contents = contents

    def _write(self, contents: Contents, *, shred: bool) -> None:
        if self._gone:
            raise KeyringWriteError("this node is being wiped: nothing can be changed any more")
        try:
            found = stamp_of(self._path)
            if found is not None and found != self._stamp:
                raise KeyringWriteError(
                    f"{self._path} is not the file this node read or wrote last: nothing was changed, restart the node"
                )
            content = sealed(encode_contents(contents), self._codec)
            self._stamp = replace_private(self._path, content, shred=shred)
        except OSError as error:
            raise KeyringWriteError(
                f"{self._path} cannot be written ({error.strerror}): nothing was changed;"
                " make room or mend the permissions"
            ) from None


def open_user(text: str, passphrase: str, *, memory_kib: int = MAX_MEMORY_KIB) -> User:
    """Return the user in an export; the slow part of ``import_user``, which any thread may do."""
    return decode_user(open_export(text, passphrase, memory_kib=memory_kib))


def _limited(addresses: frozenset[Address], limit: int, what: str) -> frozenset[Address]:
    if len(addresses) > limit:
        raise LimitReachedError(f"{limit} {what} is all that are kept: remove one first")
    return addresses


def _by_prefix(text: str, candidates: Iterable[bytes]) -> Address:
    found = [candidate for candidate in candidates if text_id(candidate).startswith(text)]
    if not found:
        raise UnknownPeerError(f"no known id begins with {text}: give the whole id")
    if len(found) > 1:
        listed = ", ".join(sorted(map(text_id, found))[:4])
        raise AmbiguousPeerError(f"{len(found)} ids begin with {text}, type more of it: {listed}")
    return Address(found[0])
