"""Keys of users of this mesh for who begins a session in another domain: made here, or asked of their nodes.

What another node gives may be good for one session only. So nothing of it is kept here: its user is asked each time, by
the gateway's own user, as any peer asks for keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.crypto.errors import CryptoError
from qpq.crypto.prekeys import open_bundle
from qpq.mesh import counters
from qpq.mesh.buckets import Bucket
from qpq.mesh.controls import Control
from qpq.mesh.due import Due
from qpq.mesh.effects import BundleMade
from qpq.wire.body import SECRET_SIZE, BodyKind, KeysWanted, encode_body

if TYPE_CHECKING:
    from qpq.crypto.identity import Address
    from qpq.mesh.crossings import Parts
    from qpq.mesh.events import BundleAsked
    from qpq.wire.body import Keys


class Fetching:
    """Each question is answered by BundleMade, at the latest after ``limits.fetch_s``.

    At most ``limits.lookups`` wait for users of other nodes. One user gives keys only every ``limits.keys_wanted_s``
    (as it would itself, ``mesh.giving``); those of ``limits.keys_told`` users that gave last are told apart. Users to
    whom there is no way are looked for at the rate at which peers are that want keys.
    """

    __slots__ = ("_asked", "_gave", "_parts", "_seeking")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._asked: dict[bytes, BundleAsked] = {}
        self._gave: dict[Address, float] = {}
        self._seeking: Bucket | None = None

    def ask(self, event: BundleAsked, now: float) -> None:
        """Make a user's keys, or ask its node for some."""
        parts, reader = self._parts, self._parts.users.reader(event.user)
        if reader is not None and reader[0].gateway:
            self._made(event, b"")
        elif reader is not None and not event.single:
            self._made(event, parts.sessions.prekeys.bundle(reader[1], now, single=False))
        elif not self._may_ask(event.user, now, here=reader is not None):
            self._later(event)
        elif reader is not None:
            self._made(event, parts.sessions.prekeys.bundle(reader[1], now))
        else:
            self._ask(event, now)

    def taken(self, sender: Address, body: Keys, now: float) -> bool:
        """Take the keys that a user has sent; False: nobody here has asked for them."""
        event = self._asked.get(body.about)
        if event is None or event.user != sender:
            return False
        self._parts.timers.cancel((Due.FETCH, body.about))
        del self._asked[body.about]
        try:
            open_bundle(body.bundle, sender)
        except CryptoError:
            self._parts.effects.count(counters.KEYS_FORGED)
            self._made(event, b"")
        else:
            self._parts.effects.count(counters.KEYS_FETCHED)
            self._made(event, body.bundle)
        self._drop(body.about, now)
        return True

    def due(self, about: bytes, now: float) -> None:
        """Give up a question: there is no such user in this mesh, or none that answers now."""
        self._made(self._asked.pop(about), b"")
        self._drop(about, now)

    # --- inside ----------------------------------------------------------------------------------------------

    def _may_ask(self, user: Address, now: float, *, here: bool) -> bool:
        limits = self._parts.limits
        if now - self._gave.get(user, now - limits.keys_wanted_s) < limits.keys_wanted_s:
            return False
        if not here and (len(self._asked) >= limits.lookups or not self._may_seek(user, now)):
            return False
        self._gave.pop(user, None)
        if len(self._gave) >= limits.keys_told:
            del self._gave[next(iter(self._gave))]
        self._gave[user] = now
        return True

    def _may_seek(self, user: Address, now: float) -> bool:
        limits = self._parts.limits
        if self._seeking is None:
            self._seeking = Bucket(limits.keys_seek_rate, limits.keys_seek_burst, now)
        return bool(self._parts.routing.distance(user)) or self._seeking.take(1, now)

    def _ask(self, event: BundleAsked, now: float) -> None:
        parts, own = self._parts, self._parts.users.gateway
        if own is None:
            self._later(event)
            return
        secret = parts.chance.random(SECRET_SIZE)
        try:
            wish = parts.sessions.seal_classical(own.secret.address, event.user, encode_body(KeysWanted(secret)))
        except CryptoError:  # it is no usable key, so nobody has it
            self._made(event, b"")
            return
        about = parts.controls.send(own.secret, event.user, BodyKind.KEYS_WANTED, wish, now, secret=secret)
        if about is None:
            self._later(event)
        else:
            self._asked[about] = event
            parts.timers.set((Due.FETCH, about), now + parts.limits.fetch_s)

    def _drop(self, about: bytes, now: float) -> None:
        """Send the question no longer."""
        item = self._parts.custody.get(about)
        if isinstance(item, Control):
            self._parts.controls.drop(item, now)

    def _made(self, event: BundleAsked, data: bytes) -> None:
        """Answer; where it must be good for one session only, nobody gets what others may have got."""
        fits = not event.single or not data or bool(open_bundle(data, event.user).one_time)
        self._parts.effects.after(BundleMade(event.token, data if fits else b""))

    def _later(self, event: BundleAsked) -> None:
        self._parts.effects.after(BundleMade(event.token, b"", retry=True))
