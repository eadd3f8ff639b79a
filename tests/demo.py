"""`make demo`: nodes on this machine find each other and exchange messages, narrated, in three acts.

First three on one cable; then three in a line, whose ends know nothing of each other; then two communities,
joined by a relay each. As root each node lives in a network namespace of its own and discovery does the
rest, as in a house; otherwise all are on loopback and are told one another's addresses.
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
from node import Node, free_ports, wait_for  # noqa: E402

from qpq.errors import QpqError  # noqa: E402 (node.py knows where it is)

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("anna", "bert", "cleo")
LINE = ("dora", "emil", "frieda")
VILLAGES = ("gina", "hans", "ida")
AUE, BACH = "aue.example", "bach.example"
TOPIC = "dorfplatz"
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
    loopback = "--loopback" in sys.argv or not usable()
    for make, act in ((make_nodes, play), (make_line, play_line), (make_villages, play_villages)):
        with ExitStack() as stack:
            nodes = make(stage, stack, loopback=loopback)
            act(stage, nodes)
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


def make_line(stage: Stage, stack: ExitStack, *, loopback: bool) -> list[Node]:
    """Make three nodes in a line, not running yet: the middle one is on both cables."""
    dora, emil, frieda = LINE
    if not loopback:
        stage.say("three more nodes, two cables: emil is on both, dora and frieda on one each")
        lab = stack.enter_context(Lab())
        hosts = {name: lab.namespace(name) for name in LINE}
        for number, end in enumerate((dora, frieda), 1):
            cable = lab.segment()
            cable.attach(hosts[end], ipv4=f"10.72.{number}.1/24")
            cable.attach(hosts[emil], f"eth{number}", ipv4=f"10.72.{number}.2/24")
        nodes = [Node(name, prefix=hosts[name].command()) for name in LINE]
    else:
        stage.say("three more nodes: emil is told of dora and frieda, these of nobody")
        ports = [FIRST_PORT + os.getpid() % 10_000 * 3 + n for n in range(len(LINE))]
        quiet = [["--listen", f"127.0.0.1:{port}", "--no-mdns", "--no-beacon"] for port in ports]
        quiet[1] += [word for end in (0, 2) for word in ("--peer", f"127.0.0.1:{ports[end]}")]
        nodes = [Node(name, arguments=quiet[n]) for n, name in enumerate(LINE)]
    for node in nodes:
        stack.callback(node.close)
    return nodes


def make_villages(stage: Stage, stack: ExitStack, *, loopback: bool) -> list[Node]:
    """Make two communities, not running yet: the relays gina and ida, and hans who has a link to gina only."""
    gina, hans, ida = VILLAGES
    if not loopback:
        stage.say("two villages: hans and gina on one cable, ida far away; gina and ida have an uplink")
        lab = stack.enter_context(Lab())
        hosts = {name: lab.namespace(name) for name in VILLAGES}
        cable, uplink = lab.segment(), lab.segment()
        for number, name in enumerate((gina, hans), 1):
            cable.attach(hosts[name], ipv4=f"10.73.0.{number}/24")
        for number, name in enumerate((gina, ida), 1):
            uplink.attach(hosts[name], "wan", ipv4=f"10.74.0.{number}/24")
        addresses = {gina: "10.74.0.1:7000", ida: "10.74.0.2:7000"}
        nodes = [Node(name, prefix=hosts[name].command(), arguments=("--mesh-interface", "eth0")) for name in VILLAGES]
    else:
        stage.say("two villages: hans is told of gina, nobody of ida; gina and ida are relays")
        ports = dict(zip(VILLAGES, free_ports(len(VILLAGES)), strict=True))
        addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        quiet = ("--no-mdns", "--no-beacon")
        nodes = [Node(name, arguments=("--listen", addresses[name], *quiet)) for name in VILLAGES]
        nodes[1].arguments += ["--peer", addresses[gina]]
    for node in nodes:
        stack.callback(node.close)
    for node, domain in ((nodes[0], AUE), (nodes[2], BACH)):
        node.arguments += ["--config", str(node.folder / "conf")]
        _configure(node, domain)
    keys = {}
    for node in (nodes[0], nodes[2]):
        node.start()
        keys[node.name] = node.identity()
        node.stop()
    _configure(nodes[0], AUE, BACH, keys[ida], addresses[ida])
    _configure(nodes[2], BACH, AUE, keys[gina], addresses[gina])
    return nodes


def _configure(node: Node, domain: str, *other: str) -> None:
    """Write the configuration of a relay: its domain, and the other's domain, key and address."""
    text = f"config qpq 'main'\n\toption domain '{domain}'\n"
    if other:
        text += "config relay\n\toption domain '{}'\n\tlist key '{}'\n\tlist address '{}'\n".format(*other)
    (node.folder / "conf").write_text(text)


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


