"""Envelopes onto links and off them: windows, turns, probes, and what is tried again at once or later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.mesh import counters
from qpq.mesh.custody import Lane, Place, Way
from qpq.mesh.due import Due
from qpq.mesh.effects import SendEnvelope, SendFrame
from qpq.wire.frames import Transfer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.chance import Chance
    from qpq.mesh.clock import Clock
    from qpq.mesh.collecting import Effects
    from qpq.mesh.custody import Custody, Destination, Held
    from qpq.mesh.deposits import Deposits
    from qpq.mesh.due import Timer
    from qpq.mesh.limits import Limits
    from qpq.mesh.timers import Timers
    from qpq.mesh.ways import Hop, Ways
    from qpq.mesh.windows import Window, Windows
    from qpq.wire.envelope import Envelope

_MAX_DOUBLINGS = 32


class Moving:
    """Puts envelopes on links as ``Ways`` says and windows allow; the hands of ``Sending``."""

    __slots__ = (
        "_chance",
        "_clock",
        "_custody",
        "_deposits",
        "_effects",
        "_limits",
        "_proven",
        "_timers",
        "_ways",
        "_windows",
    )

    def __init__(
        self,
        *,
        limits: Limits,
        clock: Clock,
        chance: Chance,
        timers: Timers[Timer],
        effects: Effects,
        custody: Custody,
        deposits: Deposits,
        ways: Ways,
        windows: Windows,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._chance = chance
        self._timers = timers
        self._effects = effects
        self._custody = custody
        self._deposits = deposits
        self._ways = ways
        self._windows = windows
        self._proven: dict[tuple[Address, Address], None] = {}

    def start(self, item: Held, envelope: Envelope, now: float) -> None:
        """Begin with an envelope that has just been added; ``envelope`` saves reading the store."""
        destination = self._custody.queue(item)
        waits = not item.own and destination.put_off.get(item.via, now) > now
        if waits and (item.sender, item.recipient) not in self._proven:
            self.put_off(item, now)
            return
        number = self._place(item, destination, self._ways.hops(item.recipient, destination, now), now)
        if number:
            self.pump(number, now, (item, envelope))

    def move_all(self, now: float) -> None:
        """Place everything that waits."""
        for recipient, destination in self._custody.destinations():
            self.move(recipient, destination, now)

    def move(self, recipient: Address, destination: Destination | None, now: float, *, resting: bool = False) -> None:
        """Place what waits for a recipient."""
        waiting = destination.waiting(resting=resting) if destination is not None else ()
        if destination is None or not waiting:
            return
        hops = self._ways.hops(recipient, destination, now)
        touched: set[int] = set()
        for item in waiting:
            if item.place is Place.READY:
                self.land(item, self._windows[item.link])
            elif item.place is Place.RESTING:
                self._timers.cancel((Due.HOLD, item.envelope_id))
                self._timers.cancel((Due.ANSWER, item.envelope_id))
                item.place = Place.WAITING
            touched.add(self._place(item, destination, hops, now))
        self._pump_all(touched, now)

    def unblock(self, recipient: Address, now: float) -> None:
        """Let the next probe go, where one has come back."""
        destination = self._custody.destination(recipient)
        if destination is not None and destination.lanes:
            self.move(recipient, destination, now)

    def again(self, item: Held, now: float) -> None:
        """Place an envelope that came back; one that a change of routes has placed meanwhile stays where it is."""
        if item.place in (Place.READY, Place.FLYING):
            return
        destination = self._custody.queue(item)
        hops = self._ways.hops(item.recipient, destination, now)
        item.place = Place.WAITING
        self._ways.stray(item, destination, hops, now)
        number = self._place(item, destination, hops, now)
        if number:
            self.pump(number, now)

    def pump(self, number: int, now: float, fresh: tuple[Held, Envelope] | None = None) -> None:
        """Send what is ready for a link as far as its window goes."""
        window = self._windows[number]
        elsewhere: set[int] = set()
        while True:
            item = window.next(self._limits)
            if item is None:
                break
            destination = self._custody.queue(item)
            lane = destination.lanes.get(window.peer) if destination.lanes else None
            if lane is not None and lane.blocked:
                hops = self._ways.hops(item.recipient, destination, now)
                elsewhere.add(self._place(item, destination, hops, now))
            elif not window.fits(item):
                self._effects.count(counters.MESSAGE_TOO_LARGE)
                self.rest(item, self._limits.hold_s, now)
            else:
                if lane is not None:
                    lane.probing = True
                self._send(window, item, fresh, now)
        self._pump_all(elsewhere, now)

    def land(self, item: Held, window: Window) -> None:
        """Take an envelope off the link that it is on or ready for; it waits."""
        if item.place is Place.FLYING:
            self._timers.cancel((Due.ANSWER, item.envelope_id))
            lane = self._custody.queue(item).lanes.get(window.peer)
            if lane is not None:
                lane.probing = False
        window.land(item)

    def await_receipt(self, item: Held, now: float) -> None:
        """Let an envelope lie that a neighbour has taken, until its receipt should have come."""
        item.place = Place.RESTING
        self._timers.set((Due.ANSWER, item.envelope_id), now + self._ways.patience(item, now))

    def rest(self, item: Held, wait: float, now: float) -> None:
        """Let an envelope lie for about so many seconds."""
        item.place = Place.RESTING
        self._effects.count(counters.MESSAGE_RETRIED)
        self._timers.set((Due.HOLD, item.envelope_id), now + self._chance.stretch(wait))

    def put_off(self, item: Held, now: float) -> None:
        """Let an envelope lie that is not taken now while others are.

        It lies longer each time that it was sent, and behind others that came from where it came from. So strangers,
        of whom anybody can make many, do not keep each other's from being tried, nor those from elsewhere.
        """
        limits = self._limits
        self._proven.pop((item.sender, item.recipient), None)
        wait = limits.retry_min_s * 2.0 ** min(max(0, item.attempts - 1), _MAX_DOUBLINGS)
        behind = self._custody.queue(item).wait_behind(item.via, limits.put_off_s, limits.hold_s, now)
        self.rest(item, max(behind, min(limits.retry_max_s, wait)), now)

    def proven(self, item: Held) -> None:
        """Note that a recipient's node next door has taken what a sender wrote: its next is not put off unasked."""
        pair = (item.sender, item.recipient)
        self._proven.pop(pair, None)
        if len(self._proven) >= self._limits.pairs_proven:
            del self._proven[next(iter(self._proven))]
        self._proven[pair] = None

    def no_room(self, item: Held, peer: Identity, now: float) -> None:
        """Leave a neighbour in peace for a while, for this recipient only; another may take the envelope."""
        self._effects.count(counters.MESSAGE_RETRIED)
        lanes = self._custody.queue(item).lanes
        lane = lanes.get(peer)
        if lane is None:
            lane = lanes[peer] = Lane()
        if not lane.paused:
            lane.paused = True
            lane.refusals += 1
            wait = self._limits.retry_min_s * 2.0 ** min(lane.refusals - 1, _MAX_DOUBLINGS)
            wait = self._chance.stretch(min(self._limits.retry_max_s, wait))
            self._timers.set((Due.RESUME, peer + item.recipient), now + wait)
        if item.way is not Way.DIRECT:
            self.again(item, now)

    def good(self, recipient: Address, destination: Destination, peer: Identity, now: float) -> None:
        """Let everything flow again to a neighbour that answers."""
        if destination.lanes.pop(peer, None) is not None:
            self._timers.cancel((Due.RESUME, peer + recipient))
            self.move(recipient, destination if destination.items else None, now)

    # --- inside --------------------------------------------------------------------------------------

    def _place(self, item: Held, destination: Destination, hops: tuple[Hop, ...], now: float) -> int:
        """Let an envelope that waits be ready for a link and return that; 0: it goes on waiting."""
        found = self._ways.choose(item, destination, hops)
        if found is None:
            self._ways.wait(destination, now)
            return 0
        window, way = found
        if way is Way.ROUTE and window.peer in item.given and not item.failures:
            # It has it already and knows the route as well as this node: only its receipt is waited for.
            item.way, item.peer = way, window.peer
            self.await_receipt(item, now)
            return 0
        window.put(item, way)
        return window.number

    def _pump_all(self, numbers: Iterable[int], now: float) -> None:
        for number in numbers:
            if number:
                self.pump(number, now)

    def _send(self, window: Window, item: Held, fresh: tuple[Held, Envelope] | None, now: float) -> None:
        """Send an envelope with half of the copies that may be handed on, the last one always."""
        direct = item.way is Way.DIRECT
        copies = 1 if direct else max(1, item.copies // 2)
        item.spent = 0 if direct or item.copies == 1 else copies
        item.copies -= item.spent
        if not item.urgent and item.turn > self._custody.clock:
            self._custody.clock = item.turn
        window.fly(item)
        age = max(0, int(self._clock.life(now)) - item.born)
        if fresh is not None and fresh[0] is item:
            sent = SendFrame(window.number, Transfer(item.hops, copies, age, fresh[1]))
            if item.own or not self._effects.hasten(sent):
                self._effects.after(sent)
        else:
            self._deposits.store(item.envelope_id)
            self._effects.after(SendEnvelope(window.number, item.envelope_id, item.hops, copies, age))
        patience = self._ways.patience(item, now, flying=True) if item.way is Way.ROUTE else self._limits.answer_s
        self._timers.set((Due.ANSWER, item.envelope_id), now + patience)
        self._effects.count(counters.MESSAGE_SENT)
