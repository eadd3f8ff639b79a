"""Marks: which other domain brought a channel's message, as a gateway says in the same channel.

A mark is an envelope of the gateway's, so it is kept, passed on and reconciled by every node as any other is, and its
signature is the gateway's word. That can come before the message, as it does on the way that both take together, or
behind it, where a node makes up for what it missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.mesh import counters
from qpq.mesh.records import InboxMark

if TYPE_CHECKING:
    from qpq.crypto.identity import Address
    from qpq.mesh.collecting import Effects
    from qpq.mesh.inbox import Inbox
    from qpq.mesh.routing import Routing
    from qpq.mesh.users import Channel, Users
    from qpq.wire.crossing import MarkBody

MAX_MARKS: Final = 256
"""Marks remembered for messages that come later; of more the oldest is forgotten."""


class Marks:
    """Remembers marks, and puts them on what users keep; of two about one message the first counts.

    Keys are free, so anybody can be a gateway for those who are far away. But nobody is one for a node that knows a
    route to that address and was told nothing of a gateway; and no word makes somebody foreign who is of this mesh as
    far as the node knows, having a route there.
    """

    __slots__ = ("_effects", "_inbox", "_routing", "_said", "_users")

    def __init__(self, effects: Effects, inbox: Inbox, routing: Routing, users: Users) -> None:
        self._effects = effects
        self._inbox = inbox
        self._routing = routing
        self._users = users
        self._said: dict[tuple[bytes, Address, bytes], tuple[Address, str]] = {}

    def take(self, channel: Channel, author: Address, body: MarkBody, *, fresh: bool) -> None:
        """Take a mark that ``author`` signed; one read back from the store, not ``fresh``, needs a known gateway.

        After a start no routes are known that could speak against it, and what was marked before is marked still.
        """
        if not self._believes(author, body.sender, surely=False):
            self._effects.count(counters.MARK_DOUBTED)
            return
        name = (channel.identifier, body.sender, body.message_id)
        if name not in self._said:
            if len(self._said) >= MAX_MARKS:
                del self._said[next(iter(self._said))]
            self._said[name] = (author, body.domain)
        for user in channel.readers if fresh or self._believes(author, body.sender, surely=True) else ():
            if self._inbox.mark(user, body.sender, body.message_id, body.domain):
                self._effects.persist(InboxMark(user, body.message_id, body.sender, channel.identifier, body.domain))

    def domain(self, channel: Channel, sender: Address, message_id: bytes) -> str:
        """Return the domain that brought a message which has just come; empty: none is known."""
        author, domain = self._said.get((channel.identifier, sender, message_id), (sender, ""))
        return domain if domain and self._believes(author, sender, surely=False) else ""

    def _believes(self, author: Address, sender: Address, *, surely: bool) -> bool:
        """Whether ``author`` may say that ``sender`` is of another domain; ``surely``: is known to be a gateway."""
        routing, here = self._routing, self._users.get(author)
        if self._users.get(sender) is not None or routing.distance(sender):
            return False
        if here is not None:
            return bool(here.gateway)
        return author in routing.gateways() or not (surely or routing.distance(author))
