"""As much of a node as its commands ask for: a keyring and a store of its own, the core's answers made up."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from qpq.crypto.identity import Address, Identity
from qpq.daemon.commands import Caller, FailedError, Role, check_args, find
from qpq.daemon.domains import Domains
from qpq.daemon.handlers import Handlers
from qpq.mesh import events
from qpq.mesh.rows import PeerRow, RouteRow, StoreRow
from qpq.store.database import Database
from qpq.store.keyring import Keyring

if TYPE_CHECKING:
    from pathlib import Path

    from qpq.store.entries import InboxEntry

BERT = Address(b"b" * 32)
NODE = Identity(b"n" * 32)
HOP = Identity(b"h" * 32)
ADMIN = Caller(Role.ADMIN, 0, 0, 1)
ANNA = Caller(Role.USER, 1000, 1000, 1, "anna", restricted=True)
STRANGER = Caller(Role.READ_ONLY, 1001, 1001, 1)


class Shell:
    """Notes events; ``refused`` is why a message is not taken."""

    def __init__(self) -> None:
        self.events: list[events.Event] = []
        self.refused = ""
        self.counters: dict[str, int] = {}
        self.behind = False
        self.answer: Any = None

    def put(self, event: events.Event) -> None:
        self.events.append(event)
        if self.answer is not None:
            self.answer(event)

    def flushed(self) -> asyncio.Future[None] | None:
        if not self.behind:
            return None
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def check(self, _message_id: bytes) -> None:
        if self.refused:
            raise FailedError(self.refused)


class Node:
    """As much of a node as the commands ask for."""

    def __init__(self, path: Path) -> None:
        self.keyring = Keyring.open(str(path / "identity.json"))
        self.keyring.add_user("anna")
        self.store = Database(":memory:", max_bytes=1 << 20)
        self.durable = True
        self.saver: Any = None
        self.federation: Any = None
        self.client_port: Any = None
        self.config = SimpleNamespace(data_dir=str(path))
        self.shell = Shell()
        self.peers: set[str] = set()
        self.read: list[list[tuple[Address, str]]] = []
        self.known: Identity | None = None
        self.noted = 0
        self.protection = SimpleNamespace(table=dict, document=dict)
        self.pressure = SimpleNamespace(document=dict, level=SimpleNamespace(number=0))
        self.rows: list[PeerRow] = []
        self.here: set[Address] = set()
        self.domains = Domains(self)  # type: ignore[arg-type]
        self.links = SimpleNamespace(links=lambda: ())
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.control = SimpleNamespace(
            is_watched=lambda _name: True,
            publish=lambda name, fields, _user=None: self.published.append((name, fields)),
        )
        self.core = SimpleNamespace(
            routes=lambda _now: (RouteRow(BERT, NODE, HOP, 3, 56, 40.0, 1, 0.754),),
            store_rows=lambda _now: StoreRow(
                5, 900, 60, ((BERT, 4, 800),), ((HOP, 3, 700), (None, 2, 200)), 5, 6, 7, 8, 9, 10
            ),
            addresses_known=lambda: (BERT,),
            where=lambda address: NODE if address in self.here else None,
            peers=lambda _now: tuple(self.rows),
        )  # fmt: skip

    def now(self) -> float:
        return 100.0

    def settled(self) -> Database:
        return self.store

    def configured(self) -> set[str]:
        return self.peers

    def note_seen(self) -> None:
        self.noted += 1

    def known_at(self, _address: str) -> Identity | None:
        return self.known

    def state_of(self, _user: Address, _message_id: bytes) -> str:
        return "queued"

    def sealed_of(self, _user: Address, _message_id: bytes) -> bool | None:
        return True

    def add_user(self, user: Any) -> None:
        self.shell.events.append(events.UserAdded(user.secret.seed))

    def mark_read(self, user: Address, entries: list[InboxEntry]) -> None:
        self.store.mark_read(user, [entry.number for entry in entries])
        self.read.append([(user, entry.text) for entry in entries])

    def user_of(self, address: Address) -> Any:
        return next((user for user in self.keyring.users if user.address == address), None)


class Commands:
    """``commands("mesh.store")`` carries a command out as the control server does."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.handlers = Handlers(node)  # type: ignore[arg-type]

    def __call__(self, name: str, caller: Caller = ADMIN, /, **args: object) -> Any:
        return asyncio.run(self._carry_out(name, caller, args))

    async def _carry_out(self, name: str, caller: Caller, args: dict[str, object]) -> Any:
        result = self.handlers.table()[name](caller, check_args(name, find(name), args))
        return await result if asyncio.iscoroutine(result) else result
