"""A mesh of real daemons: one network namespace each, joined by cables that lose and delay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node import Node, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import ExitStack

    from netns import Cables, Lab, Namespace

Edge = tuple[int, int]


def line(count: int) -> list[Edge]:
    """Return the edges of nodes in a row."""
    return [(n, n + 1) for n in range(count - 1)]


def grid(side: int) -> list[Edge]:
    """Return the edges of a square of ``side`` times ``side`` nodes."""
    across = [(row * side + n, row * side + n + 1) for row in range(side) for n in range(side - 1)]
    return across + [(n, n + side) for n in range(side * (side - 1))]


class Mesh:
    """Nodes 0 to ``count`` - 1 and the cables ``edges`` between them; everything ends with ``stack`` and ``lab``.

    ``programs`` gives some nodes a built binary in place of this tree. Nodes find each other by beacons and choose
    their neighbours; with ``dialled`` the first end of each cable dials the other instead, so that each is a link.
    """

    def __init__(
        self,
        lab: Lab,
        stack: ExitStack,
        count: int,
        edges: Sequence[Edge],
        *,
        loss: float | Sequence[object] = 0.0,
        delay_ms: float = 0.0,
        seed: int = 1,
        programs: dict[int, list[str]] | None = None,
        environments: dict[int, dict[str, str]] | None = None,
        dialled: bool = False,
    ) -> None:
        self.edges = list(edges)
        self.machines: list[Namespace] = [lab.namespace(f"n{n}") for n in range(count)]
        pairs = [(self.machines[a], self.machines[b]) for a, b in edges]
        self.cables: Cables = lab.cables(pairs, loss=loss, delay_ms=delay_ms, seed=seed)
        self.nodes: list[Node] = []
        for n, machine in enumerate(self.machines):
            interfaces = [name for ends in self.cables.ends for owner, name in ends if owner is machine]
            arguments = [word for name in interfaces for word in ("--mesh-interface", name)]
            node = Node(
                f"node{n}",
                prefix=machine.command(),
                arguments=["--no-mdns", "--no-group", *arguments],
                environment=(environments or {}).get(n),
            )
            node.program = (programs or {}).get(n, [])
            stack.callback(node.close)
            self.nodes.append(node)
        self.ids: list[str] = []
        if dialled:
            self._dial_each_other()

    def _dial_each_other(self) -> None:
        for node in self.nodes:
            node.arguments.append("--no-beacon")
        for (a, _), ((_, here), (machine, there)) in zip(self.edges, self.cables.ends, strict=True):
            self.nodes[a].arguments += ["--peer", f"[{machine.link_local(there)}%{here}]:7000"]

    def start(self) -> None:
        """Start all nodes that do not run and wait until each answers."""
        for node in self.nodes:
            if not node.running:
                node.start(wait=False)
        for node in self.nodes:
            node.wait_ready()
        self.ids = [node.identity() for node in self.nodes]

    def settle(self, within: float) -> None:
        """Wait until every cable that is up has become a link on both ends."""
        for a, b in self.edges:
            self.expect_link(a, b, within)

    def expect_link(self, a: int, b: int, within: float) -> None:
        for one, other in ((a, b), (b, a)):
            wait_for(
                f"node {one} has a link to {other}",
                lambda one=one, other=other: self.ids[other] in self.nodes[one].linked(),  # type: ignore[misc]
                within,
            )

    def cut(self, *edges: Edge) -> None:
        """Let nothing more pass these cables."""
        for edge in edges:
            self.cables.change(self.edges.index(edge), up=False)

    def heal(self, *edges: Edge) -> None:
        for edge in edges:
            self.cables.change(self.edges.index(edge), up=True)

    def expect_states(self, sender: int, messages: Iterable[str], state: str, within: float) -> None:
        node = self.nodes[sender]
        for message in messages:
            wait_for(f"{node.name}'s message is {state}", lambda m=message: node.state(m) == state, within)  # type: ignore[misc]

    def broadcast(self, sender: int, topic: str, text: str) -> None:
        self.nodes[sender].ask("mesh.broadcast", topic=topic, text=text)

    def subscribe(self, topic: str, **options: object) -> None:
        """Let the first user of every node read a channel."""
        for node in self.nodes:
            node.ask("mesh.subscribe", topic=topic, **options)