def play_line(stage: Stage, nodes: list[Node]) -> None:
    """Reach who is not linked, all at once, and who is not there."""
    dora, emil, frieda = nodes
    for node in nodes:
        node.start(wait=False)
    for node in nodes:
        node.wait_ready()
    target = user(frieda)
    stage.expect("emil has a link to both ends", lambda: len(emil.linked()) == len(nodes) - 1)
    stage.expect("dora has heard of frieda, two links away", lambda: hops(dora, target) == len(nodes) - 1)
    stage.check("dora has no link to frieda", frieda.identity() not in dora.linked())
    talk(stage, dora, frieda, target, "Frieda, hörst du mich über Emil?")

    for node in nodes:
        node.ask("mesh.subscribe", topic=TOPIC)
    stage.say(f"all three read the open channel #{TOPIC}; dora says something to all")
    dora.ask("mesh.broadcast", topic=TOPIC, text="Heute Abend grillen wir.")
    for node in (emil, frieda):
        stage.expect(f"{node.name} reads it in #{TOPIC}", lambda node=node: TOPIC in channels(node))

    stage.say("frieda leaves; dora writes to her and leaves too")
    stage.check("frieda stopped cleanly", frieda.stop() == 0)
    stage.expect("emil noticed that frieda is gone", lambda: len(emil.linked()) == 1)
    message = dora.send(target, "Bring Kohle mit.")
    stage.expect("emil has taken the message: relayed", lambda: dora.state(message) == "relayed")
    stage.check("dora stopped cleanly", dora.stop() == 0)
    frieda.start()
    stage.expect("frieda is back and has it, though dora is off", lambda: "Bring Kohle mit." in frieda.texts())
    dora.start()
    stage.expect("dora is back and learns that it is delivered", lambda: dora.state(message) == "delivered")
    stage.check("frieda has it, once", frieda.texts().count("Bring Kohle mit.") == 1)
    for node in nodes:
        stage.check(f"{node.name} stops cleanly", node.stop() == 0)


def play_villages(stage: Stage, nodes: list[Node]) -> None:
    """Write to somebody of another community, and hear from there."""
    gina, hans, ida = nodes
    for node in nodes:
        node.start(wait=False)
    for node in nodes:
        node.wait_ready()
    stage.expect("hans has a link to gina", lambda: gina.identity() in hans.linked())
    stage.expect(f"the relays of {AUE} and {BACH} have found each other", lambda: reached(gina) and reached(ida))
    stage.check("ida is no neighbour of gina", ida.identity() not in gina.linked())
    ida.ask("mesh.user.add", name="ida")
    talk(stage, hans, ida, f"ida@{BACH}", "Habt ihr morgen Sitzung?", who=("", "ida"))
    talk(stage, ida, hans, f"{user(hans)}@{AUE}", "Um acht im Gemeindehaus.", who=("ida", ""))
    for node in nodes:
        stage.check(f"{node.name} stops cleanly", node.stop() == 0)


def reached(relay: Node) -> bool:
    """Whether a relay is connected to all other domains it knows."""
    found = relay.ask("federation.status")
    return all(row["reached"] for row in found["relays"])  # type: ignore[index]


def user(node: Node) -> str:
    """Return the id of a node's first user."""
    return str(node.ask("mesh.identity")["users"][0]["id"])  # type: ignore[index]


def hops(node: Node, target: str) -> int:
    """Return how many links away somebody is; 0: not to be reached now."""
    try:
        return int(node.ask("mesh.trace", peer=target)["hops"])  # type: ignore[index]
    except QpqError:
        return 0


def channels(node: Node) -> set[str]:
    """Return the topics of the messages in an inbox."""
    return {str(row.get("channel")) for row in node.inbox()}


def talk(
    stage: Stage, sender: Node, recipient: Node, identity: str, text: str, who: tuple[str, str] = ("", "")
) -> None:
    """Send one message and wait for its receipt; ``who``: users of the two nodes that have several."""
    writer, reader = who
    stage.say(f"{sender.name} -> {recipient.name}: {text}")
    message = sender.send(identity, text, writer)
    stage.expect(f"{recipient.name}'s receipt is back: delivered", lambda: sender.state(message, writer) == "delivered")
    stage.check(f"{recipient.name} can read it", text in recipient.texts(reader))


if __name__ == "__main__":
    sys.exit(main())
