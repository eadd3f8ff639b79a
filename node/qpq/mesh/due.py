"""The kinds of deadlines, each with what its key names, and whose turn it is when one has come."""

from __future__ import annotations

from enum import IntEnum, unique
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.mesh.machines import Machines


@unique
class Due(IntEnum):
    """What has come when a timer is due."""

    HELLO = 0
    """A link (number) had to greet by now."""
    SETTLE = 1
    """A peer (identity) had to choose among its links by now."""
    DIALLING = 2
    """An address may be dialled again, or a dial has failed (no key)."""
    EXPIRE = 3
    """Some message reaches the end of its ttl (no key)."""
    ANSWER = 4
    """A message (envelope id) had to be answered, or proven delivered, by now."""
    HOLD = 5
    """A message (envelope id) that was refused may be sent again."""
    RESUME = 6
    """A neighbour that had no room for a recipient (identity and address) may be tried again."""
    CHECKPOINT = 7
    """The clock of life is to be stored (no key)."""
    ROUTES = 8
    """Changed routes are to be told over a link (number)."""
    ROUTE_HOLD = 9
    """A lost route (address) may be replaced by any other, or is forgotten."""
    ROUTE_SWEEP = 10
    """Routes that were asked for are looked through (no key)."""
    SEARCH = 11
    """An address may be asked for again."""
    PROBE = 12
    """A ping (token) had to be answered by now."""
    IHAVE = 20
    """Lazy links are to be told of new broadcasts (no key)."""
    GRAFT = 21
    """A broadcast that was heard of had to come by now (no key)."""
    FLOODED = 22
    """Some broadcast reaches the end of its ttl (no key)."""
    SUPPLY = 23
    """A link (number) takes more of what its neighbour lacks."""
    RECONCILE = 24
    """A link (number) is due for a comparison."""
    DEPOSIT = 27
    """Others' envelopes that went on at once are to be stored (no key)."""
    CLAIM = 28
    """An envelope (id) whose message has been delivered here is kept no longer."""
    MEET = 29
    """Copies may be handed to a new neighbour (link number)."""
    KEYS = 25
    """Keys are to be sent to peers that should have them (no key)."""
    KEYS_WAIT = 26
    """Keys of a peer (own and its address) have been waited for long enough."""
    PREKEYS = 13
    """Some prekey has reached the end of its time (no key)."""
    SPRAY = 30
    """Some recipients have been waited for long enough: do without a route, and ask again (no key)."""
    OUTSIDE = 14
    """A message (envelope id) for another domain is to be looked at: sent, sent once more, or forgotten."""
    LOOKUP = 15
    """A lookup (token) had to be answered by now."""
    SESSIONS = 16
    """Sessions in which messages were opened are to be stored (no key)."""
    FETCH = 17
    """A user who was asked for keys for another domain (the question's envelope id) had to answer by now."""
    LATE_QUERY = 18
    """A query (its token) that a lossy link brought has waited long enough for the same over a better one."""


Timer: TypeAlias = tuple[Due, int | bytes]


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
        Due.FETCH: machines.crossings.fetch_due,
        Due.KEYS: machines.giving.due,
        Due.KEYS_WAIT: machines.asking.wait_due,
        Due.SESSIONS: machines.sessions.due,
        Due.PREKEYS: machines.sessions.prekeys.due,
        Due.ROUTES: machines.routing.telling.due,
        Due.ROUTE_HOLD: machines.routing.hearing.hold_due,
        Due.ROUTE_SWEEP: machines.routing.hearing.sweep_due,
        Due.SEARCH: machines.routing.queries.search_due,
        Due.LATE_QUERY: machines.routing.queries.late_due,
        Due.PROBE: machines.probing.due,
        Due.IHAVE: machines.flooding.tell_due,
        Due.GRAFT: machines.flooding.ask_due,
        Due.FLOODED: machines.keeping.due,
        Due.SUPPLY: machines.supplying.due,
        Due.RECONCILE: machines.reconciling.due,
    }
