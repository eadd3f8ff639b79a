"""Keys of others: messages that wait for them, the asking, and sealing anew what a peer could not open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.crypto.errors import CryptoError
from qpq.crypto.session_header import plaintext_bytes
from qpq.mesh import counters
from qpq.mesh.controls import Control
from qpq.mesh.custody import Place
from qpq.mesh.due import Due
from qpq.mesh.effects import RecallTexts, StateChanged
from qpq.mesh.outbox import Outgoing
from qpq.mesh.records import BundleDelete, BundlePut
from qpq.wire.body import PADDING_STEP, SECRET_SIZE, BodyKind, KeysWanted, encode_body
from qpq.wire.envelope import ADDRESS_SIZE, envelope_id

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.mesh.chance import Chance
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.controls import Controls
    from qpq.mesh.crossings import Crossings
    from qpq.mesh.custody import Custody, Held
    from qpq.mesh.due import Timer
    from qpq.mesh.events import TextsRecalled
    from qpq.mesh.limits import Limits
    from qpq.mesh.resealing import Resealing
    from qpq.mesh.routing import Routing
    from qpq.mesh.sending import Sending
    from qpq.mesh.sessions import Sessions
    from qpq.mesh.timers import Timers
    from qpq.mesh.users import LocalUser, Users
    from qpq.wire.body import Keys

_LOT = 8
"""Texts read at once; each has at most 32 KiB."""
_OUTSIDE_S = 10.0
"""How long a first message to another domain waits for the recipient's keys: they come through two gateways."""
_OUTSIDE_AGAIN_S = 3_600.0
"""The wait before a peer of another domain that did not answer is asked again; the question lives as long."""


class _Waiting:
    """A message that waits for keys: what was queued of it, and its text, which only the store has otherwise."""

    __slots__ = ("item", "padded", "size", "text")

    def __init__(self, item: Outgoing, text: str, padded: bool) -> None:
        self.item = item
        self.text = text
        self.padded = padded
        self.size = len(text.encode())


class _Ask:
    """A peer that was asked for keys at ``since``; messages wait for them ``until`` then.

    ``about`` is the envelope that asks (None: none does); ``seeking``: it has no way yet. ``domain`` is where the peer
    is (empty: in this mesh).
    """

    __slots__ = ("about", "domain", "seeking", "since", "until", "waiting")

    def __init__(self, since: float, wait: float, about: bytes | None, *, seeking: bool, domain: str) -> None:
        self.domain = domain
        self.since = since
        self.until = since + wait
        self.about = about
        self.seeking = seeking
        self.waiting: list[_Waiting] = []


