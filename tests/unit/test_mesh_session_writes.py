"""When the state of a session is written: ahead of what is sent, a little behind what was opened."""

from __future__ import annotations

from test_mesh_keys import ANNA, BERT, CARL, Desk, opened
from test_mesh_sessions import core, talked, texts

from qpq.crypto.sessions import Session
from qpq.mesh.due import Due
from qpq.mesh.effects import Persist
from qpq.mesh.pairs import AHEAD, BEHIND
from qpq.mesh.records import PrekeyDelete, SessionPut
from qpq.mesh.sessions import CATCH_UP_S
from session_kit import KEM


def talking() -> tuple[Desk, Desk]:
    """Return the desks of Anna and Bert once each has written to the other."""
    here, there = Desk(1), Desk(2)
    assert there.take(opened(here, there)) == b"text"
    assert here.take(said(there, BERT, ANNA), BERT, ANNA) == b"text"
    assert there.take(said(here)) == b"text"
    written(here)
    written(there)
    return here, there


def said(desk: Desk, own: object = ANNA, peer: object = BERT) -> bytes:
    """Seal one more text and return its payload."""
    found = desk.sessions.seal(own, peer.address, b"text", 0.0)  # type: ignore[arg-type, attr-defined]
    assert found is not None
    return found.payload


def written(desk: Desk) -> list[SessionPut]:
    """Return the sessions that this event writes."""
    return [row for row in desk.operations() if isinstance(row, SessionPut)]


def number_of(row: SessionPut) -> int:
    """Return how many messages of the chain the stored state has sent."""
    return Session.decode(row.data, row.user, row.peer)._ratchet.sent


def test_of_messages_in_a_row_one_in_nine_is_written_ahead_of_the_others() -> None:
    here, _ = talking()
    sent, stored = 1, 1
    writes = 0
    for _ in range(3 * (AHEAD + 1)):
        said(here)
        sent += 1
        rows = written(here)
        if rows:
            writes += 1
            (row,) = rows
            stored = number_of(row)
        assert stored >= sent, "what was sent has been written before"
    assert writes == 3


def test_who_comes_back_from_the_store_leaves_out_at_most_what_was_written_ahead() -> None:
    here, there = talking()
    said(here)
    (row,) = written(here)
    for _ in range(3):
        there.take(said(here))
    again = Desk(3)
    again.sessions.restore(row)
    assert there.take(said(again)) == b"text"


def test_a_session_that_could_not_be_written_covers_nothing() -> None:
    here, _ = talking()
    said(here)
    (row,) = written(here)
    here.sessions.unwritten(row, retry=False)
    assert written(here) == []
    said(here)
    (row,) = written(here)
    assert number_of(row) >= 3


def test_what_was_opened_in_a_row_is_written_half_a_second_later() -> None:
    here, there = talking()
    for _ in range(3):
        there.take(said(here), now=1.0)
        assert written(there) == []
    assert there.timers.pop_due(1.0 + CATCH_UP_S) == (Due.SESSIONS, 0)
    there.sessions.due(0, 1.0 + CATCH_UP_S)
    (row,) = written(there)
    assert Session.decode(row.data, row.user, row.peer).open(said(here), KEM, life=0).plaintext == b"text"
    there.sessions.due(0, 9.0)
    assert written(there) == []


def test_after_many_in_a_row_it_is_written_at_once() -> None:
    here, there = talking()
    rows = []
    for _ in range(BEHIND + 1):
        there.take(said(here))
        rows.append(len(written(there)))
    assert rows == [0] * BEHIND + [1]


def test_one_that_was_overtaken_is_written_at_once() -> None:
    here, there = talking()
    late = said(here)
    assert there.take(said(here)) == b"text"
    assert len(written(there)) == 1, "a key is kept for the other"
    assert there.take(late) == b"text"
    assert len(written(there)) == 1, "and kept no longer"


def test_of_two_sessions_each_message_is_written_at_once() -> None:
    here, there = talking()
    assert there.take(opened(Desk(4), there)) == b"text"
    written(there)
    there.take(said(here))
    assert len(written(there)) == 1, "in which one the peer wrote last decides where the answer goes"


def test_a_user_who_is_gone_leaves_nothing_to_be_written() -> None:
    here, there = talking()
    there.take(said(here))
    there.sessions.remove_user(BERT.address)
    there.sessions.due(0, 1.0)
    there.effects.persist(PrekeyDelete(CARL.address, b"any"))
    assert written(there) == []


def test_a_node_that_stops_writes_its_sessions_as_they_are() -> None:
    world, anna, bert = talked()
    for number in range(3):
        world.send(anna, bert.user.address, f"{number}")
        world.run(0.1)
    world.stop(bert)
    world.stop(anna)
    world.start(anna)
    world.start(bert)
    (kept,) = core(anna)._sessions._pairs._pairs[anna.user.address, bert.user.address].sessions
    sent = Session.decode(kept.data, anna.user.address, bert.user.address)._ratchet.sent
    assert sent == 4, "no number is left out"
    world.meet(anna, bert)
    world.run(5.0)
    world.send(anna, bert.user.address, "again")
    world.run(1.0)
    assert texts(bert)[-1] == "again"


def test_one_transaction_writes_a_session_once() -> None:
    here, there = talking()
    there.take(said(here))
    there.sessions.due(0, 1.0)
    said(there, BERT, ANNA)
    there.sessions.flush()
    (persist,) = [effect for effect in there.effects.take() if isinstance(effect, Persist)]
    assert len([row for row in persist.operations if isinstance(row, SessionPut)]) == 1
