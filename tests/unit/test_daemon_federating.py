"""Two real daemons of two domains on this machine: configured, connected, reloaded, drained; and nodes of none."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
from node import NODE_SOURCE, Node, wait_for

from qpq.console.errors import RefusedError
from qpq.daemon.main import authority
from qpq.daemon.node import Node as DaemonNode
from qpq.daemon.options import Config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B = "aachen.example", "berlin.example"
QUIET = ("--no-mdns", "--no-beacon", "--no-group")


class Relay(Node):
    """A node with a configuration file of its own."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(name)
        self.port = port
        self.file = self.folder / "conf"
        self.arguments = [*QUIET, "--listen", f"127.0.0.1:{port}", "--config", str(self.file)]
        self.configure("")

    def configure(self, text: str) -> None:
        self.file.write_text(f"config qpq 'main'\n{text}")

    def hang_up(self, said: str) -> None:
        assert self.process is not None
        before = self.log().count(said)
        self.process.send_signal(signal.SIGHUP)
        wait_for(f"{self.name} says {said}", lambda: self.log().count(said) > before)

    def relays(self) -> dict[str, Any]:
        status: Any = self.ask("federation.status")
        return {row["domain"]: row for row in status["relays"]}

    def reaches(self, domain: str) -> bool:
        return bool(self.relays().get(domain, {}).get("reached"))


def section(domain: str, key: str = "", port: int = 0, more: str = "") -> str:
    key = f"list key '{key}'\n" if key else ""
    address = f"list address '127.0.0.1:{port}'\n" if port else ""
    return f"config relay\noption domain '{domain}'\n{key}{address}{more}"


@contextmanager
def two(first: int) -> Iterator[tuple[Relay, Relay]]:
    with ExitStack() as stack:
        relays = Relay("aachen", first), Relay("berlin", first + 1)
        for relay in relays:
            stack.callback(relay.close)
            relay.start()
        yield relays


def federated(aachen: Relay, berlin: Relay) -> None:
    keys = aachen.identity(), berlin.identity()
    aachen.stop()
    berlin.stop()
    topic = "list topic 'rheinland'\n"
    berlin.configure(f"option domain '{B}'\n" + section(A, keys[0], more=topic))
    aachen.configure(f"option domain '{A}'\n" + section(B, keys[1], berlin.port, topic))
    berlin.start()
    aachen.start()
    wait_for("they are connected", lambda: aachen.reaches(B) and berlin.reaches(A))


def share_a_topic(aachen: Relay, berlin: Relay) -> None:
    assert aachen.relays()[B]["topics"] == ["rheinland"]
    for relay in (aachen, berlin):
        relay.ask("mesh.subscribe", topic="rheinland")
        relay.ask("mesh.subscribe", topic="kitchen")
    for topic in ("kitchen", "rheinland"):
        aachen.ask("mesh.broadcast", topic=topic, text=f"about {topic}")
    wait_for("the broadcast has crossed", lambda: berlin.texts() == ["about rheinland"])
    berlin.ask("mesh.broadcast", topic="rheinland", text="and back")
    wait_for("the answer has crossed", lambda: aachen.texts() == ["and back"])
    shares: Any = berlin.ask("mesh.store")
    assert {row.get("name") for row in shares["by_link"]} == {"another domain", None}


def find_by_name(aachen: Relay, berlin: Relay) -> None:
    users: Any = berlin.ask("mesh.user.list")
    with pytest.raises(RefusedError, match=f"nobody is called bernd in {B}"):
        aachen.send(f"bernd@{B}", "hello")
    berlin.ask("federation.name.add", name="bernd", key=users["users"][0]["id"])
    message = aachen.send(f"bernd@{B}", "hello bernd")
    wait_for("bernd has it", lambda: aachen.state(message) == "delivered")
    assert berlin.texts()[-1] == "hello bernd"


def test_two_relays_connect_and_say_so_and_a_reload_keeps_or_ends_it() -> None:
    with two(7310) as (aachen, berlin):
        assert aachen.ask("federation.status") == {"domain": None, "relays": []}
        federated(aachen, berlin)
        status: Any = aachen.ask("federation.status")
        assert (status["domain"], status["key"], status["draining"]) == (A, aachen.identity(), False)
        metrics: Any = berlin.ask("metrics")
        assert "\nqpq_federation_connections 1\n" in metrics["text"]
        share_a_topic(aachen, berlin)
        find_by_name(aachen, berlin)
        berlin.hang_up("info: reloaded")
        assert berlin.relays()[A]["connections"] == 1
        berlin.configure(f"option domain '{B}'\n" + section("chemnitz.example", aachen.identity()))
        berlin.hang_up("info: reloaded")
        wait_for("nobody is connected", lambda: not aachen.reaches(B))
        berlin.configure(f"option domain '{B}'\n" + section(A))
        berlin.hang_up("not reloaded")
        assert "write list key" in berlin.log()
        assert berlin.stop() == 0
        assert aachen.stop() == 0
        assert "Traceback" not in aachen.log() + berlin.log()


