"""Envelopes on their way, local users' and others': what links, answers, receipts and timers do to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qpq.crypto.identity import Address, Identity
from qpq.mesh import counters
from qpq.mesh.custody import Place, Way
from qpq.mesh.due import Due
from qpq.mesh.moving import Moving
from qpq.mesh.ways import Ways
from qpq.mesh.windows import Windows
from qpq.wire.envelope import ADDRESS_SIZE
from qpq.wire.frames import CustodyCode

if TYPE_CHECKING:
    from qpq.mesh.chance import Chance
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.custody import Custody, Destination, Held
    from qpq.mesh.deposits import Deposits
    from qpq.mesh.due import Timer
    from qpq.mesh.limits import Limits
    from qpq.mesh.links import Link
    from qpq.mesh.served import Served
    from qpq.mesh.timers import Timers
    from qpq.mesh.ways import Routing
    from qpq.mesh.windows import Window
    from qpq.wire.envelope import Envelope
    from qpq.wire.frames import Custody as Answers

_ROUNDING_S = 0.001
"""What sums of times may be off by: a timer that comes by so much early is not set again."""


class Listener(Protocol):
    """Who keeps the books of what is on its way (mesh.relaying)."""

    def accepted(self, item: Held, *, news: bool) -> None:
        """A neighbour keeps an envelope; ``news``: it was not known to."""
        ...

    def expired(self, item: Held) -> None:
        """An envelope's time is over; it has been forgotten here."""
        ...

    def answered_late(self, number: int, envelope_id: bytes, now: float) -> None:
        """A neighbour keeps an envelope that is kept here no longer."""
        ...


