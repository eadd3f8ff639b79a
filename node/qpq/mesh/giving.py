"""Keys for others: who asked for them, who has none, who cannot be read, and who should see new ones."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from qpq.crypto.errors import CryptoError
from qpq.mesh import counters
from qpq.mesh.buckets import Bucket
from qpq.mesh.controls import TTL
from qpq.mesh.due import Due
from qpq.wire.body import SECRET_SIZE, BodyKind, Keys, Turn, encode_body

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.mesh.chance import Chance
    from qpq.mesh.collecting import Effects
    from qpq.mesh.controls import Controls
    from qpq.mesh.crossings import Crossings
    from qpq.mesh.due import Timer
    from qpq.mesh.limits import Limits
    from qpq.mesh.routing import Routing
    from qpq.mesh.sessions import Sealed, Sessions
    from qpq.mesh.timers import Timers
    from qpq.mesh.users import Users

_KEPT_S = 86_400.0
"""How long a peer that cannot be reached is owed keys."""


class Reason(IntEnum):
    """Why somebody is to get keys."""

    WANTED = 0
    """It asked for them."""
    LACKING = 1
    """It wrote without a session, to somebody who has none with it."""
    LOST = 2
    """What it wrote in a session cannot be opened here."""


class _Owed:
    """What a peer is to get: keys because of the envelope ``about`` (empty: none), a ``turn`` of the session's.

    ``domain`` is where the peer was heard from last (empty: in this mesh).
    """

    __slots__ = ("about", "domain", "reason", "since", "turn")

    def __init__(self, now: float) -> None:
        self.domain = ""
        self.since = now
        self.about = b""
        self.reason = Reason.WANTED
        self.turn = False


class Giving:
    """Sends KEYS and TURN, each in a transaction of its own, to whom can be reached, or as soon as that is so.

    Everybody can make keys and ask, so one peer gets some now and then only, and all together no more than
    ``limits.keys_rate``.
    """

    __slots__ = (
        "_bucket",
        "_chance",
        "_controls",
        "_effects",
        "_limits",
        "_owed",
        "_routing",
        "_seeking",
        "_sessions",
        "_timers",
        "_told",
        "_users",
        "crossings",
    )

    crossings: Crossings

    def __init__(
        self,
        *,
        limits: Limits,
        chance: Chance,
        timers: Timers[Timer],
        effects: Effects,
        users: Users,
        routing: Routing,
        sessions: Sessions,
        controls: Controls,
    ) -> None:
        self._limits = limits
        self._chance = chance
        self._timers = timers
        self._effects = effects
        self._users = users
        self._routing = routing
        self._sessions = sessions
        self._controls = controls
        self._bucket: Bucket | None = None
        self._seeking: Bucket | None = None
        self._owed: dict[tuple[Address, Address], _Owed] = {}
        self._told: dict[tuple[Address, Address, Reason], float] = {}

    def keys(self, user: Address, peer: Address, about: bytes, reason: Reason, now: float, *, domain: str = "") -> None:
        """Let a peer (of another ``domain``) have keys because of an envelope of its, unless it got some lately."""
        if not self._limits.sessions:
            return
        told = self._told.get((user, peer, reason))
        if told is not None and now - told < self._least(reason):
            self._effects.count(counters.KEYS_OVER_RATE)
            return
        owed = self._owe(user, peer, now, domain)
        owed.about, owed.reason = about, reason

    def turn(self, user: Address, peer: Address, now: float, *, domain: str = "") -> None:
        """Let a peer, who writes and gets no answers, have new keys for its session."""
        self._owe(user, peer, now, domain).turn = True

    # --- when somebody can be reached (hearing.RouteListener) --------------------------------------------

    def route_found(self, address: Address, now: float) -> None:
        """Give what an address has been waiting for."""
        if any(peer == address for _, peer in self._owed):
            self._timers.set((Due.KEYS, 0), now)

    def route_lost(self, address: Address, now: float) -> None:
        """Do nothing: what is on its way is tried again."""

    def due(self, _key: int, now: float) -> None:
        """Give everybody who can be reached what is owed."""
        for (user, peer), owed in tuple(self._owed.items()):
            reader = self._users.reader(user)
            if reader is None or reader[1].address != user or peer in reader[0].blocked or now - owed.since > _KEPT_S:
                del self._owed[user, peer]
            elif owed.domain or self._routing.distance(peer):
                if owed.about and not self._may_give(now):
                    self._timers.set((Due.KEYS, 0), now + 1 / self._limits.keys_rate)
                    break
                del self._owed[user, peer]
                self._give(reader[1], peer, owed, now)

    def user_removed(self, user: Address) -> None:
        """Give nothing more for a user who is gone."""
        self._owed = {key: owed for key, owed in self._owed.items() if key[0] != user}

    # --- inside ------------------------------------------------------------------------------------------

    def _owe(self, user: Address, peer: Address, now: float, domain: str) -> _Owed:
        owed = self._owed.get((user, peer))
        if owed is None:
            if len(self._owed) >= self._limits.keys_owed:
                del self._owed[next(iter(self._owed))]
            owed = self._owed[user, peer] = _Owed(now)
        owed.domain = domain
        if domain or self._routing.distance(peer):
            self._timers.set((Due.KEYS, 0), now)
        elif self._may_seek(now):
            self._routing.wanted(peer, now)
        return owed

    def _give(self, own: SecretIdentity, peer: Address, owed: _Owed, now: float) -> None:
        if owed.turn:
            secret = self._chance.random(SECRET_SIZE)
            sealed = self._sessions.seal(own, peer, encode_body(Turn(secret)), now)
            if sealed is not None:
                self._effects.count(counters.SESSION_TURNED)
                self._send(own, peer, BodyKind.TURN, sealed, now, secret=secret, domain=owed.domain)
        if owed.about:
            secret = self._chance.random(SECRET_SIZE)
            bundle = self._sessions.prekeys.bundle(own, now)
            body = encode_body(Keys(secret, bundle, owed.about))
            try:
                sealed = self._sessions.seal_classical(own.address, peer, body)
            except CryptoError:  # whoever made such an address wants no keys
                return
            self._effects.count(counters.KEYS_TOLD)
            self._send(own, peer, BodyKind.KEYS, sealed, now, secret=secret, domain=owed.domain)
            self._tell(own.address, peer, owed.reason, now)

    def _send(
        self,
        own: SecretIdentity,
        peer: Address,
        kind: BodyKind,
        sealed: Sealed,
        now: float,
        *,
        secret: bytes,
        domain: str,
    ) -> None:
        if domain:
            self.crossings.word(own, peer, kind, sealed, now, domain=domain, secret=secret, ttl=TTL)
        else:
            self._controls.send(own, peer, kind, sealed, now, secret=secret)

    def _tell(self, user: Address, peer: Address, reason: Reason, now: float) -> None:
        """Note that a peer has been sent keys."""
        self._told.pop((user, peer, reason), None)
        if len(self._told) >= self._limits.keys_told:
            del self._told[next(iter(self._told))]
        self._told[user, peer, reason] = now

    def _may_give(self, now: float) -> bool:
        if self._bucket is None:
            self._bucket = Bucket(self._limits.keys_rate, self._limits.keys_burst, now)
        return self._bucket.take(1, now)

    def _may_seek(self, now: float) -> bool:
        """Whether one more peer may be looked for: anybody can have this node want to reach somebody."""
        if self._seeking is None:
            self._seeking = Bucket(self._limits.keys_seek_rate, self._limits.keys_seek_burst, now)
        return self._seeking.take(1, now)

    def _least(self, reason: Reason) -> float:
        limits = self._limits
        return {
            Reason.WANTED: limits.keys_wanted_s,
            Reason.LACKING: limits.keys_text_s,
            Reason.LOST: limits.keys_renew_s,
        }[reason]
