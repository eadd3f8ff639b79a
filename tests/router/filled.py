"""The data of a router whose store is full: made by real nodes here, through the interface that people use.

One node has a router's limits and its people, three with more room are its neighbours. These write to the router's
people and to others who are nowhere, and so do the people themselves, until it is full. What the node leaves when
it is stopped is what it would leave on a router: identities, snapshot, and the live store.
"""

from __future__ import annotations

import base64
import shutil
import tarfile
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from node import Node, free_ports, wait_for

from qpq.errors import QpqError
from router.machine import BootError

if TYPE_CHECKING:
    from collections.abc import Iterator

CAP = 2 << 20  # bytes of store of a node with 64 MB (daemon.memory)
FULL = 0.97  # the part of it from which it counts as full: messages come in whole pages
LINKS = 24
NEIGHBOURS = 3
PEOPLE = 15  # users on each beside the node's own: 16 are the most
STRANGERS = 40
TOPIC = "markt"  # another than that of the story's broadcast, which would go into an inbox here
TEXT = "Am Rathaus gibt es ab acht Uhr Wasser und Decken. Bringt Taschenlampen mit und sagt den Nachbarn Bescheid! "
LENGTH = 200  # bytes of a text: the design's usual message
KEPT = 300  # messages of each neighbour's people for strangers; the router takes what its quotas allow
CALLS = 80  # broadcasts of each neighbour
OWN = 20  # messages of each of the router's people for strangers
CUSTODY = 0.75  # the part of the room for others that three neighbours get: 6/7 of it is theirs (mesh.quotas)
AT_ONCE = 48  # messages between two looks at the store
FILLING = 120.0  # seconds for each step, on a host that has other work too
SHARED_MEMORY = Path("/dev/shm")  # a router's live store lies in RAM  # noqa: S108


@dataclass(frozen=True, slots=True)
class Filled:
    """A tar of ``/etc/qpq`` and ``/tmp/qpq`` with ``messages`` of the router's people and envelopes of ``others``."""

    tar: Path
    identity: str
    messages: int
    others: int


def fill(folder: Path) -> Filled:
    """Fill a router's store; the tar lies in ``folder``. BootError where it does not get full."""
    try:
        return _filled(folder)
    except (QpqError, RuntimeError, TimeoutError) as error:
        raise BootError(f"a router's store could not be filled: {error}") from error


def _filled(folder: Path) -> Filled:
    with ExitStack() as stack:
        store = Path(tempfile.mkdtemp(prefix="qpq", dir=SHARED_MEMORY))
        stack.callback(shutil.rmtree, store, ignore_errors=True)
        ports = free_ports(NEIGHBOURS + 1)
        router = _node("router", ports[0], stack)
        router.environment |= {
            "QPQ_STORE_DIR": str(store),
            "QPQ_STORE_SIZE": str(CAP),
            "QPQ_MAX_LINKS": str(LINKS),
            "QPQ_ROLE": "relay",
        }
        router.start()
        neighbours = [_node(f"neighbour{n}", port, stack) for n, port in enumerate(ports[1:])]
        for node in neighbours:
            node.arguments += ["--peer", f"[::1]:{ports[0]}"]
            node.start()
        wait_for("the links", lambda: len(router.linked()) == NEIGHBOURS, FILLING)
        people = _people(router)
        senders = {node: list(_people(node)) for node in neighbours}
        _broadcasts(router, neighbours)
        _for_strangers(router, people, senders)
        _inboxes(router, list(people.values()), senders)
        for node in neighbours:
            node.stop()
        held, identity = _store(router), router.identity()
        router.stop()
        return Filled(_packed(router.folder, store, folder), identity, held["inbox"], held["relayed"])


def _node(name: str, port: int, stack: ExitStack) -> Node:
    node = Node(name, arguments=["--listen", f"[::1]:{port}", "--no-mdns", "--no-beacon", "--no-group"])
    stack.callback(node.close)
    return node


def _people(node: Node) -> dict[str, str]:
    """Add users, one of whom reads the channel; return their ids by name."""
    found: dict[str, str] = {}
    for n in range(PEOPLE):
        made: Any = node.ask("mesh.user.add", name=f"user{n}")
        found[f"user{n}"] = str(made["id"])
    node.ask("mesh.subscribe", "user0", topic=TOPIC)
    return found


def _broadcasts(router: Node, neighbours: list[Node]) -> None:
    before = _store(router)["relayed"]
    texts = _texts()
    for node in (router, *neighbours):
        for _ in range(CALLS if node is not router else CALLS // 4):
            node.ask("mesh.broadcast", "user0", topic=TOPIC, text=next(texts))
    wait_for("broadcasts", lambda: _store(router)["relayed"] - before >= CALLS, FILLING)


def _for_strangers(router: Node, people: dict[str, str], senders: dict[Node, list[str]]) -> None:
    """Let neighbours and the router's own people write to who is nowhere."""
    texts, strangers = _texts(), [stranger() for _ in range(STRANGERS)]
    for node, names in senders.items():
        for n in range(KEPT):
            node.send(strangers[n % STRANGERS], next(texts), names[n % PEOPLE])
    for name in people:
        for n in range(OWN):
            router.send(strangers[n], next(texts), name)

    def held() -> bool:
        kept: Any = router.ask("mesh.store")
        return bool(kept["quota_used_bytes"] >= kept["quota_max_bytes"] * CUSTODY)

    wait_for("custody", held, FILLING)


def _inboxes(router: Node, readers: list[str], senders: dict[Node, list[str]]) -> None:
    """Have neighbours write to the router's people until there is no room left."""
    texts, turn = _texts(), 0

    def full() -> bool:
        nonlocal turn
        if _store(router)["used_bytes"] >= CAP * FULL:
            return True
        for node, names in senders.items():
            for _ in range(AT_ONCE // NEIGHBOURS):
                node.send(readers[turn % PEOPLE], next(texts), names[turn // PEOPLE % PEOPLE])
                turn += 1
        return False

    wait_for("a store that is full", full, FILLING)


def _store(node: Node) -> dict[str, int]:
    status: Any = node.ask("status")
    return dict(status["store"])


def _texts() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"{number}: {TEXT * 2}"[:LENGTH]


def stranger() -> str:
    """Return the id of somebody who is nowhere in the mesh."""
    key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    return base64.b32encode(key).decode().rstrip("=").lower()


def _packed(data: Path, store: Path, folder: Path) -> Path:
    """Pack what lies in the data directory and in RAM as a router has it."""
    path = folder / "filled.tar"
    with tarfile.open(path, "w") as tar:
        for file in (data / "identity.json", data / "qpq.snap"):
            tar.add(file, f"etc/qpq/{file.name}")
        for file in sorted(store.iterdir()):
            tar.add(file, f"tmp/qpq/{file.name}")
    return path
