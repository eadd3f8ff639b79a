"""Communities of real daemons: a mesh of namespaces each, whose first nodes are relays and meet on one more segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mesh import Mesh, line
from node import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from netns import Lab, Namespace, Segment
    from node import Node

UPLINK = "up0"


class Community:
    """A mesh in a line whose nodes ``relays`` (by number) have an uplink as well."""

    def __init__(self, domain: str, mesh: Mesh, relays: Sequence[int], net: int) -> None:
        self.domain = domain
        self.mesh = mesh
        self.addresses = {number: f"10.9.{net}.{number + 1}" for number in relays}

    @property
    def nodes(self) -> list[Node]:
        return self.mesh.nodes

    def uplink(self, number: int = 0) -> Namespace:
        return self.mesh.machines[number]

    def name(self, number: int) -> str:
        """Return a node's user as others write it."""
        return f"{self.mesh.ids[number]}@{self.domain}"

    def status(self, number: int = 0) -> dict[str, Any]:
        found: Any = self.nodes[number].ask("federation.status")
        return {row["domain"]: row for row in found["relays"]}


def section(other: Community, more: str = "") -> str:
    """Return how other domains configure the relays of a community."""
    keys = "".join(f"list key '{other.mesh.ids[number]}'\n" for number in other.addresses)
    places = "".join(f"list address '{address}:7000'\n" for address in other.addresses.values())
    return f"config relay\noption domain '{other.domain}'\n{keys}{places}{more}"


class Federation:
    """Communities ``relays`` (domain: numbers of its relays), each of ``size`` nodes, all knowing each other."""

    def __init__(self, lab: Lab, stack: ExitStack, relays: dict[str, Sequence[int]], size: int = 3) -> None:
        self.net: Segment = lab.segment()
        self.members: list[Community] = []
        for net, (domain, numbers) in enumerate(relays.items()):
            mesh = Mesh(lab, stack, size, line(size), dialled=True)
            community = Community(domain, mesh, numbers, net)
            self.members.append(community)
            for number, address in community.addresses.items():
                self.net.attach(mesh.machines[number], UPLINK, ipv4=f"{address}/16")

    def start(self) -> None:
        """Learn the keys, configure the relays, and start all; return when all relays are connected."""
        for member in self.members:
            member.mesh.start()
        for member in self.members:
            others = "".join(section(other) for other in self.members if other is not member)
            for number in member.addresses:
                node = member.nodes[number]
                path = node.folder / "conf"
                path.write_text(f"config qpq 'main'\noption domain '{member.domain}'\n{others}")
                node.arguments += ["--config", str(path)]
                node.stop()
                node.start(wait=False)
        for member in self.members:
            for number in member.addresses:
                member.nodes[number].wait_ready()
        for member in self.members:
            member.mesh.settle(30.0)
        self.expect_connected()

    def expect_connected(self, within: float = 30.0) -> None:
        """Wait until each relay reaches every other domain."""
        for member in self.members:
            wanted = {other.domain for other in self.members if other is not member}
            for number in member.addresses:
                wait_for(
                    f"{member.domain} reaches all",
                    lambda member=member, number=number, wanted=wanted: (
                        {name for name, row in member.status(number).items() if row["reached"]} >= wanted
                    ),
                    within,
                )