class Sending:
    """Moves what is in custody: to a neighbour that serves the recipient, along a route, or sprayed.

    An envelope is in exactly one place (``Place``): it waits at its recipient's queue, is ready for a link or on
    it, or rests until a timer. Whatever ends its stay on a link short of a receipt leads back. Only who keeps it
    takes it away (``drop``).
    """

    __slots__ = (
        "_clock",
        "_custody",
        "_effects",
        "_expiry_at",
        "_limits",
        "_moving",
        "_routing",
        "_served",
        "_timers",
        "_ways",
        "_windows",
        "listener",
    )

    listener: Listener

    def __init__(
        self,
        *,
        limits: Limits,
        clock: Clock,
        chance: Chance,
        timers: Timers[Timer],
        effects: Effects,
        served: Served,
        custody: Custody,
        deposits: Deposits,
        routing: Routing,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._timers = timers
        self._effects = effects
        self._served = served
        self._custody = custody
        self._routing = routing
        self._windows = windows = Windows()
        self._ways = Ways(
            limits=limits,
            chance=chance,
            timers=timers,
            served=served,
            custody=custody,
            routing=routing,
            windows=windows,
        )
        self._moving = Moving(
            limits=limits,
            clock=clock,
            chance=chance,
            timers=timers,
            effects=effects,
            custody=custody,
            deposits=deposits,
            ways=self._ways,
            windows=windows,
        )
        self._expiry_at: int | None = None

    # --- links and routes come and go --------------------------------------------------------------

    def link_usable(self, link: Link, now: float) -> None:
        """Send what waited for this peer."""
        self._windows.open(link, self._custody.order)
        self._timers.set((Due.MEET, link.number), now + self._limits.meet_s)
        for recipient in self._served.addresses(link.number):
            self.reachable(recipient, now)

    def link_gone(self, number: int, now: float) -> None:
        """Bring back what the link carried; others take it at once if they can."""
        window = self._windows.close(number)
        if window is None:
            return
        self._timers.cancel((Due.MEET, number))
        touched: set[Address] = set()
        for item in window.items():
            if item.place is Place.FLYING:
                _take_back(item)
            self._moving.land(item, window)
            touched.add(item.recipient)
        for recipient in touched:
            self._moving.move(recipient, self._custody.destination(recipient), now)

    def reachable(self, recipient: Address, now: float) -> None:
        """Send all there is for an address that a neighbour serves now, what rests too."""
        self._moving.move(recipient, self._custody.destination(recipient), now, resting=True)

    def route_found(self, recipient: Address, now: float) -> None:
        """Send what waited for a route to an address, and what is on its way to whoever would carry it about."""
        destination = self._custody.destination(recipient)
        if destination is not None:
            destination.patience = -1
            self._recall(recipient, destination, now)
            for item in destination.waiting():
                item.failures = item.rounds = 0
            self._moving.move(recipient, destination, now)

    def _recall(self, recipient: Address, destination: Destination, now: float) -> None:
        """Wait no longer for neighbours to take copies that a route is no part of: over a bad link that takes long."""
        route = {hop.peer for hop in self._ways.hops(recipient, destination, now)}
        for item in destination.items:
            if item.place is Place.FLYING and item.way is Way.SPRAY and route and item.peer not in route:
                self._moving.land(item, self._windows[item.link])
                _take_back(item)
                item.tire(item.peer)

    def route_lost(self, recipient: Address, now: float) -> None:
        """Do nothing: what is on its way there comes back where it is not proven delivered."""

    def leads_to(self, recipient: Address) -> bool:
        """Whether there is a way to an address now."""
        return self._routing.distance(recipient) > 0

    def link_to(self, peer: Identity) -> int | None:
        """Return the newest usable link to a neighbour."""
        return self._windows.link_to(peer)

    # --- envelopes come and go -----------------------------------------------------------------------

    def start(self, item: Held, envelope: Envelope, now: float) -> None:
        """Begin with an envelope that has just been added; ``envelope`` saves reading the store."""
        self._watch_expiry(now)
        self._moving.start(item, envelope, now)

    def hold(self, item: Held, now: float, place: Place = Place.SEALING) -> None:
        """Keep an envelope that has just been added from going anywhere until ``release``; OUTSIDE: for ever."""
        item.place = place
        self._watch_expiry(now)

    def release(self, item: Held, now: float) -> None:
        """Let an envelope go that was held."""
        item.place = Place.WAITING
        self._moving.again(item, now)

    def drop(self, item: Held, now: float) -> None:
        """Forget an envelope wherever it is; the next goes in its place."""
        number = item.link
        if number:
            self._moving.land(item, self._windows[number])
        self._timers.cancel((Due.ANSWER, item.envelope_id))
        self._timers.cancel((Due.HOLD, item.envelope_id))
        emptied = self._custody.remove(item)
        if emptied is not None:
            for peer in emptied.lanes:
                self._timers.cancel((Due.RESUME, peer + item.recipient))
            if not len(self._custody):
                self._ways.rest()
                self._watch_expiry(now)
        elif number:
            self._moving.unblock(item.recipient, now)
        if number:
            self._moving.pump(number, now)

    def proven(self, item: Held, peer: Identity | None, now: float) -> None:
        """Forget an envelope whose receipt came over the link to ``peer``: what goes that way is good."""
        destination = self._custody.queue(item)
        self.drop(item, now)
        if peer is not None:
            if item.way is Way.ROUTE and (peer == item.peer or peer in item.given):
                self._routing.score(peer, True, now)
            if item.way is Way.DIRECT and peer == item.peer:
                self._moving.proven(item)
            self._moving.good(item.recipient, destination, peer, now)

    def spread(self, item: Held, peer: Identity | None) -> bool:
        """Whether somebody besides ``peer`` may have got an envelope from here without saying so."""
        return item.unsure or item.peer not in (None, peer)

    def rearm(self, now: float) -> None:
        """Look at every expiry and every way anew: the clock of life has jumped, or starts."""
        self._expiry_at = None
        self._watch_expiry(now)
        self._moving.move_all(now)

    # --- what comes back -----------------------------------------------------------------------------

    def custody(self, number: int, custody: Answers, now: float) -> None:
        """Take answers that are no receipts; only the link that carries an envelope may answer for it."""
        window = self._windows[number]
        for envelope_id, code in custody.answers:
            item = self._custody.get(envelope_id)
            if item is not None and item.place is Place.FLYING and item.link == number:
                self._answered(item, window, code, now)
                self._moving.unblock(item.recipient, now)
                continue
            self._effects.count(counters.CUSTODY_UNKNOWN)
            if code not in (CustodyCode.ACCEPTED, CustodyCode.DUPLICATE):
                continue
            if item is None:
                self.listener.answered_late(number, envelope_id, now)
            elif window.peer == item.peer or window.peer in item.tried:
                self.listener.accepted(item, news=item.give(window.peer))
        self._moving.pump(number, now)

    def _answered(self, item: Held, window: Window, code: CustodyCode, now: float) -> None:
        self._moving.land(item, window)
        if code is CustodyCode.ACCEPTED:
            self._kept(item, window, now)
            return
        item.copies += item.spent
        if code is CustodyCode.DUPLICATE:
            self._kept(item, window, now)
        elif code is CustodyCode.QUOTA:
            self._moving.no_room(item, window.peer, now)
        elif code is CustodyCode.LATER and item.way is Way.DIRECT:
            self._moving.put_off(item, now)
        elif item.word and item.way is Way.DIRECT and code is CustodyCode.EXPIRED:
            # Nobody waits for it, and by a clock that was set back it would be sent for a day to come.
            self.drop(item, now)
            self.listener.expired(item)
        elif item.way is Way.DIRECT and not (code is CustodyCode.NOT_HERE and self._disowned(item, window, now)):
            self._moving.rest(item, self._limits.hold_s, now)
        else:
            if item.way is not Way.DIRECT:
                item.tire(window.peer)
            if code is CustodyCode.NOT_HERE and item.way is Way.ROUTE:
                self._routing.disprove(item.recipient, window.number, now)
            self._effects.count(counters.MESSAGE_RETRIED)
            self._moving.again(item, now)

    def _kept(self, item: Held, window: Window, now: float) -> None:
        """A neighbour keeps it: wait for the receipt, or hand on more copies where there is no route."""
        self.listener.accepted(item, news=item.give(window.peer))
        if item.way is not Way.SPRAY:
            self._moving.await_receipt(item, now)
        if item.way is Way.DIRECT:
            self._disowned(item, window, now)
        self._moving.good(item.recipient, self._custody.queue(item), window.peer, now)
        if item.place is Place.WAITING:
            self._moving.again(item, now)

    def _disowned(self, item: Held, window: Window, now: float) -> bool:
        """Believe the announce no longer; False: it is the node's own address, which it cannot disown."""
        if not self._served.forget(window.number, item.recipient):
            return False
        self._routing.disprove(item.recipient, window.number, now)
        return True

    # --- timers ----------------------------------------------------------------------------------------

    def expire_due(self, _key: int, now: float) -> None:
        """Give up what has reached the end of its ttl."""
        life = self._clock.life(now) + _ROUNDING_S
        while True:
            item = self._custody.expired(life)
            if item is None:
                break
            self.drop(item, now)
            self.listener.expired(item)
        self._expiry_at = None
        self._watch_expiry(now)

    def answer_due(self, envelope_id: bytes, now: float) -> None:
        """Try another neighbour: one has not answered, or what it took has not been proven delivered in time."""
        item = self._custody.get(envelope_id)
        if item is None or item.peer is None or item.place not in (Place.FLYING, Place.RESTING):
            return
        flying = item.place is Place.FLYING
        if flying:
            self._moving.land(item, self._windows[item.link])
        if flying and item.way is Way.DIRECT:
            self._moving.no_room(item, item.peer, now)
            return
        if flying:
            _take_back(item)
        if item.way is Way.ROUTE:
            self._routing.score(item.peer, False, now)
        self._effects.count(counters.MESSAGE_RETRIED)
        item.failures += 1
        item.tire(item.peer)
        self._moving.again(item, now)
        self._moving.unblock(item.recipient, now)

    def hold_due(self, envelope_id: bytes, now: float) -> None:
        """Let what rested wait for a link again."""
        item = self._custody.get(envelope_id)
        if item is not None and item.place is Place.RESTING:
            self._moving.again(item, now)

    def resume_due(self, lane: bytes, now: float) -> None:
        """Try a neighbour again that had no room for a recipient (both named by ``lane``)."""
        peer, recipient = Identity(lane[:ADDRESS_SIZE]), Address(lane[ADDRESS_SIZE:])
        destination = self._custody.destination(recipient)
        if destination is not None and peer in destination.lanes:
            destination.lanes[peer].paused = False
            if self._windows.link_to(peer) is None:
                del destination.lanes[peer]
            self._moving.move(recipient, destination, now)

    def spray_due(self, _key: int, now: float) -> None:
        """Do without routes that do not come, and try again what had nowhere to go."""
        for recipient, destination in self._ways.over(now):
            self._moving.move(recipient, destination, now)

    def meet_due(self, number: int, now: float) -> None:
        """Let a new neighbour carry copies about; by now it has told whom it serves."""
        self._windows[number].met = True
        self._moving.move_all(now)

    def _watch_expiry(self, now: float) -> None:
        at = self._custody.next_expiry()
        if at == self._expiry_at:
            return
        self._expiry_at = at
        if at is None:
            self._timers.cancel((Due.EXPIRE, 0))
        else:
            self._timers.set((Due.EXPIRE, 0), now + at - self._clock.life(now))


def _take_back(item: Held) -> None:
    """Count copies as not handed on that went unanswered; they may have been taken all the same."""
    item.unsure = item.unsure or item.way is not Way.DIRECT
    item.copies += item.spent
