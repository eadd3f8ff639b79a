"""The broadcast tree (PlumTree): new channel envelopes go whole over eager links, by their ids over the others.

Every link starts eager. Who gets an envelope a second time answers PRUNE, which makes the link lazy
at both ends; who hears of an id and does not get the envelope in time answers GRAFT, which makes the
link eager again. Queries go over the tree too, so what they show of it counts as well.
(J. Leitao, J. Pereira, L. Rodrigues, "Epidemic Broadcast Trees", SRDS 2007.)

A TRANSFER's ``copies`` tells news (1) from what makes up for something missed (0). The latter never
costs a link its place in the tree, and goes on only where reconciliation would not bring it anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from qpq.mesh import counters
from qpq.mesh.awaiting import Awaiting
from qpq.mesh.buckets import Bucket
from qpq.mesh.due import Due
from qpq.mesh.effects import SendEnvelope, SendFrame
from qpq.mesh.keeping import Arrival, Rates
from qpq.mesh.reconciling import Sync
from qpq.mesh.records import RelayCopies
from qpq.mesh.supplying import FRAMING
from qpq.wire.envelope import envelope_id, verify_envelope
from qpq.wire.frames import CustodyCode, Transfer
from qpq.wire.frames_mesh import MAX_SHORT_IDS, SHORT_ID_SIZE, Graft, IHave, Prune

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from qpq.crypto.identity import Identity
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.due import Timer
    from qpq.mesh.flooded import Flooded, Held
    from qpq.mesh.keeping import Keeping
    from qpq.mesh.limits import Limits
    from qpq.mesh.links import Link
    from qpq.mesh.reconciling import Reconciling
    from qpq.mesh.supplying import Supplying
    from qpq.mesh.timers import Timers
    from qpq.wire.envelope import Envelope

MAX_HOPS: Final = 64
"""``max_hops`` of an envelope made here."""

_LEAST_EAGER = 3
"""Links that are eager once one of the tree was lost: lazy ones take its place, those that cost least."""
_NO_ID = bytes(SHORT_ID_SIZE)
"""What GRAFT names where nothing is missed."""
_PRUNE_S = 1.0
_MUCH = 4
_ALONE_S = 10.0
"""A query makes a link lazy only where no broadcast has come for so long, which may be going round (mesh.queries)."""
_BURST_S = 5.0


class Listener(Protocol):
    """Who reads channels, and posts to them (mesh.channels)."""

    def flooded(self, arrival: Arrival, now: float) -> None:
        """An envelope is new here."""
        ...

    def taken(self, held: Held) -> None:
        """One more neighbour has taken an envelope that was made here."""
        ...


class _Peer:
    """One usable link: whether it is eager, what it is to hear of, what it brought.

    ``took``: envelopes made here that it has taken.
    """

    __slots__ = ("eager", "grafts", "haves", "link", "pruned_at", "rates", "took")

    def __init__(self, link: Link, limits: Limits, now: float) -> None:
        self.link = link
        self.eager = True
        self.haves: dict[bytes, None] = {}
        self.rates = Rates(limits, now)
        self.grafts = Bucket(limits.flood_rate, limits.flood_rate * _BURST_S, now)
        self.pruned_at = now - _PRUNE_S
        self.took: set[bytes] = set()

    def fits(self, size: int) -> bool:
        """Whether the peer takes a frame with an envelope of ``size`` bytes."""
        return self.link.hello is not None and size + FRAMING <= self.link.hello.max_frame


class Flooding:
    """Takes TRANSFER of mode CHANNEL, IHAVE, GRAFT and PRUNE; keeps and passes on what is new.

    What a rate refuses comes back by reconciliation, so nothing is remembered of it; an id that found
    no room in the store stays known. Answered is who made an envelope, so that he knows, and who makes
    up for something that there is no room for, so that he stops.
    """

    __slots__ = (
        "_awaiting",
        "_clock",
        "_cost",
        "_effects",
        "_flooded",
        "_heard_at",
        "_keeping",
        "_leaf",
        "_limits",
        "_peers",
        "_reconciling",
        "_supplying",
        "_telling",
        "_timers",
        "listener",
    )

    listener: Listener

    def __init__(
        self,
        *,
        leaf: bool,
        limits: Limits,
        clock: Clock,
        timers: Timers[Timer],
        effects: Effects,
        flooded: Flooded,
        keeping: Keeping,
        supplying: Supplying,
        reconciling: Reconciling,
        cost: Callable[[int], int],
    ) -> None:
        """``cost`` returns that of a link in sixteenths of a perfect one."""
        self._leaf = leaf
        self._limits = limits
        self._clock = clock
        self._timers = timers
        self._effects = effects
        self._flooded = flooded
        self._keeping = keeping
        self._supplying = supplying
        self._reconciling = reconciling
        self._cost = cost
        self._awaiting = Awaiting(limits=limits, timers=timers, effects=effects, cost=cost)
        self._peers: dict[int, _Peer] = {}
        self._telling = False
        self._heard_at = -_ALONE_S

    # --- links come and go -----------------------------------------------------------------------

    def link_usable(self, link: Link, now: float) -> None:
        """Take a link into the tree."""
        self._peers[link.number] = _Peer(link, self._limits, now)
        self._flooded.linked(link.peer, 1)
        self._awaiting.link_usable(link.number, now)
        self._supplying.link_usable(link, now)
        self._reconciling.link_usable(link, now)

    def link_gone(self, number: int, now: float) -> None:
        """Forget a link.

        Others take its place in the tree: most of them prove superfluous with the next broadcast, but that one
        waits for nobody, and a query finds its way before.
        """
        peer = self._peers.pop(number)
        self._flooded.linked(peer.link.peer, -1)
        self._awaiting.link_gone(number)
        self._supplying.link_gone(number, now)
        self._reconciling.link_gone(number, now)
        if peer.eager:
            lazy = [other for other, peer in self._peers.items() if not peer.eager]
            least = max(0, _LEAST_EAGER + len(lazy) - len(self._peers))
            for other in sorted(lazy, key=self._cost)[:least]:
                self._peers[other].eager = True
                self._effects.do(SendFrame(other, Graft(eager=True, short_ids=(_NO_ID,))))

    def eager_links(self) -> tuple[int, ...]:
        """Return the links of the broadcast tree; all of them where nothing has been learnt yet."""
        return tuple(number for number, peer in self._peers.items() if peer.eager)

    # --- queries, which form the tree too -----------------------------------------------------------

    def query_new(self, number: int, token: bytes, now: float) -> None:
        """Take note that a query came first over a link: where that is lazy, the tree may have a gap here.

        If no eager link brings it in time the lazy one becomes eager. ``token`` stands for the query as a short id does
        for a broadcast.
        """
        if not self._peers[number].eager:
            self._awaiting.told(number, token, now, once=True)

    def query_again(self, number: int, first: int, token: bytes, now: float) -> None:
        """Take note that a query came again: of two eager links the later leaves the tree, but for none much worse."""
        peer, other = self._peers[number], self._peers.get(first)
        if not peer.eager:
            return
        self._awaiting.came(token)
        if number == first or other is None or not other.eager or now - self._heard_at < _ALONE_S:
            return
        if self._cost(first) < _MUCH * self._cost(number):
            self._prune(peer, now)

    # --- frames ----------------------------------------------------------------------------------

    def transfer(self, link: Link, transfer: Transfer, now: float) -> str:
        """Take a channel envelope; the text, if any, is why the link must end."""
        peer = self._peers[link.number]
        self._heard_at = now
        identifier = envelope_id(transfer.envelope)
        if not self._flooded.wants(identifier[:SHORT_ID_SIZE], link.peer):
            self._again(peer, transfer, identifier, now)
            return ""
        arrival = self._keeping.arrival(link, transfer, identifier, now)
        code = self._keep(arrival, peer.rates, now)
        if code is CustodyCode.UNREADABLE:
            return "a broadcast with a false signature"
        self._answer(peer, transfer, identifier, code)
        if code is CustodyCode.ACCEPTED:
            self._awaiting.gave(link.number)
            if not arrival.news:
                self._reconciling.taken(link.number, now)
            self._take(arrival, now)
        return ""

    def ihave(self, link: Link, frame: IHave, now: float) -> str:
        """Note which ids a neighbour has; what does not come by itself is asked for."""
        peer = self._peers[link.number]
        for short_id in frame.short_ids:
            peer.haves.pop(short_id, None)
            if self._flooded.wants(short_id, link.peer) or self._flooded.stuck(short_id):
                self._awaiting.told(link.number, short_id, now)
        return ""

    def graft(self, link: Link, frame: Graft, now: float) -> str:
        """Send what a neighbour has missed; ``eager``: and what is new from now on."""
        if not frame.eager:
            self._reconciling.asked(link.number, frame.short_ids, now)
            return ""
        peer = self._peers[link.number]
        peer.eager = True
        life = self._clock.life(now)
        for short_id in frame.short_ids:
            held = self._flooded.get(short_id)
            if held is None or held.hops >= held.max_hops or not peer.fits(held.size):
                continue
            if not peer.grafts.take(held.size, now):
                self._effects.count(counters.FLOOD_OVER_RATE)
                break
            self._effects.after(SendEnvelope(link.number, held.envelope_id, held.hops, 1, held.age(life)))
        return ""

    def prune(self, link: Link, _frame: Prune, _now: float) -> str:
        """Send a neighbour the ids of what is new only."""
        self._peers[link.number].eager = False
        return ""

    def answered(self, number: int, identifier: bytes, code: CustodyCode, now: float) -> bool:
        """Take a neighbour's word on an envelope; False: it is none of those held here."""
        held = self._flooded.get(identifier[:SHORT_ID_SIZE])
        if held is None or held.envelope_id != identifier:
            return False
        peer = self._peers[number]
        if code is CustodyCode.QUOTA:
            self._reconciling.refused(number, now)
        elif code in (CustodyCode.ACCEPTED, CustodyCode.DUPLICATE) and held.via is None and held.short not in peer.took:
            peer.took.add(held.short)
            held.copies += 1
            self._effects.persist(RelayCopies(identifier, held.copies))
            self.listener.taken(held)
        return True

    # --- what is made here -----------------------------------------------------------------------

    def post(self, envelope: Envelope, now: float) -> Arrival | None:
        """Keep and send an envelope of a local user; None: those made here fill their part of the store."""
        arrival = Arrival(envelope, envelope_id(envelope), None, int(self._clock.life(now)), 0, news=True)
        if not self._keeping.keep(arrival, now):
            return None
        self._effects.count(counters.FLOOD_MADE)
        self._spread(arrival, (), now)
        return arrival

    def enter(
        self, arrival: Arrival, via: Identity, rates: Rates, now: float, *, mark: Callable[[], Arrival]
    ) -> CustodyCode:
        """Take an envelope that another domain brought, ``via`` standing for that; return what became of it.

        What ``mark`` makes goes before it on each link; where there is no room for that it is passed on all the same.
        """
        if not self._flooded.wants(arrival.short, via):
            return CustodyCode.DUPLICATE
        code = self._keep(arrival, rates, now)
        if code is CustodyCode.ACCEPTED:
            before = mark()
            self._keeping.keep(before, now)
            self._spread(before, (), now)
            self._take(arrival, now)
        return code

    def over(self, held: Held) -> None:
        """Forget who took an envelope that was made here."""
        for peer in self._peers.values():
            peer.took.discard(held.short)

    # --- timers ----------------------------------------------------------------------------------

    def tell_due(self, _key: int, _now: float) -> None:
        """Tell lazy links what is new."""
        self._telling = False
        for number, peer in self._peers.items():
            for chunk in _chunks(tuple(peer.haves)):
                self._effects.do(SendFrame(number, IHave(chunk)))
            peer.haves.clear()

    def ask_due(self, _key: int, now: float) -> None:
        """Ask for what was heard of and has not come."""
        for number, short_ids in self._awaiting.due(now).items():
            self._peers[number].eager = True
            self._effects.count(counters.FLOOD_GRAFTED, len(short_ids))
            for chunk in _chunks(short_ids):
                self._effects.do(SendFrame(number, Graft(eager=True, short_ids=chunk)))

    # --- inside ----------------------------------------------------------------------------------

    def _keep(self, arrival: Arrival, rates: Rates, now: float) -> CustodyCode:
        """Check and keep what is new; UNREADABLE: its signature is false."""
        code = self._keeping.refusal(arrival, rates, now)
        if code is None and not verify_envelope(arrival.envelope, arrival.identifier):
            return CustodyCode.UNREADABLE
        if code is None:
            code = CustodyCode.ACCEPTED if self._keeping.keep(arrival, now) else CustodyCode.QUOTA
        if code is not CustodyCode.ACCEPTED:
            self._effects.count(counters.FLOOD_REFUSED + code.name.lower())
        return code

    def _take(self, arrival: Arrival, now: float) -> None:
        """Pass on and show what is new."""
        self._effects.count(counters.FLOOD_TAKEN)
        self._spread(arrival, self._awaiting.came(arrival.short), now)
        self.listener.flooded(arrival, now)

    def _spread(self, arrival: Arrival, announcers: Sequence[int], now: float) -> None:
        """Send an envelope to all who do not have it; by its id only where the tree does not lead."""
        if arrival.hops >= arrival.envelope.max_hops:
            return
        age = max(0, int(self._clock.life(now)) - arrival.born)
        frame = Transfer(arrival.hops, int(arrival.news), age, arrival.envelope)
        send = self._effects.do if arrival.via is not None else self._effects.after
        for number, peer in self._peers.items():
            sync = Sync.DONE if arrival.news else self._reconciling.sync(number, now)
            if (
                number in announcers
                or peer.link.peer == arrival.via
                or sync is Sync.AWAITED
                or not peer.fits(arrival.size)
            ):
                continue
            if peer.eager and sync is Sync.DONE:
                send(SendFrame(number, frame))
                self._effects.count(counters.FLOOD_SENT)
            elif not self._leaf and len(peer.haves) < self._limits.ihave_ids:
                peer.haves[arrival.short] = None
                if not self._telling:
                    self._telling = True
                    self._timers.set((Due.IHAVE, 0), now + self._limits.ihave_s)

    def _again(self, peer: _Peer, transfer: Transfer, identifier: bytes, now: float) -> None:
        """Take an envelope that is known: its link leaves the tree, unless it brought the first copy too."""
        self._effects.count(counters.FLOOD_DUPLICATE)
        self._answer(peer, transfer, identifier, CustodyCode.DUPLICATE)
        held = self._flooded.get(identifier[:SHORT_ID_SIZE])
        if transfer.copies and (held is None or held.via != peer.link.peer):
            self._prune(peer, now)
        self._awaiting.came(identifier[:SHORT_ID_SIZE])
        if held is not None and transfer.hops + 1 < held.hops and self._flooded.shorter(held, transfer.hops + 1):
            # Somebody may have counted too many, to keep it from going on.
            arrival = Arrival(transfer.envelope, identifier, peer.link.peer, held.born, held.hops, news=True)
            self._spread(arrival, (), now)

    def _prune(self, peer: _Peer, now: float) -> None:
        peer.eager = False
        if now - peer.pruned_at >= _PRUNE_S:
            peer.pruned_at = now
            self._effects.do(SendFrame(peer.link.number, Prune()))

    def _answer(self, peer: _Peer, transfer: Transfer, identifier: bytes, code: CustodyCode) -> None:
        if transfer.hops and (transfer.copies or code is not CustodyCode.QUOTA):
            return
        if code is CustodyCode.ACCEPTED:
            self._effects.accept(peer.link.number, identifier)
        else:
            self._effects.answer(peer.link.number, identifier, code)


def _chunks(short_ids: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    for start in range(0, len(short_ids), MAX_SHORT_IDS):
        yield tuple(short_ids[start : start + MAX_SHORT_IDS])
