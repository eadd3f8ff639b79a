"""What the core tells when asked: rows for ``/mesh peers`` and for one message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, Identity
    from qpq.mesh.events import State, Via
    from qpq.wire.frames import Role


@dataclass(frozen=True, slots=True)
class PeerRow:
    """One neighbour or one address that may become one; times are seconds of the caller's clock.

    ``state`` is ``linked``, ``greeting`` (HELLO awaited), ``dialling``, ``waiting`` (back-off to
    ``retry_at``) or ``known``. ``identity`` None: not known, ``proven`` False: only claimed.
    ``reason`` says how the last attempt or link ended.
    """

    identity: Identity | None
    proven: bool
    address: str
    via: Via
    state: str
    since: float
    link: int | None = None
    users: tuple[Address, ...] = ()
    role: Role | None = None
    retry_at: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A local user's message on its way."""

    user: Address
    message_id: bytes
    envelope_id: bytes
    recipient: Address
    state: State
    copies: int
    urgent: bool
    attempts: int
