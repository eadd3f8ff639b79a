"""Ping and trace: a probe goes along the routes to an address, its answer back the way it came."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qpq.mesh import counters
from qpq.mesh.buckets import Bucket
from qpq.mesh.due import Due
from qpq.mesh.effects import ProbeDone, SendFrame
from qpq.mesh.routes import MAX_HOPS
from qpq.wire.frames_mesh import MAX_PATH, Probe, ProbeKind

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.mesh.collecting import Effects
    from qpq.mesh.due import Timer
    from qpq.mesh.events import Ping
    from qpq.mesh.limits import Limits
    from qpq.mesh.links import Link
    from qpq.mesh.routing import Routing
    from qpq.mesh.timers import Timers
    from qpq.mesh.users import Users


class _Own:
    """A probe of a user of this node; ``link`` 0: it waits for a route."""

    __slots__ = ("link", "ping", "started")

    def __init__(self, ping: Ping, now: float) -> None:
        self.ping = ping
        self.started = now
        self.link = 0


class Probing:
    """Sends, passes on and answers probes.

    Of those on their way through this node the oldest gives way; a probe that comes again is a
    loop or a replay and is dropped. An answer counts only from the link that its probe went to.
    """

    __slots__ = ("_effects", "_limits", "_node", "_own", "_passed", "_rates", "_routing", "_timers", "_users")

    def __init__(
        self,
        node: SecretIdentity,
        *,
        limits: Limits,
        timers: Timers[Timer],
        effects: Effects,
        users: Users,
        routing: Routing,
    ) -> None:
        self._node = node
        self._limits = limits
        self._timers = timers
        self._effects = effects
        self._users = users
        self._routing = routing
        self._own: dict[bytes, _Own] = {}
        self._passed: dict[bytes, tuple[int, int, float]] = {}
        self._rates: dict[int, Bucket] = {}

    def ping(self, event: Ping, now: float) -> None:
        """Begin a user's probe; without a route it waits for one."""
        if self._is_here(event.target):
            self._effects.do(ProbeDone(event.token, ok=True, rtt=0.0, hops=0, path=()))
        elif len(self._own) >= self._limits.pings or event.token in self._own:
            self._effects.do(ProbeDone(event.token, ok=False, rtt=0.0, hops=0, path=(), reason="too many at once"))
        else:
            own = self._own[event.token] = _Own(event, now)
            self._timers.set((Due.PROBE, event.token), now + self._limits.probe_s)
            if not self._start(own, now):
                self._routing.wanted(event.target, now)

    def probe(self, link: Link, probe: Probe, now: float) -> str:
        """Take a probe from a link."""
        if probe.kind is not ProbeKind.REQUEST:
            self._come_back(link.number, probe, now)
        elif probe.hops >= MAX_HOPS or probe.token in self._passed or not self._rate(link.number, now).take(1, now):
            self._effects.count(counters.PROBE_DROPPED)
        else:
            self._request(link.number, probe, now)
        return ""

    def due(self, token: bytes, now: float) -> None:
        """Give up a user's probe."""
        own = self._own.pop(token)
        reason = "no answer" if own.link else "no route"
        self._effects.do(ProbeDone(token, ok=False, rtt=now - own.started, hops=0, path=(), reason=reason))

    def link_gone(self, number: int) -> None:
        """Forget a link's rate; probes on it end by their deadline."""
        self._rates.pop(number, None)

    def route_found(self, address: Address, now: float) -> None:
        """Send the probes that waited for a route."""
        for own in tuple(self._own.values()):
            if own.ping.target == address and not own.link:
                self._start(own, now)

    def route_lost(self, address: Address, now: float) -> None:
        """Probes on their way end by their deadline."""

    # --- inside ------------------------------------------------------------------------------------------

    def _is_here(self, target: Address) -> bool:
        return target == self._node.address or self._users.get(target) is not None

    def _start(self, own: _Own, now: float) -> bool:
        ping = own.ping
        hops = self._routing.next_hops(ping.target, now)
        if not hops:
            return False
        own.link = hops[0].link
        probe = Probe(ProbeKind.REQUEST, 0, ping.trace, ping.token, ping.target, ())
        self._effects.do(SendFrame(own.link, probe))
        return True

    def _request(self, link: int, probe: Probe, now: float) -> None:
        path = probe.path
        if probe.trace and len(path) < MAX_PATH:
            path = (*path, self._node.identity)
        if self._is_here(probe.target):
            self._effects.count(counters.PROBE_ANSWERED)
            self._effects.do(SendFrame(link, replace(probe, kind=ProbeKind.ANSWER, hops=0, path=path)))
            return
        onward = next((hop.link for hop in self._routing.next_hops(probe.target, now) if hop.link != link), None)
        if onward is None:
            self._effects.do(SendFrame(link, replace(probe, kind=ProbeKind.UNREACHABLE, hops=0, path=path)))
            return
        self._passed[probe.token] = (link, onward, now)
        if len(self._passed) > self._limits.probes:
            del self._passed[next(iter(self._passed))]
        self._effects.count(counters.PROBE_PASSED)
        self._effects.do(SendFrame(onward, replace(probe, hops=probe.hops + 1, path=path)))

    def _come_back(self, link: int, probe: Probe, now: float) -> None:
        own = self._own.get(probe.token)
        source, onward, at = self._passed.get(probe.token, (0, 0, 0.0))
        if own is not None and own.link == link:
            del self._own[probe.token]
            self._timers.cancel((Due.PROBE, probe.token))
            ok = probe.kind is ProbeKind.ANSWER
            reason = "" if ok else "a node on the way knows no route"
            self._effects.do(ProbeDone(probe.token, ok, now - own.started, probe.hops + 1, probe.path, reason))
        elif onward == link and now - at <= self._limits.probe_s and probe.hops < MAX_HOPS:
            del self._passed[probe.token]
            self._effects.do(SendFrame(source, replace(probe, hops=probe.hops + 1)))
        else:
            self._effects.count(counters.PROBE_DROPPED)

    def _rate(self, link: int, now: float) -> Bucket:
        if link not in self._rates:
            self._rates[link] = Bucket(self._limits.probe_rate, self._limits.probe_burst, now)
        return self._rates[link]
