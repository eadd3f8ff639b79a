"""The interfaces that are spoken over Cap'n Proto RPC: ids and ordinals of those in schemas/.

The ids of the interfaces follow from the files' ids and the names; a test compares them with what ``capnp`` computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of a schema file: ``methods`` are the names in the order of their ordinals."""

    number: int
    name: str
    file: str
    methods: tuple[str, ...]

    def method(self, name: str) -> Method:
        """Return a method by name; raises ValueError when there is none."""
        return Method(self, self.methods.index(name), name)


@dataclass(frozen=True, slots=True)
class Method:
    """One method of an interface."""

    interface: Interface
    ordinal: int
    name: str

    def __str__(self) -> str:
        """Return both names."""
        return f"{self.interface.name}.{self.name}"


FEDERATION_SERVICE: Final = Interface(
    0xD1787178A9417C82,
    "FederationService",
    "federation.capnp",
    (
        "relayEnqueue",
        "relayBatchEnqueue",
        "proxyFetchKeyPackage",
        "proxyFetchHybridKey",
        "proxyResolveUser",
        "federationHealth",
    ),
)

NODE_SERVICE: Final = Interface(
    0xD0C8A4CD19599E78,
    "NodeService",
    "node.capnp",
    (
        "uploadKeyPackage",
        "fetchKeyPackage",
        "enqueue",
        "fetch",
        "fetchWait",
        "health",
        "uploadHybridKey",
        "fetchHybridKey",
        "opaqueRegisterStart",
        "opaqueRegisterFinish",
        "opaqueLoginStart",
        "opaqueLoginFinish",
        "publishEndpoint",
        "resolveEndpoint",
        "peek",
        "ack",
        "fetchHybridKeys",
        "batchEnqueue",
        "createChannel",
        "resolveUser",
        "resolveIdentity",
        "uploadBlob",
        "downloadBlob",
        "deleteAccount",
    ),
)
