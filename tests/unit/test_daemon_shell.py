"""The shell's own faults: what the store cannot give is told and counted, and the node goes on."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from flood_kit import USER, broadcast
from qpq.daemon.shell import LATE_S, Shell
from qpq.mesh import effects, events
from qpq.mesh.effects import Persist
from qpq.store.faults import StoreDamagedError, StoreError
from qpq.wire.envelope import encode_envelope


class Parts:
    """A core that wants one envelope sent, a store that gives ``found``, and links that note what they get."""

    def __init__(self, found: bytes | Exception | None) -> None:
        self.found = found
        self.queued: list[object] = []

    def handle(self, _event: object, _now: float) -> list[object]:
        return [effects.SendEnvelope(1, b"i" * 32, 0, 1, 0)]

    def envelope(self, _envelope_id: bytes) -> bytes | None:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def queue(self, _link: int, frame: object) -> bool:
        self.queued.append(frame)
        return True

    def transmit(self) -> None:
        """Nothing is on its way."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: name


@pytest.mark.parametrize(
    ("found", "unreadable"), [(StoreDamagedError("a page is damaged"), 1), (b"no envelope", 1), (None, 0)]
)
def test_an_envelope_that_cannot_be_read_costs_that_message_only(
    found: bytes | Exception | None, unreadable: int
) -> None:
    parts = cast("Any", Parts(found))

    async def put() -> dict[str, int]:
        shell = Shell(parts, parts, parts, parts, group=False)
        shell.put(events.Tick())
        return shell.counters

    assert asyncio.run(put()).get("store.unreadable", 0) == unreadable
    assert parts.queued == []


class Books(Parts):
    """A core that wants what it is given to be persisted, and a store that notes what it gets in one transaction."""

    def __init__(self) -> None:
        super().__init__(None)
        self.written: list[list[object]] = []
        self.faults = 0

    def handle(self, event: Any, _now: float) -> list[object]:
        return [event]

    def apply(self, operations: list[object]) -> None:
        if self.faults:
            self.faults -= 1
            raise StoreError("no room")
        self.written.append(list(operations))


class Early(Parts):
    """A core that lets a frame leave from within the handling of an event, and links that are told to hurry."""

    def hasten(self, early: Any) -> None:
        self.early = early

    def handle(self, event: Any, _now: float) -> list[object]:
        assert self.early(event)
        return [effects.SendFrame(1, cast("Any", "later"))]

    def hurry(self) -> None:
        self.queued.append("hurry")


@pytest.mark.parametrize("group", [False, True])
def test_a_frame_that_hangs_on_nothing_leaves_before_the_event_is_dealt_with(group: bool) -> None:
    parts = cast("Any", Early(None))

    async def put() -> None:
        shell = Shell(parts, parts, parts, parts, group=group)
        shell.put(cast("Any", effects.SendFrame(1, cast("Any", "early"))))
        shell.flush()

    asyncio.run(put())
    assert parts.queued == ["early", "hurry", "later"]


def late(*operations: str) -> Persist:
    return Persist(cast("Any", operations), prompt=False)


def prompt(*operations: str) -> Persist:
    return Persist(cast("Any", operations))


def test_what_nothing_hangs_on_is_written_a_little_later_with_others_of_its_kind() -> None:
    books = cast("Any", Books())

    async def put() -> None:
        shell = Shell(books, books, books, books, group=False)
        for event in (late("a"), prompt("b"), late("c", "d")):
            shell.put(cast("Any", event))
        assert books.written == [["b"]]
        await asyncio.sleep(4 * LATE_S)
        assert books.written == [["b"], ["a", "c", "d"]]
        shell.put(cast("Any", late("e")))
        shell.settle()
        shell.settle()
        assert books.written[2:] == [["e"]]
        shell.put(cast("Any", late("f")))
        shell.close()
        assert books.written[3:] == [["f"]]

    asyncio.run(put())


