"""The users of this node: their keys, whom they block, and the announces that tell neighbours of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.crypto.identity import SecretIdentity
from qpq.wire.announce import GATEWAY, sign_announce

if TYPE_CHECKING:
    from qpq.crypto.identity import Address
    from qpq.wire.frames_mesh import Announce

_MAX_U32 = 0xFFFF_FFFF


class LocalUser:
    """One user of this node; ``gateway``: empty, or the domain of the mesh for which it is a gateway to others."""

    __slots__ = ("announce", "blocked", "gateway", "secret")

    def __init__(
        self, secret: SecretIdentity, blocked: frozenset[Address], announce: Announce, gateway: str = ""
    ) -> None:
        self.secret = secret
        self.gateway = gateway
        self.blocked = blocked
        self.announce = announce


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

    def add(self, seed: bytes, blocked: frozenset[Address], gateway: str = "") -> LocalUser | None:
        """Add the user of an Ed25519 seed (32 bytes); None: there are too many already.

        A user that exists keeps its place and gets the new block list. Raises CryptoError for a
        seed of another length.
        """
        secret = SecretIdentity(seed)
        known = self._users.get(secret.address)
        if known is not None:
            known.blocked = blocked
            return known
        others = sum(not user.gateway for user in self._users.values())
        if (others >= self._cap and not gateway) or (gateway and self.gateway is not None):
            return None
        self._counter += 1
        announce = self._sign(secret, self._boot, self._counter, gateway)
        user = self._users[secret.address] = LocalUser(secret, blocked, announce, gateway)
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
