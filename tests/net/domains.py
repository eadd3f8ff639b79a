"""Communities of real daemons: a mesh of namespaces each, whose first nodes are relays and meet on one more segment."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

from mesh import Mesh, line
from node import wait_for

from qpq.crypto.identity import Identity, SecretIdentity, parse_id
from qpq.federation.authority import issue, make_authority, to_pem
from qpq.federation.x509 import read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from netns import Cables, Lab, Segment
    from node import Node

UPLINK = "up"
DAY = 86_400
SOON = 40.0
"""Seconds; nothing here takes so long where the machine has nothing else to do."""


class Authority:
    """Vouches for the domains of keys, whether that is true or not; times are days from now."""

    def __init__(self, seed: bytes) -> None:
        self._secret = SecretIdentity(seed.ljust(32, b"."))
        serial, dates = bytes(16), (_day(-400), _day(4000))
        self.root = make_authority(
            self._secret, "the communities", serial=serial, not_before=dates[0], not_after=dates[1]
        )

    def certificate(self, domain: str, key: Identity, first: int = -1, last: int = 60) -> bytes:
        dates = {"not_before": _day(first), "not_after": _day(last)}
        return issue(read(self.root), self._secret, domain, key, serial=bytes(16), **dates)


def pem(certificate: bytes) -> str:
    """Return a certificate as it stands in a file."""
    return to_pem("CERTIFICATE", certificate)


class Community:
    """A mesh in a line whose nodes ``relays`` (by number) have an uplink as well."""

    def __init__(self, domain: str, mesh: Mesh, relays: Sequence[int], net: int) -> None:
        self.domain = domain
        self.mesh = mesh
        self.addresses = {number: f"10.9.{net}.{number + 1}" for number in relays}

    @property
    def nodes(self) -> list[Node]:
        return self.mesh.nodes

    @property
    def relay(self) -> Node:
        """The first relay."""
        return self.nodes[min(self.addresses)]

    def key(self, number: int = 0) -> Identity:
        """Return the key by which a relay is known."""
        return Identity(parse_id(self.mesh.ids[number]))

    def name(self, number: int) -> str:
        """Return a node's user as others write it."""
        return f"{self.mesh.ids[number]}@{self.domain}"

    def status(self, number: int = 0) -> dict[str, Any]:
        found: Any = self.nodes[number].ask("federation.status")
        return {row["domain"]: row for row in found["relays"]}

    def reaches(self, domain: str, number: int = 0) -> bool:
        """Whether a relay has a connection that leads to a domain."""
        return bool(self.status(number).get(domain, {}).get("reached"))


def section(other: Community, more: str = "", *, pinned: bool = True) -> str:
    """Return how other domains configure the relays of a community."""
    keys = "".join(f"list key '{other.mesh.ids[number]}'\n" for number in other.addresses) if pinned else ""
    places = "".join(f"list address '{address}:7000'\n" for address in other.addresses.values())
    return f"config relay\noption domain '{other.domain}'\n{keys}{places}{more}"


class Federation:
    """Communities ``relays`` (domain: numbers of its relays), each of ``size`` nodes, all knowing each other.

    The relays' uplinks are cables to one switch, so that each can be cut, slow, and lossy.
    """

    def __init__(self, lab: Lab, stack: ExitStack, relays: dict[str, Sequence[int]], size: int = 3) -> None:
        self.net: Segment = lab.segment()
        self.members: list[Community] = []
        self._ends: list[tuple[Community, int]] = []
        for net, (domain, numbers) in enumerate(relays.items()):
            mesh = Mesh(lab, stack, size, line(size), dialled=True)
            community = Community(domain, mesh, numbers, net)
            self.members.append(community)
            self._ends += [(community, number) for number in numbers]
        pairs = [(self.net.switch, member.mesh.machines[number]) for member, number in self._ends]
        self._cables: Cables = lab.cables(pairs, loss=0.0, delay_ms=0.0, name=UPLINK)
        for ((_, port), (machine, interface)), (member, number) in zip(self._cables.ends, self._ends, strict=True):
            self.net.switch.ip("link", "set", port, "master", "br0")
            machine.ip("address", "add", f"{member.addresses[number]}/16", "dev", interface)

    def uplink(self, member: Community, number: int = 0, **values: object) -> None:
        """Change a relay's uplink: ``up``, ``loss`` (0 to 1), ``delay_ms``."""
        self._cables.change(self._ends.index((member, number)), **values)

    def configure(self, member: Community, number: int = 0) -> Path:
        """Write the configuration of a relay and return where it is."""
        path = member.nodes[number].folder / "conf"
        path.write_text(self.text(member, number))
        return path

    def text(self, member: Community, _number: int) -> str:
        """Return the configuration of a relay: all others, each with the keys of its relays."""
        return f"config qpq 'main'\noption domain '{member.domain}'\n{self.sections(member)}"

    def sections(self, member: Community) -> str:
        """Return the relays of the others."""
        return "".join(section(other) for other in self.others(member))

    def others(self, member: Community) -> list[Community]:
        """Return all others, beginning with the next."""
        at = self.members.index(member)
        return [*self.members[at + 1 :], *self.members[:at]]

    def start(self) -> None:
        """Learn the keys, configure the relays, and start all; return when all relays are connected."""
        for member in self.members:
            for node in member.nodes:
                node.start(wait=False)
        for member in self.members:
            member.mesh.start()
        for member, number in self._ends:
            node = member.nodes[number]
            node.arguments += ["--config", str(self.configure(member, number))]
            node.stop()
            node.start(wait=False)
        for member, number in self._ends:
            member.nodes[number].wait_ready()
        for member in self.members:
            member.mesh.settle(30.0)
        self.expect_connected()

    def expect_connected(self, within: float = 30.0) -> None:
        """Wait until each relay reaches every other domain."""
        for member, number in self._ends:
            for other in self.others(member):
                wait_for(
                    f"{member.domain} reaches {other.domain}",
                    lambda member=member, number=number, other=other: member.reaches(other.domain, number),
                    within,
                )


def states(node: Node, user: str = "") -> dict[str, str]:
    rows: Any = node.ask("mesh.outbox", user)
    return {row["id"]: row["state"] for row in rows}


def delivered(node: Node, messages: list[str], within: float = SOON, user: str = "") -> float:
    """Wait until all are delivered; return how long that took."""
    began = time.monotonic()

    def all_delivered() -> bool:
        known = states(node, user)
        return all(known[message] == "delivered" for message in messages)

    wait_for(f"all of {len(messages)} are delivered", all_delivered, within)
    return time.monotonic() - began


def crosses(here: Community, there: Community, text: str, within: float = SOON) -> float:
    """Send from one mesh's last node to the other's, and return how long until the receipt is back."""
    took = delivered(here.nodes[2], [here.nodes[2].send(there.name(2), text)], within)
    assert text in there.nodes[2].texts()
    return took


def reloaded(node: Node) -> None:
    before = node.log().count("info: reloaded")
    os.kill(node.pid, signal.SIGHUP)
    wait_for("it has reloaded", lambda: node.log().count("info: reloaded") > before)


def _day(days: int) -> int:
    """Return a moment so many days from now, read YYYYMMDDhhmmss."""
    return int(time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() + days * DAY)))