def test_a_group_takes_along_what_may_come_late() -> None:
    books = cast("Any", Books())

    async def put() -> None:
        shell = Shell(books, books, books, books, group=True)
        shell.put(cast("Any", late("a")))
        shell.flush()
        assert books.written == []
        for event in (prompt("b"), late("c"), prompt("d")):
            shell.put(cast("Any", event))
        shell.flush()
        assert books.written == [["a", "b", "d"]]
        shell.settle()
        assert books.written[1:] == [["c"]]

    asyncio.run(put())


def test_what_a_full_store_refuses_to_a_group_is_tried_again_alone() -> None:
    books = cast("Any", Books())

    async def put() -> dict[str, int]:
        shell = Shell(books, books, books, books, group=True)
        shell.put(cast("Any", late("a")))
        shell.flush()
        books.faults = 1
        shell.put(cast("Any", prompt("b")))
        shell.flush()
        shell.settle()
        assert books.written == [["b"], ["a"]]
        books.faults = 1
        shell.put(cast("Any", late("c")))
        shell.close()
        assert books.written == [["b"], ["a"]]
        return shell.counters

    counters = asyncio.run(put())
    assert counters["store.group_failed"] == 1
    assert counters["store.late_failed"] == 1


class Rereading(Parts):
    """A core that asks for two envelopes at a tick and notes what it is handed back."""

    def __init__(self, found: bytes | Exception | None) -> None:
        super().__init__(found)
        self.recalled: list[events.Recalled] = []

    def handle(self, event: object, _now: float) -> list[object]:
        if isinstance(event, events.Recalled):
            self.recalled.append(event)
            return []
        return [effects.Recall((b"i" * 32, b"j" * 32))]


@pytest.mark.parametrize(
    ("found", "given"), [(encode_envelope(broadcast()), 2), (StoreDamagedError("a page is damaged"), 0), (None, 0)]
)
def test_what_is_recalled_comes_back_once_even_if_nothing_is_there(found: bytes | Exception | None, given: int) -> None:
    core = cast("Any", Rereading(found))

    async def put() -> None:
        shell = Shell(core, core, core, core, group=False)
        shell.put(events.Tick())
        assert core.recalled == []
        await asyncio.sleep(0)

    asyncio.run(put())
    assert core.recalled == [events.Recalled((broadcast(),) * given)]


class Texts(Parts):
    """A core that asks for the texts of two messages at a tick and notes what it is handed back."""

    def __init__(self, found: bytes | Exception | None) -> None:
        super().__init__(found)
        self.recalled: list[events.TextsRecalled] = []

    def handle(self, event: object, _now: float) -> list[object]:
        if isinstance(event, events.TextsRecalled):
            self.recalled.append(event)
            return []
        return [effects.RecallTexts(((USER.address, b"m" * 16), (USER.address, b"n" * 16)))]

    def sent(self, _user: bytes, _message_id: bytes) -> tuple[bytes, str] | None:
        data = self.envelope(b"")
        return None if data is None else (data, "the text")


@pytest.mark.parametrize(
    ("found", "given", "unreadable"),
    [
        (encode_envelope(broadcast()), 2, 0),
        (b"no envelope", 0, 2),
        (StoreDamagedError("a page is damaged"), 0, 2),
        (None, 0, 0),
    ],
)
def test_texts_come_back_once_as_far_as_they_can_be_read(
    found: bytes | Exception | None, given: int, unreadable: int
) -> None:
    core = cast("Any", Texts(found))

    async def put() -> dict[str, int]:
        shell = Shell(core, core, core, core, group=False)
        shell.put(events.Tick())
        assert core.recalled == []
        await asyncio.sleep(0)
        return shell.counters

    assert asyncio.run(put()).get("store.unreadable", 0) == unreadable
    ids = (b"m" * 16, b"n" * 16)[:given]
    sent = tuple(events.SentText(USER.address, message_id, "the text", broadcast()) for message_id in ids)
    assert core.recalled == [events.TextsRecalled(sent)]
