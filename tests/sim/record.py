"""What happened in a run: messages and their fates, frames by kind, in the order of virtual time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qpq.mesh.records import OutboxInsert, OutboxReseal, RelayInsert
from qpq.wire.envelope import Mode, decode_envelope
from qpq.wire.frames import Transfer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpq.mesh import effects
    from qpq.mesh.effects import State
    from qpq.mesh.records import Operation
    from qpq.wire.frames import Frame
    from sim.agenda import Agenda
    from sim.hosts import Host


@dataclass(slots=True)
class Message:
    """A message that a user has sent; ``arrived`` maps the node of each reader to when it had it first."""

    sent_at: float
    sender: int
    recipients: frozenset[int]
    kind: str
    ttl: int
    arrived: dict[int, float] = field(default_factory=dict)
    again: int = 0
    """How often it was shown to somebody who had it: must stay 0."""
    states: list[tuple[float, State]] = field(default_factory=list)
    refused: str = ""
    good: bool = True
    """Whether every recipient can be reached over links of which each delivers at least half."""
    reachable: bool = True
    transfers: int = 0
    """How often an envelope of it was sent over a link."""
    holders: set[int] = field(default_factory=set)
    """Nodes an envelope of it has reached."""


class Record:
    """Takes note while a run goes on; ``report`` makes figures of it."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self.messages: dict[bytes, Message] = {}
        self.strange = 0
        """Messages shown that nobody here had sent to whoever saw them."""
        self.frames: Counter[str] = Counter()
        self.frame_bytes: Counter[str] = Counter()
        """Bytes of the link model's streams by kind of frame, each counted once however often it is sent again."""
        self.punished: Counter[tuple[int, int]] = Counter()
        """How often each node ended a link because the other broke the rules."""
        self.by_commitment: dict[bytes, Message] = {}
        self.probes: list[effects.ProbeDone] = []

    def sent(self, message_id: bytes, message: Message) -> None:
        """Expect a message to arrive."""
        self.messages[message_id] = message

    def frame(self, _host: Host, frame: Frame) -> None:
        """Count a frame that a node sends; an envelope that moves is a transmission of its kind."""
        kind = type(frame).__name__
        self.frames[kind] += 1
        if type(frame) is Transfer:
            self.frames["Transfer " + frame.envelope.mode.name.lower()] += 1
            message = self.by_commitment.get(frame.envelope.commitment)
            if message is not None:
                message.transfers += 1

    def made(self, message_id: bytes, operations: Iterable[Operation]) -> None:
        """Note which envelope carries a message."""
        for operation in operations:
            if isinstance(operation, OutboxInsert | RelayInsert) and operation.envelope:
                envelope = decode_envelope(operation.envelope)
                if isinstance(operation, OutboxInsert) or envelope.mode is Mode.CHANNEL:  # else a word about keys
                    self.by_commitment[envelope.commitment] = self.messages[message_id]

    def resealed(self, operations: Iterable[Operation]) -> None:
        """Note which envelope carries a message from now on."""
        for operation in operations:
            if type(operation) is OutboxReseal and operation.message_id in self.messages:
                envelope = decode_envelope(operation.envelope)
                self.by_commitment[envelope.commitment] = self.messages[operation.message_id]

    def received(self, host: Host, frame: Transfer) -> None:
        """Note that an envelope has reached a node."""
        message = self.by_commitment.get(frame.envelope.commitment)
        if message is not None:
            message.holders.add(host.number)

    def delivered(self, host: Host, effect: effects.Deliver) -> None:
        """Take note of a message that was shown to a user."""
        message = self.messages.get(effect.message_id)
        if message is None or host.number not in message.recipients:
            self.strange += 1
        elif host.number in message.arrived:
            message.again += 1
        else:
            message.arrived[host.number] = self._agenda.now

    def state(self, _host: Host, effect: effects.StateChanged) -> None:
        """Take note of what a sender is told."""
        message = self.messages.get(effect.message_id)
        if message is not None:
            message.states.append((self._agenda.now, effect.state))

    def refused(self, _host: Host, effect: effects.SendRefused) -> None:
        """Take note of a message that was not taken."""
        message = self.messages.get(effect.message_id)
        if message is not None:
            message.refused = effect.reason

    def probed(self, _host: Host, effect: effects.ProbeDone) -> None:
        """Take note of an answered, or given up, ping."""
        self.probes.append(effect)
