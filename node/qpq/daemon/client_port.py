"""The client port of a running node: the home room on the node's UDP port, its inboxes in the node's store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from qpq.daemon import metrics
from qpq.daemon.client_accounts import AccountFile
from qpq.daemon.client_queues import ClientQueues
from qpq.daemon.histogram import Histograms
from qpq.home.home import Home
from qpq.home.limits import HomeLimits
from qpq.link.certificates import make_certificate, sole_identity
from qpq.link.ports import Credentials
from qpq.link.streams import Service

if TYPE_CHECKING:
    from qpq.daemon.node import Node

ALPN: Final = "capnp"
EXPIRE_S: Final = 600.0
"""How often expired messages are deleted; nobody gets them meanwhile."""
MAX_CONNECTIONS: Final = 256
LEAST_A_SOURCE: Final = 8
_ROOM_PART = 4
"""Clients' inboxes may take this part of the store."""
_SOURCE_PART = 4


class ClientPort:
    """Serves clients from its making until ``stop``."""

    def __init__(self, node: Node) -> None:
        """Begin; raises AccountFileError, StoreError."""
        self._node = node
        self._expired = 0
        self.file = AccountFile(node.config.data_dir)
        room = node.store.max_bytes // _ROOM_PART
        note = node.saver.keeper.note if node.saver is not None else None
        self.queues = ClientQueues(node.store, room, lambda: int(node.core.life(node.now())), note)
        own = node.keyring.node
        self._histograms = Histograms("Time to answer a call of a client.")
        limits, observe = HomeLimits.sized(room), self._histograms.observe
        self.home = Home(own, self.file.accounts, self.queues, self._stamp, limits, observe=observe)
        shown = Credentials((make_certificate(own),), own.seed)
        most = min(MAX_CONNECTIONS, node.limits.max_links)
        node.links.serve(
            Service(
                ALPN,
                lambda: shown,
                sole_identity,
                self.home.visit,
                mutual=False,
                connections=most,
                connections_a_source=max(LEAST_A_SOURCE, most // _SOURCE_PART),
            )
        )
        self._expire()

    async def stop(self, seconds: float) -> None:
        """Let calls end, and end all connections."""
        await self.home.stop(seconds)

    @property
    def counters(self) -> dict[str, int]:
        """What happened, by name."""
        return {**self.home.counters, "home.expired": self._expired}

    def gauges(self) -> list[metrics.Series]:
        """Return what there is, for the metrics."""
        counts = self.queues.counts()
        return [
            metrics.Series("home_clients", "Connections of clients that are open.", self.home.connections),
            metrics.Series("home_messages", "Messages that wait in clients' inboxes.", counts.messages),
            metrics.Series("home_bytes", "Bytes that wait in clients' inboxes.", counts.size),
        ]

    def latencies(self) -> str:
        """Return the latencies as Prometheus text."""
        return self._histograms.render()

    def _stamp(self) -> int:
        return int(time.time()) if self._node.clock_document().get("trusted") else 0

    def _expire(self) -> None:
        self._expired += self.queues.forget()
        self._node.later("clients", EXPIRE_S, self._expire)
