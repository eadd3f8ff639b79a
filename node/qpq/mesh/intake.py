"""Frames from links: held against the link's state and rates, then handed to the machine they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qpq.mesh import counters
from qpq.mesh.effects import NeighbourChanged
from qpq.mesh.links import Action, Flow, Link
from qpq.mesh.served import Heard
from qpq.wire.envelope import Mode, envelope_id
from qpq.wire.frames import CloseCode, Custody, CustodyCode, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.mesh.collecting import Effects
    from qpq.mesh.flooding import Flooding
    from qpq.mesh.machines import Machines
    from qpq.mesh.neighbours import Neighbours
    from qpq.mesh.receiving import Receiving
    from qpq.mesh.relaying import Relaying
    from qpq.mesh.routing import Routing
    from qpq.mesh.sending import Sending
    from qpq.mesh.served import Served
    from qpq.wire.frames import Frame
    from qpq.wire.frames_mesh import Announce

_HEARD = {
    Heard.NEW: counters.ANNOUNCE_STORED,
    Heard.RENEWED: counters.ANNOUNCE_STORED,
    Heard.STALE: counters.ANNOUNCE_STALE,
    Heard.FOREIGN: counters.ANNOUNCE_FOREIGN,
    Heard.OVER_CAP: counters.ANNOUNCE_OVER_CAP,
    Heard.FORGED: counters.ANNOUNCE_FORGED,
}


def action_table(machines: Machines) -> dict[Action, Callable[[Link, Any, float], str]]:
    """Return what takes each kind of frame, but for those that ``Intake`` itself knows the way of."""
    return {
        Action.TRANSFER: machines.flooding.transfer,
        Action.IHAVE: machines.flooding.ihave,
        Action.GRAFT: machines.flooding.graft,
        Action.PRUNE: machines.flooding.prune,
        Action.RECONCILE: machines.reconciling.reconcile,
        Action.ROUTE: machines.routing.hearing.route,
        Action.RETRACT: machines.routing.hearing.retract,
        Action.QUERY: machines.routing.queries.query,
        Action.PROBE: machines.probing.probe,
    }


class Intake:
    """Takes decoded frames; what breaks the rules ends the link and costs the peer."""

    __slots__ = (
        "_effects",
        "_flooding",
        "_machines",
        "_neighbours",
        "_receiving",
        "_relaying",
        "_routing",
        "_sending",
        "_served",
    )

    def __init__(
        self,
        *,
        effects: Effects,
        neighbours: Neighbours,
        served: Served,
        sending: Sending,
        receiving: Receiving,
        relaying: Relaying,
        routing: Routing,
        flooding: Flooding,
        machines: dict[Action, Callable[[Link, Any, float], str]],
    ) -> None:
        """``machines`` take a link, a frame and the time; what they return, if anything, is why the link must end.

        The one for TRANSFER takes those of mode CHANNEL only.
        """
        self._effects = effects
        self._neighbours = neighbours
        self._served = served
        self._sending = sending
        self._receiving = receiving
        self._relaying = relaying
        self._routing = routing
        self._flooding = flooding
        self._machines = machines

    def frames(self, number: int, frames: tuple[Frame, ...], now: float) -> bool:
        """Take frames of a link in order; whether links may have changed by them.

        Frames of a link that has ended, from here perhaps, are counted and ignored.
        """
        changed = False
        for frame in frames:
            link = self._neighbours.get(number)
            if link is None:
                self._effects.count(counters.FRAME_STRAY)
                break
            changed = self._frame(link, frame, now) or changed
        return changed

    def _frame(self, link: Link, frame: Frame, now: float) -> bool:
        action = link.action(frame)
        if action is None:
            name = type(frame).__name__.upper()
            self._neighbours.misbehaved(link, CloseCode.MALFORMED, f"{name} must not come now", now)
            return True
        if action is Action.GREET or action is Action.BYE:
            self._greeting(link, action, frame, now)
            return True
        return not self._flows(link, frame, now) or not self._act(link, action, frame, now)

    def _greeting(self, link: Link, action: Action, frame: Any, now: float) -> None:
        if action is Action.GREET:
            self._neighbours.greeted(link, frame, now)
        else:
            self._neighbours.bye(link, frame, now)

    def _flows(self, link: Link, frame: Frame, now: float) -> bool:
        """Hold a frame against the link's rates: too many are answered or dropped, far too many end the link."""
        flow = link.flow(frame, now)
        if flow is Flow.WITHIN:
            return True
        self._effects.count(counters.FRAME_OVER_RATE)
        if flow is Flow.ABUSE:
            self._neighbours.misbehaved(link, CloseCode.NOT_PERMITTED, "a flood of frames", now)
        elif type(frame) is Transfer:
            self._receiving.refuse(link, envelope_id(frame.envelope), CustodyCode.QUOTA)
        return False

    def _act(self, link: Link, action: Action, frame: Any, now: float) -> bool:
        """Hand a frame on; False: it ended the link."""
        if action is Action.TRANSFER and (frame.envelope.mode is not Mode.CHANNEL or action not in self._machines):
            if self._receiving.transfer(link, frame, now):
                return True
            self._neighbours.misbehaved(link, CloseCode.NOT_PERMITTED, "an envelope with a false signature", now)
            return False
        if action is Action.ANNOUNCE:
            return self._announced(link, frame, now)
        if action is Action.RECEIPT:
            self._relaying.receipt(link, frame, now)
        elif action is Action.CUSTODY:
            self._answered(link, frame, now)
        elif action in self._machines:
            complaint = self._machines[action](link, frame, now)
            if complaint:
                self._neighbours.misbehaved(link, CloseCode.NOT_PERMITTED, complaint, now)
            return not complaint
        else:
            self._effects.count(counters.FRAME_SKIPPED)
        return True

    def _answered(self, link: Link, custody: Custody, now: float) -> None:
        """Hand each answer to the machine whose envelope it names."""
        rest = tuple(answer for answer in custody.answers if not self._flooding.answered(link.number, *answer, now))
        if rest:
            self._sending.custody(link.number, Custody(rest), now)

    def _announced(self, link: Link, announce: Announce, now: float) -> bool:
        heard = self._served.heard(link.number, announce) if link.may_announce(now) else Heard.OVER_CAP
        self._effects.count(_HEARD[heard])
        if heard is Heard.FORGED:
            self._neighbours.misbehaved(link, CloseCode.NOT_PERMITTED, "an announce with a false signature", now)
            return False
        if heard is Heard.NEW:
            users = self._served.users(link.number)
            self._effects.do(NeighbourChanged(link.peer, up=True, address=link.address, users=users))
            self._sending.reachable(announce.address, now)
        complaint = self._routing.hearing.announced(link, announce, heard, now)
        if complaint:
            self._neighbours.misbehaved(link, CloseCode.NOT_PERMITTED, complaint, now)
        return not complaint
