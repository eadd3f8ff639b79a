"""How a link of the model comes up: the datagrams of a mutual handshake, each of which may be lost.

Seen with aioquic: ClientHello and the server's flight are one datagram of 1200 bytes each, the client's certificate
with HELLO behind it one of 450, HANDSHAKE_DONE with the ticket one of 138. Each is sent again after a probe timeout
that doubles up to a bound; whoever has heard from the other waits longer (``link.connection``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qpq.link.liveness import Liveness
from sim.medium import FRAMING
from sim.recovery import GRANULARITY, INITIAL_RTT, PACKET, probe_doublings

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.link.limits import LinkLimits
    from sim.agenda import Agenda
    from sim.medium import Pipe
    from sim.owner import Owner
    from sim.transport import End

FINISH_BYTES = 450
DONE_BYTES = 138
DONE_ACK_BYTES = 29
AMPLIFICATION = 3
"""Datagrams a server may send for each that has come from an address it has not validated (RFC 9000 section 8.1)."""
LEAST_RETRY = 3 * GRANULARITY


class Handshake:
    """One dial. ``up(rtt)`` makes both ends when the client is done, ``accepted()`` tells the server's node."""

    __slots__ = (
        "_accepted", "_agenda", "_back", "_client", "_ends", "_failed", "_flight_at", "_forth", "_hello_at", "_limits",
        "_rtt", "_server", "_server_credit", "_stage", "_until_client", "_until_server", "_up",
    )  # fmt: skip

    def __init__(
        self,
        agenda: Agenda,
        client: Owner,
        server: Owner,
        forth: Pipe,
        back: Pipe,
        *,
        limits: LinkLimits,
        up: Callable[[float], tuple[End, End]],
        accepted: Callable[[End], None],
        failed: Callable[[str], None],
    ) -> None:
        self._agenda = agenda
        self._client = client
        self._server = server
        self._forth = forth
        self._back = back
        self._limits = limits
        self._up = up
        self._accepted = accepted
        self._failed = failed
        self._stage = 0
        self._hello_at = self._flight_at = 0.0
        self._rtt = INITIAL_RTT
        self._server_credit = 0
        self._ends: tuple[End, End] | None = None
        self._until_client = agenda.now + limits.handshake_s
        self._until_server = 0.0
        agenda.at(self._until_client, self._give_up)
        self._hello(0)

    def _patience(self, loss: float) -> float:
        """Return until when the client waits, which takes itself for linked, and hears nothing (``Liveness``)."""
        liveness = Liveness(self._limits)
        for awaiting in (False, True):
            liveness.watch(self._agenda.now, awaiting=awaiting, signs=0, delivered=0, backlog=0, loss=loss)
        return liveness.deadline()

    def _sample(self, sent_at: float) -> float:
        """Return a first round trip: what was lost meanwhile does not count, for only what arrives is measured."""
        least = self._forth.quality.delay + self._back.quality.delay
        return min(max(GRANULARITY, self._agenda.now - sent_at), 2 * max(least, GRANULARITY))

    @staticmethod
    def _wait(attempt: int, period: float) -> float:
        return period * (1 << probe_doublings(attempt, period))

    def _send(self, owner: Owner, to: Owner, pipe: Pipe, size: int, arrive: Callable[[Any], None], what: float) -> None:
        size += FRAMING
        owner.sent("handshake", size)
        at = pipe.carry(size, self._agenda.now)
        if at >= 0:
            to.rx_bytes += size
            self._agenda.at(at, arrive, what)

    # --- the client's hello -----------------------------------------------------------------------

    def _hello(self, attempt: int) -> None:
        if self._stage > 0 or not self._client.awake:
            return
        self._send(self._client, self._server, self._forth, PACKET, self._hello_came, self._agenda.now)
        self._agenda.after(self._wait(attempt, 2 * INITIAL_RTT), self._hello, attempt + 1)

    def _hello_came(self, sent_at: float) -> None:
        if not self._server.awake:
            return
        self._hello_at = sent_at
        self._server_credit += AMPLIFICATION
        if self._server_credit == AMPLIFICATION:
            self._until_server = self._agenda.now + self._limits.handshake_s
            self._flight(0)
        elif self._stage == 0:
            self._answer()

    # --- the server's flight -----------------------------------------------------------------------

    def _flight(self, attempt: int) -> None:
        if self._stage > 1 or self._agenda.now >= self._until_server or not self._server.awake:
            return
        self._answer()
        self._agenda.after(self._wait(attempt, 2 * INITIAL_RTT), self._flight, attempt + 1)

    def _answer(self) -> None:
        if self._server_credit <= 0:
            return
        self._server_credit -= 1
        self._send(self._server, self._client, self._back, PACKET, self._flight_came, self._agenda.now)

    def _flight_came(self, sent_at: float) -> None:
        if not self._client.awake or self._stage > 2:
            return
        self._flight_at = sent_at
        if self._stage == 0:
            self._stage = 1
            self._rtt = self._sample(self._hello_at)
            self._ends = self._up(self._rtt)
            self._until_client = self._patience(self._ends[0].recovery.loss)
            self._finish(0)

    # --- the client's certificate ---------------------------------------------------------------------

    def _finish(self, attempt: int) -> None:
        if self._stage > 1 or self._ends is None or not self._ends[0].open or not self._client.awake:
            return
        if self._agenda.now >= self._until_client:
            self._ends[0].close("no answer")
            self._client.end_turn()
            return
        self._send(self._client, self._server, self._forth, FINISH_BYTES, self._finish_came, attempt)
        self._agenda.after(self._wait(attempt, max(LEAST_RETRY, 3 * self._rtt)), self._finish, attempt + 1)

    def _finish_came(self, attempt: int) -> None:
        if self._stage > 1 or self._ends is None or not self._server.awake:
            return
        if self._agenda.now >= self._until_server:
            return
        self._stage = 2
        client, server = self._ends
        server.held = False
        server.recovery.prime(self._sample(self._flight_at), self._agenda.now)
        self._accepted(server)
        if not attempt:
            client.ride(server)
        server.owner.end_turn()
        self._done(0)

    # --- the server's done ------------------------------------------------------------------------------

    def _done(self, attempt: int) -> None:
        if self._stage > 2 or self._ends is None or not self._ends[1].open or not self._server.awake:
            return
        self._send(self._server, self._client, self._back, DONE_BYTES, self._done_came, attempt)
        self._agenda.after(self._wait(attempt, max(LEAST_RETRY, 3 * self._rtt)), self._done, attempt + 1)

    def _done_came(self, attempt: int) -> None:
        if self._stage > 2 or self._ends is None or not self._client.awake:
            return
        self._stage = 3
        self._send(self._client, self._server, self._forth, DONE_ACK_BYTES, lambda _: None, attempt)
        client = self._ends[0]
        client.held = False
        client.flush()

    def _give_up(self, _argument: None) -> None:
        if self._stage == 0:
            self._stage = 9
            self._failed("no answer")