class Asking:
    """Asks for keys where a message waits for them, and takes those that it has reason to expect.

    ``about`` in KEYS names an envelope from here. Only where that one still waits for them does anything happen: a
    KEYS that comes again, or late, does nothing.
    """

    __slots__ = (
        "_asks",
        "_bundles",
        "_chance",
        "_clock",
        "_controls",
        "_custody",
        "_effects",
        "_expected",
        "_limits",
        "_recalling",
        "_renewing",
        "_resealing",
        "_routing",
        "_sending",
        "_sessions",
        "_timers",
        "_users",
        "crossings",
    )

    crossings: Crossings

    def __init__(
        self,
        *,
        limits: Limits,
        clock: Clock,
        chance: Chance,
        timers: Timers[Timer],
        effects: Effects,
        users: Users,
        custody: Custody,
        routing: Routing,
        sending: Sending,
        sessions: Sessions,
        controls: Controls,
        resealing: Resealing,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._chance = chance
        self._timers = timers
        self._effects = effects
        self._users = users
        self._custody = custody
        self._routing = routing
        self._sending = sending
        self._sessions = sessions
        self._controls = controls
        self._resealing = resealing
        self._asks: dict[tuple[Address, Address], _Ask] = {}
        self._expected: dict[bytes, tuple[Address, Address]] = {}
        self._bundles: dict[tuple[Address, Address], BundlePut] = {}
        self._renewing: dict[tuple[Address, bytes], None] = {}
        self._recalling = False

    def restore(self, row: BundlePut) -> None:
        """Take back keys from before a restart."""
        self._bundles[row.user, row.peer] = row

    # --- a message is to be sent -------------------------------------------------------------------------

    def begin(self, own: SecretIdentity, peer: Address, now: float) -> bool:
        """Begin a session with keys that came before; whether there is one now."""
        row = self._bundles.pop((own.address, peer), None)
        if row is None:
            return False
        self._effects.persist(BundleDelete(own.address, peer))
        fresh = self._clock.life(now) - row.life < self._limits.bundle_s
        return fresh and self._begin(own, peer, row.data, now)

    def wait(self, author: LocalUser, item: Outgoing, text: str, now: float, *, padded: bool) -> bool:
        """Whether a message that is sealed without a session waits for the recipient's keys; they are asked for."""
        limits, key = self._limits, (item.sender, item.recipient)
        if not item.domain:
            self.expect(item.envelope_id, key)
        ask = self._asks.get(key)
        if ask is not None and ask.domain != item.domain:
            self._go_on(ask, now)
            ask = None
        if ask is None or now - ask.since >= (_OUTSIDE_AGAIN_S if item.domain else limits.keys_again_s):
            if not limits.sessions or not limits.keys_wait_s or not self._may_ask(item.domain):
                return False
            ask = self._ask(author.secret, item.recipient, item.domain, now)
        waiting = [held for other in self._asks.values() for held in other.waiting]
        held = _Waiting(item, text, padded)
        size = held.size + sum(other.size for other in waiting)
        if now >= ask.until or len(waiting) >= limits.keys_held or size > limits.keys_held_bytes:
            return False
        ask.waiting.append(held)
        self._effects.count(counters.MESSAGE_HELD)
        self._sending.hold(item, now)
        return True

    def wait_due(self, key: bytes, now: float) -> None:
        """Send what waited as it was sealed, unless a session has begun meanwhile from the other side.

        Where the peer was asked only after a search, its answer has time yet. Where none was found nobody is asked:
        whoever opens what is sealed without a session answers with keys.
        """
        ask = self._asks.get((key[:ADDRESS_SIZE], key[ADDRESS_SIZE:]))  # type: ignore[arg-type]
        if ask is None:
            return
        item = self._custody.get(ask.about) if ask.about is not None else None
        if ask.seeking and isinstance(item, Control) and not item.attempts:
            self._controls.drop(item, now)
        elif ask.seeking and ask.waiting:
            ask.seeking = False
            ask.until = now + self._limits.keys_wait_s
            self._timers.set((Due.KEYS_WAIT, key), ask.until)
            return
        self._go_on(ask, now)

    # --- keys come ---------------------------------------------------------------------------------------

    def taken(self, own: SecretIdentity, peer: Address, body: Keys, now: float) -> None:
        """Take a peer's keys: for messages that wait, to seal anew what it could not open, or for later."""
        key = (own.address, peer)
        item = self._custody.get(body.about)
        if item is not None and item.own and (item.sender, item.recipient) == key and _in_session(item):
            self._renew(own, item, body.bundle, now)
        elif self._expected.get(body.about) == key:
            del self._expected[body.about]
            self._effects.count(counters.KEYS_TAKEN)
            ask = self._asks.get(key)
            if self._sessions.has(*key):
                pass
            elif ask is not None and ask.waiting:
                self._begin(own, peer, body.bundle, now)
            else:
                self._keep(BundlePut(own.address, peer, int(self._clock.life(now)), body.bundle))
            if ask is not None:
                self._go_on(ask, now)
        elif not self.crossings.keys(peer, body, now):
            self._effects.count(counters.KEYS_UNASKED)

    def refused(self, about: bytes, now: float) -> None:
        """Wait no longer for keys of another domain whose question is not carried there: the message learns why."""
        for ask in self._asks.values():
            if ask.domain and ask.about == about:
                self._go_on(ask, now)

    def recalled(self, event: TextsRecalled, now: float) -> None:
        """Seal anew what was read from the store, and ask for more."""
        self._recalling = False
        for sent in event.texts:
            author = self._users.get(sent.user)
            item = self._custody.get(envelope_id(sent.envelope))
            if author is not None and isinstance(item, Outgoing) and item.sender == sent.user:
                padded = _is_padded(sent.envelope.payload)
                self._resealing.reseal(author.secret, item, sent.text, now, padded=padded, envelope=sent.envelope)
        self._recall()

    def user_removed(self, user: Address) -> None:
        """Forget what concerns a user who is gone."""
        self._asks = {key: ask for key, ask in self._asks.items() if key[0] != user}
        self._bundles = {key: row for key, row in self._bundles.items() if key[0] != user}

    # --- inside ------------------------------------------------------------------------------------------

    def _may_ask(self, domain: str) -> bool:
        """Whether there is anybody to hand the question to."""
        return bool(self._routing.telling.neighbours) or (bool(domain) and self._users.gateway is not None)

    def _ask(self, own: SecretIdentity, peer: Address, domain: str, now: float) -> _Ask:
        limits, key = self._limits, (own.address, peer)
        self._asks.pop(key, None)
        if len(self._asks) >= limits.keys_asked:
            idle = (other for other, ask in self._asks.items() if not ask.waiting)
            self._asks.pop(next(idle, key), None)  # few wait, so there is one
        secret = self._chance.random(SECRET_SIZE)
        sealed = self._sessions.seal_classical(own.address, peer, encode_body(KeysWanted(secret)))
        kind, seeking, wait = BodyKind.KEYS_WANTED, False, _OUTSIDE_S
        identifier: bytes | None
        if domain:
            ttl = int(_OUTSIDE_AGAIN_S)
            identifier = self.crossings.word(own, peer, kind, sealed, now, domain=domain, secret=secret, ttl=ttl)
        else:
            identifier = self._controls.send(own, peer, kind, sealed, now, secret=secret)
            seeking = not self._routing.distance(peer)
            wait = limits.keys_search_s if seeking else limits.keys_wait_s
        if identifier is not None:
            self._effects.count(counters.KEYS_ASKED)
            self.expect(identifier, key)
            self._timers.set((Due.KEYS_WAIT, own.address + peer), now + wait)
        ask = _Ask(now, wait if identifier is not None else 0.0, identifier, seeking=seeking, domain=domain)
        self._asks[key] = ask
        return ask

    def expect(self, about: bytes, key: tuple[Address, Address]) -> None:
        """Take keys of ``key``'s peer that come because of the envelope ``about``."""
        if not self._limits.sessions:
            return
        if len(self._expected) >= self._limits.keys_expected:
            del self._expected[next(iter(self._expected))]
        self._expected[about] = key

    def _begin(self, own: SecretIdentity, peer: Address, bundle: bytes, now: float) -> bool:
        try:
            self._sessions.begin(own, peer, bundle, now)
        except CryptoError:
            self._effects.count(counters.KEYS_FORGED)
            return False
        return True

    def _keep(self, row: BundlePut) -> None:
        """Keep keys for the next message."""
        key = (row.user, row.peer)
        self._bundles.pop(key, None)
        if len(self._bundles) >= self._limits.bundles:
            gone = self._bundles.pop(next(iter(self._bundles)))
            self._effects.persist(BundleDelete(gone.user, gone.peer))
        self._bundles[key] = row
        self._effects.persist(row)

    def _go_on(self, ask: _Ask, now: float) -> None:
        """Wait no longer: what waited goes in a session if there is one, else as it is."""
        ask.until = now
        waiting, ask.waiting = ask.waiting, []
        for held in waiting:
            item = held.item
            if self._custody.get(item.envelope_id) is not item or item.place is not Place.SEALING:
                continue
            author = self._users.get(item.sender)
            if author is None or not self._resealing.reseal(author.secret, item, held.text, now, padded=held.padded):
                self._effects.after(StateChanged(item.sender, item.message_id, item.state, 0, item.post_quantum))
                self._resealing.release(item, now)

    def _renew(self, own: SecretIdentity, item: Held, bundle: bytes, now: float) -> None:
        """Begin a session in place of one whose messages a peer cannot open, and seal those anew."""
        user, peer = own.address, item.recipient
        current = self._sessions.current(user, peer)
        old = item.mark.session_id if item.mark is not None else current
        if old == current or not current:
            if not self._begin(own, peer, bundle, now):
                return
            self._sessions.retire(user, peer, old)
        self._effects.count(counters.SESSION_RENEWED)
        current = self._sessions.current(user, peer)
        destination = self._custody.queue(item)
        if isinstance(item, Control):
            self._controls.drop(item, now)
        for other in destination.items:
            ours = isinstance(other, Outgoing) and other.sender == user and _in_session(other)
            if isinstance(other, Outgoing) and ours and (other.mark is None or other.mark.session_id != current):
                self._renewing[user, other.message_id] = None
        self._recall()

    def _recall(self) -> None:
        """Ask the store for the texts that are to be sealed anew, one lot at a time."""
        if self._recalling or not self._renewing:
            return
        lot = tuple(self._renewing)[:_LOT]
        for message in lot:
            del self._renewing[message]
        self._recalling = True
        self._effects.do(RecallTexts(lot))


def _is_padded(payload: bytes) -> bool:
    """Whether a message of this node was padded, by its length: so its user wanted it."""
    try:
        return plaintext_bytes(payload) % PADDING_STEP == 0
    except CryptoError:  # sealed in no session
        return True


def _in_session(item: Held) -> bool:
    return item.mark is not None or (isinstance(item, Outgoing) and bool(item.post_quantum))
