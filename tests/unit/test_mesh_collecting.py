"""The order of effects: what hangs on the store, what does not, and what nothing hangs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cores import plain_pair
from qpq.mesh.collecting import Effects
from qpq.mesh.effects import Count, Persist, SendFrame, State, StateChanged
from qpq.mesh.records import OutboxState, TombstoneDelete
from qpq.wire.frames import Receipt

if TYPE_CHECKING:
    from qpq.mesh import events
    from qpq.mesh.effects import Effect

STATE = OutboxState(b"u" * 32, b"m" * 16, State.DELIVERED, 1)  # type: ignore[arg-type]
STONE = TombstoneDelete(b"u" * 32, b"i" * 32)  # type: ignore[arg-type]


def test_a_note_comes_last_and_need_not_be_written_at_once() -> None:
    effects = Effects()
    effects.note(STATE)
    effects.prove(1, b"s" * 16, b"h" * 32)
    effects.count("n")
    assert not effects.persists
    assert effects.take() == [
        Count("n"),
        SendFrame(1, Receipt(((b"s" * 16, b"h" * 32),))),
        Persist((STATE,), prompt=False),
    ]
    assert effects.take() == []


def test_a_note_joins_what_is_written_at_once() -> None:
    effects = Effects()
    effects.note(STATE)
    effects.persist(STONE)
    effects.after(Count("n"))
    assert effects.take() == [Persist((STONE, STATE)), Count("n")]


@pytest.mark.parametrize(("alone", "taken"), [(True, True), (True, False), (False, True)])
def test_a_receipt_that_answers_alone_leaves_early_if_somebody_takes_it(alone: bool, taken: bool) -> None:
    early: list[SendFrame] = []
    effects = Effects()
    effects.early = lambda effect: early.append(effect) or taken  # type: ignore[func-returns-value]
    effects.pass_back(1, b"s" * 16, b"h" * 32, alone=alone)
    sent = SendFrame(1, Receipt(((b"s" * 16, b"h" * 32),)))
    assert early == ([sent] if alone else [])
    assert effects.take() == ([] if alone and taken else [sent])


def test_a_receipt_is_told_before_it_is_written_since_it_proves_itself() -> None:
    world, anna, ben = plain_pair(1)
    message = world.send(anna, ben.user.address, "hi")
    told: list[Effect] = []
    handle = anna.core.handle

    def listen(event: events.Event, now: float) -> list[Effect]:
        effects = handle(event, now)
        told.extend(effects)
        return effects

    anna.core.handle = listen  # type: ignore[method-assign]
    world.run(1)
    kinds = [effect for effect in told if isinstance(effect, (StateChanged, Persist))]
    assert kinds[-2:] == [
        StateChanged(anna.user.address, message, State.DELIVERED, 0, post_quantum=False),
        Persist((OutboxState(anna.user.address, message, State.DELIVERED, 0),), prompt=False),
    ]
