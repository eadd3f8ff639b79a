"""Links from LinkUp to their end: HELLO, duplicates, caps, turns, and what misbehaving costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from qpq.mesh import counters
from qpq.mesh.admission import admit
from qpq.mesh.dialling import Dialling, End
from qpq.mesh.due import Due
from qpq.mesh.effects import CloseLink, NeighbourChanged, Notice, SendFrame
from qpq.mesh.links import Link, LinkState, surplus
from qpq.mesh.rows import PeerRow
from qpq.wire.frames import MAX_REASON, WIRE_VERSION, Bye, CloseCode, Hello

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.collecting import Effects
    from qpq.mesh.due import Timer
    from qpq.mesh.events import LinkDown, LinkUp
    from qpq.mesh.limits import Limits
    from qpq.mesh.penalties import Penalties
    from qpq.mesh.timers import Timers

_MAX_RETRY_S = 3600
"""What a peer's ``retry_after`` counts at most: no peer keeps this node from dialling for longer."""
_PATIENCE = 4
"""Times the wait for a HELLO while at most half of the places for greetings are taken: over a link that loses nine of
ten packets it needs that, and whoever stalls on purpose keeps nobody out."""


class Listener(Protocol):
    """Who is told of usable links."""

    def usable(self, link: Link, now: float) -> None:
        """A link became usable."""
        ...

    def gone(self, link: Link, now: float) -> None:
        """A usable link ended."""
        ...


