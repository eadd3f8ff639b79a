"""The prekeys of local users: made at first need, replaced weekly, kept as long as a message may name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.crypto import prekeys
from qpq.crypto.errors import CryptoError
from qpq.crypto.prekeys import OneTimePrekey, SignedPrekey
from qpq.crypto.primitives import taken
from qpq.mesh.due import Due
from qpq.mesh.records import PrekeyDelete, PrekeyPut

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.crypto.kem import Kem
    from qpq.mesh.chance import Chance
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.due import Timer
    from qpq.mesh.limits import Limits
    from qpq.mesh.timers import Timers

SIGNED, ONE_TIME = 0, 1
"""Kinds of prekeys, as the store has them."""

_SOON_S = 60.0


class Prekeys:
    """Of each user one signed prekey in use and those before it, and at most ``limits.one_times`` one-time prekeys.

    Kept as the bytes that the store has, since each is needed once in a while only.
    """

    __slots__ = ("_by_user", "_chance", "_clock", "_effects", "_kem", "_limits", "_timers")

    def __init__(
        self,
        *,
        limits: Limits,
        clock: Clock,
        chance: Chance,
        timers: Timers[Timer],
        effects: Effects,
        kem: Kem,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._chance = chance
        self._timers = timers
        self._effects = effects
        self._kem = kem
        self._by_user: dict[Address, dict[bytes, PrekeyPut]] = {}

    def restore(self, row: PrekeyPut) -> None:
        """Take back a prekey from before a restart."""
        self._by_user.setdefault(row.user, {})[row.key_id] = row

    def bundle(self, own: SecretIdentity, now: float, *, single: bool = True) -> bytes:
        """Return keys to begin sessions with; ``single``: one, by a one-time prekey where there may be one more."""
        life = int(self._clock.life(now))
        self._sweep(life)
        rows = self._by_user.setdefault(own.address, {})
        newest = max((row for row in rows.values() if row.kind == SIGNED), key=_made, default=None)
        signed = None
        if newest is not None and 0 <= life - newest.made < self._limits.prekey_s:
            signed = _signed(newest)
        if signed is None:
            signed = prekeys.make_signed(self._kem, taken(self._chance.random(prekeys.SIGNED_ENTROPY_BYTES)))
            self._keep(PrekeyPut(own.address, signed.key_id, SIGNED, life, signed.encode()))
        one_time = None
        if single and sum(row.kind == ONE_TIME for row in rows.values()) < self._limits.one_times:
            one_time = prekeys.make_one_time(taken(self._chance.random(prekeys.ONE_TIME_ENTROPY_BYTES)))
            self._keep(PrekeyPut(own.address, one_time.key_id, ONE_TIME, life, one_time.encode()))
        self.rearm(now)
        return prekeys.make_bundle(own, signed, one_time)

    def signed(self, user: Address, key_id: bytes) -> SignedPrekey | None:
        """Return a signed prekey; None: there is none of that id any more."""
        row = self._by_user.get(user, {}).get(key_id)
        return None if row is None or row.kind != SIGNED else _signed(row)

    def one_time(self, user: Address, key_id: bytes) -> OneTimePrekey | None:
        """Return a one-time prekey; None: it has been used, or its time is over."""
        row = self._by_user.get(user, {}).get(key_id)
        try:
            return None if row is None or row.kind != ONE_TIME else OneTimePrekey.decode(row.data)
        except CryptoError:
            return None

    def spend(self, user: Address, key_id: bytes) -> None:
        """Forget a prekey for good."""
        del self._by_user[user][key_id]
        self._effects.persist(PrekeyDelete(user, key_id))

    def undo(self, row: PrekeyPut) -> None:
        """Forget a prekey that could not be stored: nobody has been given it."""
        self._by_user.get(row.user, {}).pop(row.key_id, None)

    def remove_user(self, user: Address) -> None:
        """Forget the keys of a user who is gone."""
        self._by_user.pop(user, None)

    def rearm(self, now: float) -> None:
        """See to it that keys go when their time is over: life has jumped, or starts, or there are more keys."""
        ends = [self._end(row) for rows in self._by_user.values() for row in rows.values()]
        if ends:
            self._timers.set((Due.PREKEYS, 0), now + max(_SOON_S, min(ends) - self._clock.life(now)))

    def due(self, _key: int, now: float) -> None:
        """Forget what is too old."""
        self._sweep(int(self._clock.life(now)))
        self.rearm(now)

    def _keep(self, row: PrekeyPut) -> None:
        self._by_user[row.user][row.key_id] = row
        self._effects.persist(row)

    def _sweep(self, life: int) -> None:
        for user, rows in self._by_user.items():
            for row in [row for row in rows.values() if self._end(row) <= life]:
                self.spend(user, row.key_id)

    def _end(self, row: PrekeyPut) -> int:
        limits = self._limits
        return row.made + (limits.one_time_s if row.kind == ONE_TIME else limits.prekey_s + limits.prekey_keep_s)


def _made(row: PrekeyPut) -> int:
    return row.made


def _signed(row: PrekeyPut) -> SignedPrekey | None:
    try:
        return SignedPrekey.decode(row.data)
    except CryptoError:
        return None
