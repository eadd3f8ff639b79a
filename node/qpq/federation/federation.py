"""All of a node's dealings with other domains: who calls, who is called, and what is handed on."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from qpq.errors import QpqError
from qpq.federation.courier import Courier
from qpq.federation.desk import Desk
from qpq.federation.errors import UntrustedError
from qpq.federation.topics import share
from qpq.rpc.session import RpcSession
from qpq.wire.rpc_services import FEDERATION_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from qpq.crypto.identity import Identity
    from qpq.federation.ports import Parts
    from qpq.federation.settings import Relay
    from qpq.federation.trust import Trust
    from qpq.rpc.session import Stream

ALPN: Final = "quicproquo/federation/1"
FIRST_WAIT_S: Final = 2.0
LAST_WAIT_S: Final = 300.0
"""Between calls to a relay that does not answer: doubling, up to five minutes."""
SETTLED_S: Final = 30.0
"""A connection that lived so long was a good one, after which waiting begins anew."""

GREETING_S: Final = 20.0
"""For the first answer on a connection."""
_HEALTH = FEDERATION_SERVICE.method("federationHealth")

_log = logging.getLogger("qpq.federation")


class Federation:
    """Sessions with the relays of other domains.

    ``opened`` is to be called with each connection of the ALPN whose peer ``trust`` has judged.
    """

    def __init__(self, trust: Trust, parts: Parts) -> None:
        self.trust = trust
        self.desk = Desk(trust.settings, parts.queue, parts.mesh, parts.meter)
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._sessions: dict[str, list[RpcSession]] = {}
        self._couriers: dict[str, Courier] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._keepers: dict[str, _Keeper] = {}

    # connections

    def start(self, domains: Iterable[str]) -> None:
        """Call the relays that have addresses; something waits for ``domains``."""
        for relay in self.trust.settings.relays:
            self._keep(relay)
        for domain in domains:
            self.wake(domain)

    def opened(self, stream: Stream, key: Identity, address: str, *, initiator: bool) -> RpcSession:
        """Take a connection whose other end has proven ``key``."""
        try:
            domain = self.trust.domain_of(key)
        except UntrustedError as fault:
            session = RpcSession(stream)
            session.close(str(fault))
            return session
        session = RpcSession(stream, self.desk.service(domain))
        self._sessions.setdefault(domain, []).append(session)
        _log.info("%s %s at %s", "connected with" if initiator else "connected from", domain, address)
        self._spawn(self._watch(domain, session), "watch")
        if initiator:
            self._spawn(self._greet(domain, session), "greet")
        keeper = self._keepers.get(domain)
        if keeper is not None:
            keeper.connected()
        self._wake_all()
        return session

    def session_to(self, domain: str) -> RpcSession | None:
        """Return an open session that leads to a domain: its own relay's, else one that carries for it."""
        for way in self.trust.settings.ways(domain):
            for session in reversed(self._sessions.get(way, ())):  # after an outage the older may be dead
                if session.is_open:
                    return session
        return None

    def connected(self) -> dict[str, int]:
        """Return how many connections there are, by domain."""
        return {domain: len(sessions) for domain, sessions in sorted(self._sessions.items())}

    # what waits

    def wake(self, domain: str) -> None:
        """Something waits for a domain; at a stop it waits for the next start."""
        if self.desk.draining:
            return
        courier = self._couriers.get(domain)
        if courier is None:
            courier = Courier(self.trust.settings.domain, domain, self._parts, self.session_to)
            self._couriers[domain] = courier
            self._spawn(courier.run(), "courier")
        if self._may_reach(domain):
            courier.wake()
        else:
            self._spawn(courier.refuse(f"{domain} is not reached from {self.trust.settings.domain}"), "refuse")

    def heard(self, broadcast: bytes, age: int, home: str = "") -> None:
        """A broadcast of a shared topic is known in this mesh, ``age`` seconds after it was made.

        ``home``: the domain that it is from, as another gateway says; empty: this one.
        """
        share(self.trust.settings, self._parts.queue, self._parts.meter, broadcast, age=age, hops=0, home=home)

    def renew(self, trust: Trust) -> None:
        """Go by other settings from now on; connections that they would refuse are ended."""
        before = {relay.domain: relay for relay in self.trust.settings.relays}
        self.trust = trust
        self.desk.settings = trust.settings
        after = {relay.domain: relay for relay in trust.settings.relays}
        for domain in [known for known in before if before[known] != after.get(known)]:
            for session in tuple(self._sessions.get(domain, ())):
                session.close("the rules for this domain have changed")
            keeper = self._keepers.pop(domain, None)
            if keeper is not None:
                keeper.stop()
        for relay in trust.settings.relays:
            if relay.domain not in self._keepers:
                self._keep(relay)
        self._wake_all()

    # the end

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 (not an error when it passes)
        """Refuse what is new, let what is under way end for at most ``timeout`` seconds, and close all connections."""
        self.desk.draining = True
        for keeper in self._keepers.values():
            keeper.stop()
        for courier in self._couriers.values():
            courier.stop()
        sessions = [session for known in self._sessions.values() for session in known]
        waits = [self._loop.create_task(session.drain(timeout)) for session in sessions]
        busy = {*waits, *self._tasks_of_couriers()}
        if busy:
            await asyncio.wait(busy, timeout=timeout)
        for session in sessions:
            session.close("the relay stops")
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, *waits, return_exceptions=True)

    # inside

    def _may_reach(self, domain: str) -> bool:
        """Whether there is a relay for a domain, or may be one some day: whoever the authority vouches for may call."""
        settings = self.trust.settings
        return settings.reaches(domain) or bool(settings.authorities) or self.session_to(domain) is not None

    def _tasks_of_couriers(self) -> list[asyncio.Task[None]]:
        return [task for task in self._tasks if task.get_name() == "courier"]

    def _keep(self, relay: Relay) -> None:
        if relay.addresses:
            keeper = _Keeper(relay, self._parts, lambda: bool(self._sessions.get(relay.domain)))
            self._keepers[relay.domain] = keeper
            keeper.begin()

    def _wake_all(self) -> None:
        for courier in self._couriers.values():
            courier.wake()

    async def _greet(self, domain: str, session: RpcSession) -> None:
        """Open the stream, without which the other end can say nothing, and hear who it is."""
        try:
            health = await session.call(_HEALTH, {}, timeout=GREETING_S)
        except QpqError as fault:
            session.close(str(fault))
            return
        if health.text("serverDomain") != domain:
            session.close(f"it says that it is of {health.text('serverDomain')[:64]!a}")

    async def _watch(self, domain: str, session: RpcSession) -> None:
        await session.wait_closed()
        sessions = self._sessions[domain]
        sessions.remove(session)
        if not sessions:
            del self._sessions[domain]
            keeper = self._keepers.get(domain)
            if keeper is not None:
                keeper.lost()
        _log.info("no connection any more with %s: %s", domain, session.reason)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Keeper:
    """Sees that there is a connection with one relay: calls its addresses in turn, ever more rarely."""

    def __init__(self, relay: Relay, parts: Parts, is_connected: Callable[[], bool]) -> None:
        self._relay = relay
        self._dialler = parts.dialler
        self._chance = parts.chance
        self._is_connected = is_connected
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._wait = FIRST_WAIT_S
        self._next = 0
        self._since = 0.0
        self._reason = ""
        self._stopped = False

    def begin(self) -> None:
        """Call now."""
        self._timer = None
        if self._stopped or self._is_connected():
            return
        address = self._relay.addresses[self._next % len(self._relay.addresses)]
        self._next += 1
        self._dialler.open(address, self._relay.domain, self._failed)

    def connected(self) -> None:
        """There is a connection."""
        self._since = self._loop.time()
        self._reason = ""

    def lost(self) -> None:
        """There is none any more."""
        if self._loop.time() - self._since >= SETTLED_S:
            self._wait = FIRST_WAIT_S
        self._later()

    def stop(self) -> None:
        """Call no more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _failed(self, reason: str) -> None:
        if reason != self._reason:
            _log.warning("the relay of %s does not answer: %s", self._relay.domain, reason)
        self._reason = reason
        self._later()

    def _later(self) -> None:
        if self._stopped or self._timer is not None:
            return
        if self._next % len(self._relay.addresses):  # another address may do
            wait = 0.0
        else:
            wait = self._wait * (0.5 + self._chance())
            self._wait = min(LAST_WAIT_S, 2 * self._wait)
        self._timer = self._loop.call_later(wait, self.begin)