def test_certificates_of_an_authority_are_exchanged_while_all_runs(tmp_path: Path) -> None:
    with two(7320) as (aachen, berlin):
        ca = str(tmp_path / "ca")
        authority("init", {"dir": ca, "name": "all"}, 0)
        keys = {A: aachen.identity(), B: berlin.identity()}
        for domain, key in keys.items():
            authority("issue", {"dir": ca, "domain": domain, "id": key}, 20)
        for relay, domain, other in ((aachen, A, section(B, "", berlin.port)), (berlin, B, "")):
            relay.stop()
            files = f"option federation_ca '{ca}/ca.pem'\noption federation_certificate '{ca}/{domain}.pem'\n"
            relay.configure(f"option domain '{domain}'\noption clock_trusted 'yes'\n{files}{other}")
            relay.start()
        wait_for("they are connected", lambda: aachen.reaches(B) and berlin.reaches(A))
        status: Any = aachen.ask("federation.status")
        assert status["certificate_days"] == 20
        assert "expires in 20 days" in aachen.log()
        authority("renew", {"dir": ca, "domain": A}, 80)
        aachen.hang_up("info: reloaded")
        status = aachen.ask("federation.status")
        assert status["certificate_days"] == 80
        assert aachen.relays()[B]["connections"] == 1
        metrics: Any = aachen.ask("metrics")
        assert "\nqpq_federation_certificate_days 80\n" in metrics["text"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("option federation_ca '/nowhere'\noption domain 'a.example'\n", "cannot be read"),
        (section(B, "a" * 52), "need option domain"),
        (f"option domain '{A}'\noption production '1'\noption log_level 'debug'\n{section(B, 'a' * 52)}", "debug"),
    ],
)
def test_what_does_not_fit_together_does_not_start(text: str, words: str) -> None:
    relay = Relay("wrong", 7330)
    try:
        relay.configure(text)
        relay.start(wait=False)
        assert relay.process is not None
        assert relay.process.wait(20) == 1
        assert words in relay.log()
        assert "Traceback" not in relay.log()
    finally:
        relay.close()


def test_clients_and_other_domains_share_the_time_that_a_stop_may_take() -> None:
    class Busy:
        async def stop(self, seconds: float) -> None:
            await asyncio.sleep(seconds)

        drain = stop

    async def life() -> float:
        node = DaemonNode(Config(drain_timeout=1), logging.getLogger())
        node.client_port = node.federation = cast("Any", Busy())
        loop = asyncio.get_running_loop()
        began = loop.time()
        await node.drain()
        return loop.time() - began

    assert 1 <= asyncio.run(life()) < 2


def test_a_node_of_no_domain_loads_none_of_it() -> None:
    code = (
        "import sys, asyncio, logging; from qpq.daemon.node import Node; from qpq.daemon.options import Config\n"
        "async def life():\n"
        "    loop = asyncio.get_running_loop()\n"
        "    node = Node(Config(data_dir=sys.argv[1], socket=sys.argv[1] + '/s', listen='127.0.0.1:0',"
        " mdns=False, beacon=False, group=False), logging.getLogger())\n"
        "    await node.start(); await node.reload(node.config); node.handlers.metrics_text()\n"
        "    await node.drain(); await node.stop(loop.time() + 5)\n"
        "asyncio.run(life())\n"
        "print(*[name for name in sys.modules if name.startswith(('qpq.federation', 'qpq.rpc', 'qpq.wire.rpc',"
        " 'qpq.wire.capnp', 'capnp', 'qpq.daemon.feder', 'qpq.daemon.relay', 'qpq.store.federation',"
        " 'qpq.link.streams', 'qpq.wire.outside', 'qpq.daemon.histogram', 'qpq.mesh.outside', 'qpq.mesh.topics',"
        " 'qpq.home', 'qpq.store.home', 'qpq.daemon.client_'))])"
    )
    relay = Relay("none", 7340)
    try:
        argv = [sys.executable, "-c", code, str(relay.folder)]
        environment = {"PYTHONPATH": str(NODE_SOURCE), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True, env=environment)
        assert done.stdout.split() == []
    finally:
        relay.close()
