"""What a running node has loaded: counted and named, so that no import comes back unnoticed."""

from __future__ import annotations

import compileall
import re
from typing import TYPE_CHECKING

import pytest
from node import NODE_SOURCE, Node, free_ports, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_MODULES = 380
"""Modules of a node with a link and a session, without mDNS, the interpreter's own at start included (3.11 to 3.13)."""
MAX_READY = 296
"""Modules of a node when it is ready; LXMF's has that many."""
MAX_RSS_MIB = 39.0
"""Resident MiB of the same node; about 33 without a link on x86_64."""

# Each by itself would cost more than a room of this program.
NEVER = {
    "OpenSSL": "chains of certificates, which no link has",
    "aioquic.asyncio": "links have their own socket",
    "aioquic.h3": "HTTP/3",
    "aioquic.quic.logger": "traces in files",
    "argparse": "flags come from the option table",
    "attr": "comes with service_identity",
    "capnp": "calls of other domains and of clients, which are off here",
    "certifi": "authorities, which no link believes",
    "cryptography.hazmat.backends": "asks which OpenSSL it is, for keys that are not used",
    "cryptography.hazmat.primitives.asymmetric.dsa": "a key that is not used",
    "cryptography.hazmat.primitives.asymmetric.ec": "a key that is not used",
    "cryptography.hazmat.primitives.asymmetric.mlkem": "a key that is not used",
    "cryptography.hazmat.primitives.asymmetric.rsa": "a key that is not used",
    "cryptography.hazmat.primitives.serialization": "keys in files of all kinds",
    "cryptography.x509": "11 MB for certificates that qpq.link.certificates reads",
    "email": "comes with cryptography.x509",
    "http": "comes with urllib",
    "multiprocessing": "nothing here forks",
    "pathlib": "os.path does",
    "qpq.console": "the daemon is no console",
    "qpq.rpc": "calls of other domains and of clients, which are off here",
    "qpq.wire.rpc": "the same",
    "service_identity": "names in certificates, which nobody reads",
    "shutil": "comes with tempfile",
    "_ssl": "TLS over TCP",
    "tempfile": "comes with certifi",
    "unittest": "tests",
    "urllib": "comes with cryptography.x509",
    "zeroconf": "mDNS, which is off here",
}
LINE = re.compile(r"^import time:\s+\d+ \|\s+\d+ \| +(\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def linked() -> Iterator[tuple[Node, Node]]:
    """Give two daemons with a link on loopback, which log what they import."""
    quiet = ("--no-mdns", "--no-beacon", "--mesh-interface", "lo")
    environment = {"PYTHONPROFILEIMPORTTIME": "1"}
    compileall.compile_dir(NODE_SOURCE, quiet=2)  # a node that has to compile itself, once, is 1 MiB larger
    one, other = free_ports(2)
    first = Node("first", arguments=(*quiet, "--listen", f"127.0.0.1:{one}"), environment=environment)
    dial = ("--peer", f"127.0.0.1:{one}")
    second = Node("second", arguments=(*quiet, "--listen", f"127.0.0.1:{other}", *dial), environment=environment)
    for node in (first, second):
        node.measured = False  # coverage imports much itself
    try:
        first.start()
        second.start()
        peer = first.identity()
        wait_for("the link is up", lambda: peer in second.linked())
        second.send(peer, "hello")
        wait_for("the message is there", lambda: first.texts() == ["hello"])
        yield first, second
    finally:
        second.close()
        first.close()


def modules(node: Node) -> list[str]:
    """Return what the node has imported so far."""
    names = LINE.findall(node.log())
    assert "qpq.daemon.node" in names
    return names


def test_a_node_loads_no_more_modules_than_it_should(linked: tuple[Node, Node]) -> None:
    for node in linked:
        found = modules(node)
        assert len(found) <= MAX_MODULES, f"{len(found)} modules: what is new in {sorted(found)}?"


def test_a_node_is_ready_before_it_has_loaded_what_links_take(linked: tuple[Node, Node]) -> None:
    found = LINE.findall(linked[0].log().partition("ready: qpq")[0])
    assert len(found) < MAX_READY, f"{len(found)} modules: what is new in {sorted(found)}?"
    assert not [name for name in found if name.startswith("aioquic")]
    assert "aioquic.quic.connection" in modules(linked[0])


@pytest.mark.parametrize("name", NEVER)
def test_a_node_never_loads(name: str, linked: tuple[Node, Node]) -> None:
    for node in linked:
        for found in modules(node):
            assert found != name and not found.startswith(f"{name}."), NEVER[name]  # noqa: PT018 (one question)


def test_post_quantum_keys_are_loaded_with_the_first_session_and_not_before(linked: tuple[Node, Node]) -> None:
    for node in linked:
        assert "pqcrypto.kem.ml_kem_768" in modules(node)
        assert not [name for name in LINE.findall(node.log().partition("ready: qpq")[0]) if name.startswith("pqcrypto")]


def test_a_node_stays_small(linked: tuple[Node, Node]) -> None:
    for node in linked:
        with open(f"/proc/{node.pid}/status", encoding="ascii") as status:
            kib = int(re.findall(r"VmRSS:\s+(\d+) kB", status.read())[0])
        assert kib / 1024 <= MAX_RSS_MIB