class Neighbours:
    """The links there are. A link that is closed is forgotten at once; what it still brings is ignored."""

    __slots__ = (
        "_by_peer",
        "_chance_stretch",
        "_dialling",
        "_effects",
        "_greeting",
        "_hello",
        "_limits",
        "_links",
        "_listener",
        "_own",
        "_penalties",
        "_timers",
    )

    def __init__(
        self,
        own: Identity,
        *,
        limits: Limits,
        hello: Callable[[int, float], Hello],
        stretch: Callable[[float], float],
        dialling: Dialling,
        penalties: Penalties,
        timers: Timers[Timer],
        effects: Effects,
        listener: Listener,
    ) -> None:
        self._own = own
        self._limits = limits
        self._hello = hello
        self._chance_stretch = stretch
        self._dialling = dialling
        self._penalties = penalties
        self._timers = timers
        self._effects = effects
        self._listener = listener
        self._links: dict[int, Link] = {}
        self._by_peer: dict[Identity, list[Link]] = {}
        self._greeting = 0

    # --- what happens to links -----------------------------------------------------------------

    def up(self, event: LinkUp, now: float) -> None:
        """Greet a new link, or refuse it before it costs anything."""
        link = Link(event, self._limits, now)
        if event.peer == self._own:
            self._effects.count(counters.LINK_SELF)
            if event.initiator:
                self._dialling.itself(event.address, now)
            self._say_bye(link.number, CloseCode.SELF, "this is yourself", 0)
            return
        self._links[link.number] = link
        self._greeting += 1
        self._dialling.linked(event.address, event.peer, event.initiator, now)
        until = self._penalties.until(event.peer)
        if until > now:
            self._effects.count(counters.LINK_REFUSED_PENALTY)
            self.close(link, CloseCode.NOT_PERMITTED, "come back later", now, retry_after=int(until - now) + 1)
        elif self._greeting > self._limits.max_pending:
            self._effects.count(counters.LINK_REFUSED_FULL)
            self.close(link, CloseCode.FULL, "too many greetings", now, retry_after=self._limits.full_retry_s)
        else:
            self._effects.do(SendFrame(link.number, self._hello(self._others(event.peer), now)))
            self._timers.set((Due.HELLO, link.number), now + self._limits.hello_s)

    def down(self, event: LinkDown, now: float) -> None:
        """Take the end of a link; that of one closed from here is no news."""
        link = self._links.get(event.link)
        if link is not None:
            self._forget(link, End.LOST, event.reason, now)

    def get(self, number: int) -> Link | None:
        """Return a link that has not ended."""
        return self._links.get(number)

    def greeted(self, link: Link, hello: Hello, now: float) -> None:
        """Take a HELLO: agree on a version, settle duplicates, find a place."""
        self._timers.cancel((Due.HELLO, link.number))
        if not hello.version_min <= WIRE_VERSION <= hello.version_max:
            self._effects.count(counters.LINK_VERSION)
            reason = f"wire versions {hello.version_min} to {hello.version_max} are not spoken here, {WIRE_VERSION} is"
            self.close(link, CloseCode.VERSION, reason, now, retry_after=_MAX_RETRY_S)
            return
        self._greeting -= 1
        link.greeted(hello, now)
        older = tuple(self._by_peer.get(link.peer, ()))
        losers = self._losers(link, older, now)
        if link in losers:
            self._drop_duplicate(link, now)
            return
        if not older and not self._has_place(link, now):
            return
        siblings = self._by_peer.setdefault(link.peer, [])
        siblings.append(link)
        self._effects.count(counters.LINK_USABLE)
        self._listener.usable(link, now)
        if not older:
            self._effects.do(NeighbourChanged(link.peer, up=True, address=link.address))
        for loser in losers:
            self._drop_duplicate(loser, now)
        if len(siblings) > 1:
            self._timers.set((Due.SETTLE, link.peer), now + self._limits.settled_s)

    def bye(self, link: Link, bye: Bye, now: float) -> None:
        """Take a BYE: the peer closes; it may say when to come back."""
        self._effects.count(counters.LINK_BYE)
        if bye.retry_after:
            wait = min(bye.retry_after, _MAX_RETRY_S)
            self._dialling.hold(link.peer, now + self._chance_stretch(wait))
        self._effects.do(CloseLink(link.number, CloseCode.NONE, "goodbye"))
        end = End.DUPLICATE if bye.code == CloseCode.DUPLICATE else End.LOST
        self._forget(link, end, f"peer said {_code_name(bye.code)}: {bye.reason}", now)

    def misbehaved(self, link: Link, code: CloseCode, reason: str, now: float) -> None:
        """Close a link whose peer broke the rules, and keep the peer away for a while."""
        self._effects.count(counters.LINK_MISBEHAVED)
        until = self._penalties.punish(link.peer, now)
        self._dialling.hold(link.peer, until)
        self._effects.do(Notice("warning", f"peer at {link.address} misbehaved: {reason}"))
        self.close(link, code, reason, now, retry_after=int(until - now))

    def close(self, link: Link, code: CloseCode, reason: str, now: float, *, retry_after: int = 0) -> None:
        """Say BYE, close and forget a link; ``retry_after`` seconds are asked of the peer and kept to from here."""
        self._say_bye(link.number, code, reason, retry_after)
        if retry_after:
            self._dialling.hold(link.peer, now + retry_after)
        self._forget(link, End.DUPLICATE if code is CloseCode.DUPLICATE else End.LOST, f"closed: {reason}", now)

    def close_all(self, now: float) -> None:
        """End every link: this node stops."""
        for link in tuple(self._links.values()):
            self.close(link, CloseCode.SHUTDOWN, "this node stops", now)

    # --- timers ------------------------------------------------------------------------------------

    def hello_due(self, number: int, now: float) -> None:
        """Close a link that has not greeted in time; while there is room others' packets may be lost for longer."""
        link = self._links.get(number)
        if link is None:
            return
        limits = self._limits
        if 2 * self._greeting <= limits.max_pending and now < link.since + _PATIENCE * limits.hello_s:
            self._timers.set((Due.HELLO, number), now + limits.hello_s)
            return
        self._effects.count(counters.LINK_TOO_SLOW)
        self.close(link, CloseCode.TOO_SLOW, f"no HELLO within {now - link.since:.0f} s", now)

    def settle_due(self, peer: Identity, now: float) -> None:
        """Close all but the newest of the links to a peer that had its time to choose."""
        for link in self._by_peer.get(peer, [])[:-1]:
            self._drop_duplicate(link, now)

    # --- questions -----------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many peers have a usable link."""
        return len(self._by_peer)

    def link_to(self, peer: Identity) -> Link | None:
        """Return the newest usable link to a peer."""
        links = self._by_peer.get(peer)
        return links[-1] if links else None

    def usable(self) -> tuple[Link, ...]:
        """Return the newest usable link to each peer."""
        return tuple(links[-1] for links in self._by_peer.values() if links)

    def peers(self, users: Callable[[int], tuple[Address, ...]], now: float) -> tuple[PeerRow, ...]:
        """Return a row for each link and for each address without one."""
        rows = [self._link_row(link, users) for link in self._links.values()]
        for entry in self._dialling.unlinked():
            state = "known"
            if entry.dialled_at is not None:
                state = "dialling"
            elif entry.next_at > now:
                state = "waiting"
            rows.append(
                PeerRow(
                    identity=entry.identity,
                    proven=entry.proven,
                    address=entry.address,
                    via=entry.via,
                    state=state,
                    since=entry.since,
                    retry_at=entry.next_at,
                    reason=entry.reason,
                    known=entry.known if entry.stranger is not None else None,
                )
            )
        return tuple(rows)

    # --- inside --------------------------------------------------------------------------------------

    def _link_row(self, link: Link, users: Callable[[int], tuple[Address, ...]]) -> PeerRow:
        usable = link.state is LinkState.USABLE
        return PeerRow(
            identity=link.peer,
            proven=True,
            address=link.address,
            via=self._dialling.via(link.address),
            state="linked" if usable else "greeting",
            since=link.usable_at if usable else link.since,
            link=link.number,
            users=users(link.number),
            role=link.hello.role if link.hello is not None else None,
            known=self._dialling.known(link.address),
        )

    def _losers(self, link: Link, older: tuple[Link, ...], now: float) -> list[Link]:
        """Return which links to one peer must go, now that ``link`` is one more; at most two ever stay."""
        losers: list[Link] = []
        stay: list[Link] = []
        for other in older:
            loser = surplus(self._own, other, link, now, self._limits.settled_s)
            if loser is link:
                return [link]
            (stay if loser is None else losers).append(other)
        return losers + stay[:-1]

    def _drop_duplicate(self, link: Link, now: float) -> None:
        self._effects.count(counters.LINK_DUPLICATE)
        self.close(link, CloseCode.DUPLICATE, "another link to you stays", now)

    def _has_place(self, link: Link, now: float) -> bool:
        """Find a place for a new peer; peers at kept addresses always get one, and never give way."""
        if self.count < self._limits.room.of(self._limits.max_links):
            return True
        kept = self._dialling.kept_peers()
        if link.peer in kept:
            return True
        verdict = admit(link, (other for other in self.usable() if other.peer not in kept), self._limits, now)
        loser = verdict.link
        self._effects.count(counters.LINK_REFUSED_FULL if loser is link else counters.LINK_GAVE_WAY)
        reason = "no place free" if loser is link else "your place is needed by another"
        for sibling in (link,) if loser is link else tuple(self._by_peer[loser.peer]):
            self.close(sibling, verdict.code, reason, now, retry_after=verdict.retry_after)
        return loser is not link

    def _others(self, peer: Identity) -> int:
        return len(self._by_peer) - (peer in self._by_peer)

    def _say_bye(self, number: int, code: CloseCode, reason: str, retry_after: int) -> None:
        reason = reason.encode()[:MAX_REASON].decode(errors="ignore")
        self._effects.do(SendFrame(number, Bye(code, retry_after, reason)))
        self._effects.do(CloseLink(number, code, reason))

    def _forget(self, link: Link, end: End, reason: str, now: float) -> None:
        del self._links[link.number]
        self._timers.cancel((Due.HELLO, link.number))
        if link.state is LinkState.GREETING:
            self._greeting -= 1
        lasted = now - link.usable_at if link.state is LinkState.USABLE else 0.0
        self._dialling.ended(link.address, link.peer, now, lasted=lasted, loss=link.loss, end=end, reason=reason)
        siblings = self._by_peer.get(link.peer, [])
        if link not in siblings:
            return
        siblings.remove(link)
        self._listener.gone(link, now)
        if not siblings:
            del self._by_peer[link.peer]
            self._timers.cancel((Due.SETTLE, link.peer))
            self._effects.do(NeighbourChanged(link.peer, up=False, address=link.address))


def _code_name(code: int) -> str:
    try:
        return CloseCode(code).name
    except ValueError:
        return str(code)
