"""The list of effects that one event causes, in the order its caller must carry them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpq.mesh.events import Count, Persist, SendFrame
from qpq.wire.frames import MAX_ANSWERS, MAX_PROOFS, Custody, CustodyCode, Receipt

if TYPE_CHECKING:
    from qpq.mesh.events import Effect
    from qpq.mesh.records import Operation


class Effects:
    """Collects what the machines want done.

    The order: first everything that does not hang on the store, then one Persist with all
    operations, then what may happen only once they are stored. Receipts and custody answers
    of one event go as few frames a link, receipts always behind the Persist.
    """

    __slots__ = ("_after", "_answers", "_first", "_operations", "_proofs")

    def __init__(self) -> None:
        self._clear()

    def do(self, effect: Effect) -> None:
        """Add what does not hang on the store."""
        self._first.append(effect)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        self._first.append(Count(name, amount))

    def persist(self, operation: Operation) -> None:
        """Add an operation to the event's one transaction."""
        self._operations.append(operation)

    def after(self, effect: Effect) -> None:
        """Add what must not happen before the transaction is durable."""
        self._after.append(effect)

    def prove(self, link: int, secret: bytes, envelope_hash: bytes) -> None:
        """Add a receipt, which must not leave before the transaction is durable."""
        self._proofs.setdefault(link, []).append((secret, envelope_hash))

    def answer(self, link: int, envelope_id: bytes, code: CustodyCode) -> None:
        """Add an answer to a TRANSFER that is not a receipt."""
        self._answers.setdefault(link, []).append((envelope_id, code))

    @property
    def persists(self) -> bool:
        """Whether this event writes to the store."""
        return bool(self._operations)

    def take(self) -> list[Effect]:
        """Return the effects in order and begin anew."""
        effects = self._first
        for link, answers in self._answers.items():
            for start in range(0, len(answers), MAX_ANSWERS):
                effects.append(SendFrame(link, Custody(tuple(answers[start : start + MAX_ANSWERS]))))
        if self._operations:
            effects.append(Persist(tuple(self._operations)))
        effects += self._after
        for link, proofs in self._proofs.items():
            for start in range(0, len(proofs), MAX_PROOFS):
                effects.append(SendFrame(link, Receipt(tuple(proofs[start : start + MAX_PROOFS]))))
        self._clear()
        return effects

    def _clear(self) -> None:
        self._first: list[Effect] = []
        self._operations: list[Operation] = []
        self._after: list[Effect] = []
        self._proofs: dict[int, list[tuple[bytes, bytes]]] = {}
        self._answers: dict[int, list[tuple[bytes, CustodyCode]]] = {}
