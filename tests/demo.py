"""`make demo`: three nodes on this machine find each other and exchange messages, narrated.

As root each node lives in a network namespace of its own on one bridge and discovery does
the rest, as in a house; otherwise all three are on loopback and each is told one address.
Exit status 1 when something that is told did not happen; it ends within a minute.

usage: demo.py [--loopback]
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[:0] = [str(Path(__file__).resolve().parent / folder) for folder in ("net", "rigs")]

from netns import Lab, usable  # noqa: E402 (the rigs are no package)
from node import Node, wait_for  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("anna", "bert", "cleo")
FIRST_PORT = 17_000
LIMIT = 60.0  # seconds for everything


@dataclass
class Stage:
    """The narrator: prints each step with the seconds gone, and counts what did not happen."""

    started: float
    missed: int = 0

    def say(self, text: str) -> None:
        """Tell what happens."""
        print(f"{time.monotonic() - self.started:5.1f} s  {text}", flush=True)

    def check(self, text: str, held: bool) -> None:
        """Tell what came of it."""
        self.missed += not held
        self.say(f"{'ok  ' if held else 'MISSED'}  {text}")

    def expect(self, text: str, probe: object, within: float = 20.0) -> None:
        """Wait until ``probe`` holds and tell how it went."""
        left = LIMIT - (time.monotonic() - self.started)
        try:
            wait_for(text, probe, max(0.1, min(within, left)))  # type: ignore[arg-type]
        except TimeoutError:
            self.check(text, held=False)
        else:
            self.check(text, held=True)


def main() -> int:
    """Play the whole piece; return 1 when something was missed."""
    stage = Stage(time.monotonic())
    with ExitStack() as stack:
        nodes = make_nodes(stage, stack, loopback="--loopback" in sys.argv or not usable())
        play(stage, nodes)
        if stage.missed:
            for node in nodes:
                print(f"--- log of {node.name}\n{node.log()[-3000:]}", file=sys.stderr)
    print(f"\n{'everything happened' if not stage.missed else f'{stage.missed} things did not happen'}")
    return int(stage.missed > 0)


def make_nodes(stage: Stage, stack: ExitStack, *, loopback: bool) -> list[Node]:
    """Make three nodes that are not running yet."""
    if not loopback:
        stage.say("three network namespaces on one bridge, as three routers on one cable; nobody knows an address")
        lab = stack.enter_context(Lab())
        cable = lab.segment()
        nodes = []
        for number, name in enumerate(NAMES, 1):
            host = lab.namespace(name)
            cable.attach(host, ipv4=f"10.71.0.{number}/24")
            nodes.append(Node(name, prefix=host.command()))
    else:
        stage.say("three nodes on loopback (as root each would have a network namespace of its own)")
        stage.say("each is told the addresses of those before it, nothing more")
        ports = [FIRST_PORT + os.getpid() % 10_000 * 3 + n for n in range(len(NAMES))]
        nodes = [Node(name, arguments=_loopback(ports, n)) for n, name in enumerate(NAMES)]
    for node in nodes:
        stack.callback(node.close)
    return nodes


def _loopback(ports: list[int], n: int) -> Sequence[str]:
    quiet = ["--listen", f"127.0.0.1:{ports[n]}", "--no-mdns", "--no-beacon"]
    peers = ports[:n]
    return [*quiet, *(word for port in peers for word in ("--peer", f"127.0.0.1:{port}"))]


def play(stage: Stage, nodes: list[Node]) -> None:
    """Find, talk, leave, come back."""
    anna, bert, cleo = nodes
    for node in nodes:
        node.start(wait=False)
    for node in nodes:
        node.wait_ready()
    ids = {node.name: node.identity() for node in nodes}
    for node in nodes:
        stage.say(f"{node.name} is up; its id is {ids[node.name]}")
    for node in nodes:
        others = {identity for name, identity in ids.items() if name != node.name}
        stage.expect(f"{node.name} has a link to both others", lambda node=node, others=others: others <= node.linked())
    for row in anna.peers():
        name = next((name for name, identity in ids.items() if identity == row["id"]), "somebody")
        stage.say(f"      anna sees {name} at {row.get('address')}, found by {row.get('via')}")

    talk(stage, anna, bert, ids["bert"], "Moin Bert, steht die Antenne?")
    talk(stage, bert, anna, ids["anna"], "Steht, 54 Mbit bis zum Kirchturm.")
    talk(stage, cleo, anna, ids["anna"], "Kaffee ist fertig.")
    talk(stage, anna, anna, ids["anna"], "Note to myself: bring cables.")

    stage.say("cleo leaves (SIGTERM)")
    stage.check("cleo stopped cleanly", cleo.stop() == 0)
    stage.expect("bert noticed that cleo is gone", lambda: ids["cleo"] not in bert.linked())
    message = bert.send(ids["cleo"], "Cleo, bist du wieder da?")
    stage.check("bert's message to cleo waits: queued", bert.state(message) == "queued")
    stage.say("cleo comes back")
    cleo.start()
    stage.check("cleo has kept its id", cleo.identity() == ids["cleo"])
    stage.expect("the message that waited is delivered", lambda: bert.state(message) == "delivered", within=25)
    stage.check("cleo has it, once", cleo.texts() == ["Cleo, bist du wieder da?"])

    for node in nodes:
        stage.check(f"{node.name} stops cleanly", node.stop() == 0)


def talk(stage: Stage, sender: Node, recipient: Node, identity: str, text: str) -> None:
    """Send one message and wait for its receipt."""
    stage.say(f"{sender.name} -> {recipient.name}: {text}")
    message = sender.send(identity, text)
    stage.expect(f"{recipient.name}'s receipt is back: delivered", lambda: sender.state(message) == "delivered")
    stage.check(f"{recipient.name} can read it", text in recipient.texts())


if __name__ == "__main__":
    sys.exit(main())
