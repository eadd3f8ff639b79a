"""The list of effects that one event causes, in the order its caller must carry them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from qpq.mesh.effects import Count, Persist, SendFrame
from qpq.wire.frames import MAX_ANSWERS, MAX_PROOFS, Custody, CustodyCode, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.mesh.effects import Effect
    from qpq.mesh.records import Operation

ItemT = TypeVar("ItemT")


class Effects:
    """Collects what the machines want done.

    The order: first everything that does not hang on the store, then one Persist with all
    operations, then what may happen only once they are stored. Receipts and custody answers
    of one event go as few frames a link, this node's receipts and what it takes into custody
    always behind the Persist. Operations that nothing hangs on join the others, or come last.
    """

    __slots__ = (
        "_accepted",
        "_after",
        "_answers",
        "_confirmed",
        "_first",
        "_notes",
        "_operations",
        "_passed",
        "_proofs",
        "_returned",
        "early",
    )

    def __init__(self) -> None:
        self.early: Callable[[SendFrame], bool] | None = None
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

    def note(self, operation: Operation) -> None:
        """Add an operation that nothing hangs on: alone it need not be written at once."""
        self._notes.append(operation)

    def after(self, effect: Effect) -> None:
        """Add what must not happen before the transaction is durable."""
        self._after.append(effect)

    def prove(self, link: int, secret: bytes, envelope_hash: bytes) -> None:
        """Add a receipt, which must not leave before the transaction is durable."""
        self._proofs.setdefault(link, []).append((secret, envelope_hash))

    def confirm(self, link: int, secret: bytes, envelope_hash: bytes) -> None:
        """Do the same for an envelope that came over this link just now."""
        self._confirmed.setdefault(link, []).append((secret, envelope_hash))

    def answer(self, link: int, envelope_id: bytes, code: CustodyCode) -> None:
        """Add an answer to a TRANSFER that is not a receipt."""
        self._answers.setdefault(link, []).append((envelope_id, code))

    def accept(self, link: int, envelope_id: bytes, code: CustodyCode = CustodyCode.ACCEPTED) -> None:
        """Add the answer that an envelope is kept, which must not leave before the transaction is durable."""
        self._accepted.setdefault(link, []).append((envelope_id, code))

    def pass_on(self, link: int, secret: bytes, envelope_hash: bytes) -> None:
        """Add a receipt of another's; anybody can check it, so it need not wait."""
        self._passed.setdefault(link, []).append((secret, envelope_hash))

    def pass_back(self, link: int, secret: bytes, envelope_hash: bytes, *, alone: bool) -> None:
        """Do the same where it is the first answer to an envelope that came over this link; ``alone`` it leaves now."""
        if not alone or not self.hasten(SendFrame(link, _confirmation(((secret, envelope_hash),)))):
            self._returned.setdefault(link, []).append((secret, envelope_hash))

    def hasten(self, effect: SendFrame) -> bool:
        """Let a frame that hangs on nothing leave at once, before the event is dealt with; whether it has."""
        return self.early is not None and self.early(effect)

    @property
    def persists(self) -> bool:
        """Whether this event writes to the store."""
        return bool(self._operations)

    def take(self) -> list[Effect]:
        """Return the effects in order and begin anew."""
        effects = self._first
        if self._answers:
            _frames(effects, self._answers, Custody, MAX_ANSWERS)
        if self._passed:
            _frames(effects, self._passed, Receipt, MAX_PROOFS)
        if self._returned:
            _frames(effects, self._returned, _confirmation, MAX_PROOFS)
        if self._operations:
            effects.append(Persist((*self._operations, *self._notes)))
        if self._accepted:
            _frames(effects, self._accepted, Custody, MAX_ANSWERS)
        effects += self._after
        if self._proofs:
            _frames(effects, self._proofs, Receipt, MAX_PROOFS)
        if self._confirmed:
            _frames(effects, self._confirmed, _confirmation, MAX_PROOFS)
        if self._notes and not self._operations:
            effects.append(Persist(tuple(self._notes), prompt=False))
        self._clear()
        return effects

    def _clear(self) -> None:
        self._first: list[Effect] = []
        self._operations: list[Operation] = []
        self._notes: list[Operation] = []
        self._after: list[Effect] = []
        self._proofs: dict[int, list[tuple[bytes, bytes]]] = {}
        self._confirmed: dict[int, list[tuple[bytes, bytes]]] = {}
        self._answers: dict[int, list[tuple[bytes, CustodyCode]]] = {}
        self._accepted: dict[int, list[tuple[bytes, CustodyCode]]] = {}
        self._passed: dict[int, list[tuple[bytes, bytes]]] = {}
        self._returned: dict[int, list[tuple[bytes, bytes]]] = {}


def _confirmation(proofs: tuple[tuple[bytes, bytes], ...]) -> Receipt:
    return Receipt(proofs, answers=True)


def _frames(
    effects: list[Effect],
    by_link: dict[int, list[ItemT]],
    frame: Callable[[tuple[ItemT, ...]], Custody | Receipt],
    most: int,
) -> None:
    for link, items in by_link.items():
        effects += [SendFrame(link, frame(tuple(items[start : start + most]))) for start in range(0, len(items), most)]
