"""Which machine's turn it is when a timer is due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qpq.mesh.due import Due

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.mesh.machines import Machines


def due_table(machines: Machines) -> dict[Due, Callable[[Any, float], None]]:
    """Return what each kind of timer is for, but for those that concern the core itself."""
    return {
        Due.HELLO: machines.neighbours.hello_due,
        Due.SETTLE: machines.neighbours.settle_due,
        Due.EXPIRE: machines.sending.expire_due,
        Due.ANSWER: machines.sending.answer_due,
        Due.HOLD: machines.sending.hold_due,
        Due.RESUME: machines.sending.resume_due,
        Due.SPRAY: machines.sending.spray_due,
        Due.MEET: machines.sending.meet_due,
        Due.DEPOSIT: machines.deposits.due,
        Due.CLAIM: machines.claiming.claim_due,
        Due.OUTSIDE: machines.crossings.due,
        Due.LOOKUP: machines.crossings.lookup_due,
        Due.KEYS: machines.giving.due,
        Due.KEYS_WAIT: machines.asking.wait_due,
        Due.PREKEYS: machines.sessions.prekeys.due,
        Due.ROUTES: machines.routing.telling.due,
        Due.ROUTE_HOLD: machines.routing.hearing.hold_due,
        Due.ROUTE_SWEEP: machines.routing.hearing.sweep_due,
        Due.SEARCH: machines.routing.queries.search_due,
        Due.PROBE: machines.probing.due,
        Due.IHAVE: machines.flooding.tell_due,
        Due.GRAFT: machines.flooding.ask_due,
        Due.FLOODED: machines.keeping.due,
        Due.SUPPLY: machines.supplying.due,
        Due.RECONCILE: machines.reconciling.due,
    }
