"""The store's keys: sessions as they were last, prekeys and bundles until they go, messages sealed anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qpq.crypto.identity import Address
from qpq.mesh.effects import State
from qpq.mesh.records import (
    BundleDelete,
    BundlePut,
    OutboxInsert,
    OutboxReseal,
    OutboxState,
    PrekeyDelete,
    PrekeyPut,
    Queued,
    SessionDelete,
    SessionPut,
    UserDelete,
)
from qpq.store.codec import Sealed
from qpq.store.database import Database
from qpq.store.faults import StoreFullError

if TYPE_CHECKING:
    from pathlib import Path

    from qpq.mesh.records import Row

ANNA, BERT, NODE = (Address(letter * 32) for letter in (b"a", b"b", b"n"))


def session(number: int, used: int, data: bytes = b"state", user: Address = ANNA) -> SessionPut:
    return SessionPut(user, BERT, number.to_bytes(8, "big"), used, data)


def prekey(number: int, kind: int = 1, user: Address = ANNA) -> PrekeyPut:
    return PrekeyPut(user, number.to_bytes(8, "big"), kind, 100 + number, b"secret %d" % number)


def bundle(life: int, data: bytes = b"keys", user: Address = ANNA) -> BundlePut:
    return BundlePut(user, BERT, life, data)


def message(sealed: bool | None = False) -> OutboxInsert:
    return OutboxInsert(
        ANNA, b"m" * 16, b"e" * 32, BERT, b"envelope", "text", True, 1000, 7, 8, State.QUEUED, sealed=sealed
    )


def keys(database: Database) -> list[Row]:
    return [row for row in database.restore() if isinstance(row, SessionPut | PrekeyPut | BundlePut)]


@pytest.fixture(params=["plain", "sealed"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "plain":
        return Database(str(tmp_path / "messages.db"))
    return Database(str(tmp_path / "messages.db"), codec=Sealed(b"k" * 32))


def test_a_session_is_kept_as_it_was_last(database: Database) -> None:
    database.apply((session(1, 3), session(2, 1)))
    database.apply((session(1, 5, b"later" * 900),))
    assert keys(database) == [session(2, 1), session(1, 5, b"later" * 900)]
    database.apply((SessionDelete(ANNA, BERT, session(2, 1).session_id),))
    assert keys(database) == [session(1, 5, b"later" * 900)]


def test_both_ends_of_a_session_may_be_on_one_node(database: Database) -> None:
    """An identity moves between nodes; then both its ends have the same session id."""
    other = SessionPut(BERT, ANNA, session(1, 1).session_id, 2, b"other end")
    database.apply((session(1, 1), other))
    assert keys(database) == [session(1, 1), other]


def test_prekeys_and_bundles_are_kept_until_they_go(database: Database) -> None:
    database.apply((prekey(1, 0), prekey(2), bundle(9), bundle(12, b"newer")))
    assert keys(database) == [prekey(1, 0), prekey(2), bundle(12, b"newer")]
    database.apply((PrekeyDelete(ANNA, prekey(2).key_id), BundleDelete(ANNA, BERT)))
    assert keys(database) == [prekey(1, 0)]


def test_a_user_takes_all_keys_along(database: Database) -> None:
    mine = (session(1, 1), prekey(1), bundle(1))
    others = (session(1, 1, user=NODE), prekey(1, user=NODE), bundle(1, user=NODE))
    database.apply((*mine, *others))
    database.apply((UserDelete(ANNA),))
    assert keys(database) == list(others)


def test_a_message_sealed_anew_has_another_envelope_and_begins_again(database: Database) -> None:
    database.apply((message(),))
    database.apply((OutboxState(ANNA, b"m" * 16, State.RELAYED, 3),))
    assert [entry.post_quantum for entry in database.outbox(ANNA)] == [False]
    database.apply((OutboxReseal(ANNA, b"m" * 16, b"f" * 32, b"another envelope", sealed=True),))
    assert database.envelope(b"e" * 32) is None
    assert database.envelope(b"f" * 32) == b"another envelope"
    (row,) = [row for row in database.restore() if isinstance(row, Queued)]
    assert row == Queued(ANNA, b"m" * 16, b"f" * 32, BERT, 16, True, 1000, 7, State.QUEUED, 0, sealed=True)
    assert [(entry.state, entry.post_quantum) for entry in database.outbox(ANNA)] == [(State.QUEUED, True)]


def test_a_delivered_message_is_not_sealed_anew(database: Database) -> None:
    database.apply((message(),))
    assert database.sent(ANNA, b"m" * 16) == (b"envelope", "text")
    database.apply((OutboxState(ANNA, b"m" * 16, State.DELIVERED, 0),))
    database.apply((OutboxReseal(ANNA, b"m" * 16, b"f" * 32, b"another envelope", sealed=True),))
    assert database.envelope(b"f" * 32) is None
    assert [(entry.state, entry.post_quantum) for entry in database.outbox(ANNA)] == [(State.DELIVERED, False)]
    assert database.sent(ANNA, b"m" * 16) is None
    assert database.sent(ANNA, b"?" * 16) is None


def test_a_message_that_was_not_sealed_at_all_says_so(database: Database) -> None:
    here = OutboxInsert(ANNA, b"m" * 16, b"", BERT, b"", "text", False, 1000, 7, 8, State.DELIVERED)
    database.apply((here,))
    assert [entry.post_quantum for entry in database.outbox(ANNA)] == [None]


def test_the_state_of_a_session_is_written_even_where_no_message_fits() -> None:
    database = Database(":memory:", max_bytes=120_000)
    database.apply((session(1, 1),))
    more = [(PrekeyPut(ANNA, number.to_bytes(8, "big"), 1, 0, bytes(3000)),) for number in range(1000)]
    with pytest.raises(StoreFullError):
        list(map(database.apply, more))
    for number in range(20):
        database.apply((session(1, number, bytes([number]) * 3000),))
    assert [row.used for row in keys(database) if isinstance(row, SessionPut)] == [19]
