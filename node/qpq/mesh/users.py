"""The users of this node: keys, blocked senders, the announces that tell neighbours of them, the channels they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.crypto.channels import channel_id, day_of, day_tag
from qpq.crypto.identity import SecretIdentity
from qpq.wire.announce import GATEWAY, sign_announce

if TYPE_CHECKING:
    from qpq.crypto.identity import Address
    from qpq.wire.envelope import Envelope
    from qpq.wire.frames_mesh import Announce

_MAX_U32 = 0xFFFF_FFFF
_DAYS = 40
"""Days whose tags are kept ready: more than any envelope lives; the one used longest ago is forgotten."""


class LocalUser:
    """One user of this node; ``gateway``: empty, or the domain of the mesh for which it is a gateway to others.

    ``named``: the senders that the user has given names.
    """

    __slots__ = ("announce", "blocked", "gateway", "named", "secret")

    def __init__(
        self,
        secret: SecretIdentity,
        blocked: frozenset[Address],
        announce: Announce,
        gateway: str = "",
        named: frozenset[Address] = frozenset(),
    ) -> None:
        self.secret = secret
        self.gateway = gateway
        self.blocked = blocked
        self.announce = announce
        self.named = named


class Users:
    """At most ``cap`` users, and a gateway.

    The first user added who is none also reads what is sent to the node's own address.
    """

    __slots__ = ("_boot", "_cap", "_counter", "_node", "_users")

    def __init__(self, node: SecretIdentity, *, boot: int, cap: int) -> None:
        self._node = node
        self._boot = boot
        self._cap = cap
        self._counter = 0
        self._users: dict[Address, LocalUser] = {}

    def add(
        self, seed: bytes, blocked: frozenset[Address], gateway: str = "", named: frozenset[Address] = frozenset()
    ) -> LocalUser | None:
        """Add the user of an Ed25519 seed (32 bytes); None: there are too many already.

        A user that exists keeps its place and gets the new lists. Raises CryptoError for a
        seed of another length.
        """
        secret = SecretIdentity(seed)
        known = self._users.get(secret.address)
        if known is not None:
            known.blocked, known.named = blocked, named
            return known
        others = sum(not user.gateway for user in self._users.values())
        if (others >= self._cap and not gateway) or (gateway and self.gateway is not None):
            return None
        self._counter += 1
        announce = self._sign(secret, self._boot, self._counter, gateway)
        user = self._users[secret.address] = LocalUser(secret, blocked, announce, gateway, named)
        return user

    @property
    def gateway(self) -> LocalUser | None:
        """The gateway that this node is."""
        return next((user for user in self._users.values() if user.gateway), None)

    def renew(self, address: Address, above: tuple[int, int] = (0, 0)) -> LocalUser | None:
        """Sign a newer announce for a user, newer than the (boot, counter) ``above`` too; None: there is none such."""
        user = self._users.get(address)
        if user is None:
            return None
        self._counter += 1
        boot, counter = max(above, (user.announce.boot, user.announce.counter))
        if (boot, counter) < (self._boot, self._counter):
            boot, counter = self._boot, self._counter
        elif counter < _MAX_U32:
            counter += 1
        elif boot < _MAX_U32:
            boot, counter = boot + 1, 0
        else:
            return None
        user.announce = self._sign(user.secret, boot, counter, user.gateway)
        return user

    def remove(self, address: Address) -> bool:
        """Forget a user; whether there was one."""
        return self._users.pop(address, None) is not None

    def get(self, address: Address) -> LocalUser | None:
        """Return the user with this very address."""
        return self._users.get(address)

    def reader(self, recipient: Address) -> tuple[LocalUser, SecretIdentity] | None:
        """Return who reads what is sent to ``recipient``, and the key that opens it; None: nobody here."""
        user = self._users.get(recipient)
        if user is not None:
            return user, user.secret
        if recipient == self._node.address:
            for user in self._users.values():
                if not user.gateway:
                    return user, self._node
        return None

    def addresses(self) -> tuple[Address, ...]:
        """Return the users' addresses, the first added first."""
        return tuple(self._users)

    def announces(self) -> tuple[Announce, ...]:
        """Return what a new neighbour is told: it takes no more than it has users itself, so a gateway goes first."""
        return tuple(user.announce for user in sorted(self._users.values(), key=lambda user: not user.gateway))

    def _sign(self, secret: SecretIdentity, boot: int, counter: int, gateway: str) -> Announce:
        capabilities = GATEWAY if gateway else 0
        return sign_announce(secret, node=self._node.identity, boot=boot, counter=counter, capabilities=capabilities)


class Channel:
    """A channel with readers here: each with the only senders that count, if such are named."""

    __slots__ = ("identifier", "key", "readers")

    def __init__(self, key: bytes) -> None:
        self.identifier = channel_id(key)
        self.key = key
        self.readers: dict[Address, frozenset[Address]] = {}


class Subscribed:
    """Channels by their ids; who adds them keeps to the cap."""

    __slots__ = ("_by_day", "_channels")

    def __init__(self) -> None:
        self._channels: dict[bytes, Channel] = {}
        self._by_day: dict[int, dict[bytes, bytes]] = {}

    def __len__(self) -> int:
        """Return how many channels are read."""
        return len(self._channels)

    def get(self, identifier: bytes) -> Channel | None:
        """Return a channel that is read."""
        return self._channels.get(identifier)

    def add(self, key: bytes) -> Channel:
        """Begin to read a channel; raises CryptoError for no key."""
        channel = Channel(key)
        self._channels[channel.identifier] = channel
        self._by_day.clear()
        return channel

    def leave(self, identifier: bytes, user: Address) -> None:
        """Have a user read a channel no longer; without readers it is forgotten."""
        channel = self._channels.get(identifier)
        if channel is not None and channel.readers.pop(user, None) is not None and not channel.readers:
            del self._channels[identifier]
            self._by_day.clear()

    def leave_all(self, user: Address) -> None:
        """Have a user read nothing any more."""
        for identifier in tuple(self._channels):
            self.leave(identifier, user)

    def match(self, envelope: Envelope) -> Channel | None:
        """Return the channel whose tag for its day an envelope shows."""
        identifier = self.tags(day_of(envelope.timestamp)).get(envelope.recipient)
        return None if identifier is None else self._channels[identifier]

    def tags(self, day: int) -> dict[bytes, bytes]:
        """Return the tags that the channels have on a day, with the channels' ids."""
        tags = self._by_day.pop(day, None)
        if tags is None:
            tags = {day_tag(channel.key, day): identifier for identifier, channel in self._channels.items()}
            if len(self._by_day) >= _DAYS:
                del self._by_day[next(iter(self._by_day))]
        self._by_day[day] = tags
        return tags
