"""Hands on what waits for one domain: in order, many calls at once, again and again until it is taken or too old."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from qpq.errors import QpqError
from qpq.wire.outside import KINDS, OutsideBroadcast, OutsideEnvelope, OutsideReceipt, OutsideRefusal, encode_outside
from qpq.wire.receipts import SECRET_SIZE
from qpq.wire.rpc_errors import CallDisconnected, CallFailed, CallTimeout
from qpq.wire.rpc_services import FEDERATION_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.federation.ports import Parts
    from qpq.mesh.parcel import Parcel
    from qpq.rpc.session import RpcSession
    from qpq.wire.outside import Outside

IN_FLIGHT: Final = 48
"""Calls at once; a peer runs 64 of one connection."""
BATCH: Final = 192
CALL_S: Final = 30.0
FIRST_RETRY_S: Final = 5.0
LAST_RETRY_S: Final = 900.0
"""Before something that a relay did not take is offered again: doubling from try to try, up to a quarter of an hour."""

_ENQUEUE = FEDERATION_SERVICE.method("relayEnqueue")


class Courier:
    """What waits for ``domain``; ``session`` gives an open session that leads there, or None.

    ``wake`` whenever something new waits or a session has come.
    """

    def __init__(self, own: str, domain: str, parts: Parts, session: Callable[[str], RpcSession | None]) -> None:
        self._own = own
        self._domain = domain
        self._queue = parts.queue
        self._mesh = parts.mesh
        self._meter = parts.meter
        self._chance = parts.chance
        self._session = session
        self._wake = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """Look at once."""
        self._wake.set()

    def stop(self) -> None:
        """Hand on nothing more after what is under way."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Work until ``stop``."""
        while not self._stopping:
            self._wake.clear()
            session = self._session(self._domain)
            if session is not None:
                while not self._stopping and session.is_open and await self._batch(session):
                    pass
            await self._rest(has_session=self._session(self._domain) is not None)  # another one, perhaps

    async def refuse(self, reason: str) -> None:
        """Tell where everything that waits came from that nobody will take it."""
        while parcels := self._queue.due(self._domain, BATCH):
            told = [parcel.seq for parcel in parcels if await self._turned_down(parcel, reason)]
            self._queue.done(told)
            if len(told) < len(parcels):
                return

    async def _rest(self, *, has_session: bool) -> None:
        """Wait until there is something to do."""
        wait = self._queue.next_due(self._domain) if has_session else None
        if wait is not None and wait <= 0 and not self._stopping:
            return
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _batch(self, session: RpcSession) -> bool:
        """Hand on some of what is due; False: there was nothing, or it does not go on."""
        parcels = self._queue.due(self._domain, BATCH)
        if not parcels:
            return False
        gate = asyncio.Semaphore(IN_FLIGHT)
        outcomes = await asyncio.gather(*(self._hand(session, parcel, gate) for parcel in parcels))
        done = [parcel.seq for parcel, outcome in zip(parcels, outcomes, strict=True) if outcome is True]
        later = [
            (parcel.seq, self._wait(parcel.tries))
            for parcel, outcome in zip(parcels, outcomes, strict=True)
            if outcome is False
        ]
        if done:
            self._queue.done(done)
        if later:
            self._queue.later(later)
        return bool(done or later)

    async def _hand(self, session: RpcSession, parcel: Parcel, gate: asyncio.Semaphore) -> bool | None:
        """Hand one on; True: it is done with, False: to be tried later, None: it was not tried."""
        async with gate:
            left = self._queue.left(parcel)
            if self._stopping or not session.is_open:
                return None
            if left <= 0:
                return True
            item = item_of(parcel, self._own)
            started = time.monotonic()
            try:
                await session.call(
                    _ENQUEUE,
                    {
                        "recipientKey": parcel.recipient,
                        "payload": encode_outside(item),
                        "version": 1,
                        "auth": {"origin": self._own},
                        "ttlSecs": left,
                        "hops": parcel.hops + 1,
                        "messageId": item.message_id,
                        "home": parcel.origin if isinstance(item, OutsideBroadcast) else "",
                    },
                    timeout=CALL_S,
                )
            except CallFailed as fault:
                self._meter.count("federation.turned_down")
                return await self._turned_down(parcel, str(fault))
            except (CallDisconnected, CallTimeout) as fault:
                session.close(str(fault))
                return None
            except QpqError:  # overloaded, or it cannot do this yet
                self._meter.count("federation.put_off")
                return False
            self._meter.count("federation.handed_on")
            self._meter.observe("federation_relay_seconds", time.monotonic() - started)
            return True

    async def _turned_down(self, parcel: Parcel, reason: str) -> bool:
        """Tell where a parcel came from that nobody will take it; whether that is done with."""
        if parcel.kind:
            return True  # a receipt, refusal or broadcast that nobody wants
        if not parcel.origin:
            return not (await self._mesh.give_up(parcel, reason)).retry
        refusal = OutsideRefusal(parcel.origin, self._domain, parcel.envelope_id, reason)
        try:
            self._queue.hold(refusal, parcel.sender, ttl=parcel.ttl, age=0, hops=0)
        except QpqError:
            return False
        return True

    def _wait(self, tries: int) -> float:
        """Return how long to leave something that was not taken, half of it by chance."""
        wait = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(tries, 10))
        return wait * (0.5 + self._chance())


def item_of(parcel: Parcel, own: str) -> Outside:
    """Return what a row of the queue says to another domain."""
    origin = parcel.origin or own
    if not parcel.kind:
        return OutsideEnvelope(parcel.domain, origin, parcel.data)
    if parcel.kind == 1:
        return OutsideReceipt(parcel.domain, origin, parcel.data[:SECRET_SIZE], parcel.data[SECRET_SIZE:])
    if parcel.kind == KINDS.index(OutsideBroadcast):
        return OutsideBroadcast(parcel.domain, own, parcel.data)
    return OutsideRefusal(parcel.domain, origin, parcel.envelope_id, parcel.data.decode())
