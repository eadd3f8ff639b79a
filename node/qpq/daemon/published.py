"""What a node writes for other programs of its machine: metrics, and a router's numbers for the network map."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

from qpq import __version__
from qpq.daemon import places

if TYPE_CHECKING:
    from qpq.daemon.node import Node

MAP_NAME = "respondd.json"
MAP_FIRST_SECONDS = 10.0
MAP_SECONDS = 300.0
"""How often the file for the map is written; respondd.c does not believe one of more than 15 minutes."""


class Published:
    """The two files, both in RAM. ``root`` is put before the system's paths, for tests."""

    def __init__(self, node: Node, root: str = "") -> None:
        self._node = node
        directory = places.runtime(root)
        self._map = f"{directory}/{MAP_NAME}" if directory else ""
        self._failures: dict[str, str] = {}

    def begin(self) -> None:
        """Write what is wanted from now on; a node waits a little before it counts its neighbours for the map."""
        self.metrics()
        if self._map:
            self._node.later("map", MAP_FIRST_SECONDS, self.map)

    def end(self) -> None:
        """Take the node off the map."""
        if self._map:
            with contextlib.suppress(OSError):
                os.unlink(self._map)

    def metrics(self) -> None:
        """Write the metrics file, now and every ``metrics_interval``, where the configuration names one."""
        config = self._node.config
        if config.metrics_file:
            self._write(config.metrics_file, self._node.handlers.metrics_text())
            self._node.later("metrics", float(config.metrics_interval), self.metrics)

    def map(self) -> None:
        """Write what Gluon's respondd tells everybody: nothing of users, not even how many messages they wait for."""
        node = self._node
        store = node.settled().counts()
        numbers = {
            "version": __version__,
            "peers": len(node.links.links()),
            "relayed": store.relayed,
            "relayed_bytes": store.relayed_bytes,
        }
        self._write(self._map, json.dumps(numbers) + "\n")
        node.later("map", MAP_SECONDS, self.map)

    def _write(self, path: str, text: str) -> None:
        from qpq.daemon import metrics  # noqa: PLC0415 (for who wants a file)

        failure = ""
        try:
            metrics.write(path, text)
        except metrics.MetricsError as error:
            failure = str(error)
            if failure != self._failures.get(path):  # once: the log of a router is a small ring
                self._node.log.warning("%s", error)
        self._failures[path] = failure
