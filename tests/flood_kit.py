"""One core with neighbours that a test plays itself: frames in, frames out, virtual time, a store in memory."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, TypeVar

from cores import MemoryStore
from qpq.crypto.channels import channel_id, day_of, day_tag, open_key, seal_broadcast
from qpq.crypto.identity import SecretIdentity
from qpq.errors import QpqError
from qpq.mesh import events
from qpq.mesh.core import Core
from qpq.mesh.effects import CloseLink, Count, Deliver, Persist, Recall, SendEnvelope, SendFrame, SendRefused, SetTimer
from qpq.mesh.limits import Limits
from qpq.wire.body import Body, encode_body
from qpq.wire.envelope import Envelope, Mode, decode_envelope, envelope_id, sign_envelope
from qpq.wire.frames import Custody, Frame, Hello, Role, Transfer
from sim.kem import CheapKem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpq.crypto.identity import Address
    from qpq.mesh.effects import Effect
    from qpq.mesh.events import Event

KEY = open_key("weather")
CHANNEL = channel_id(KEY)
NODE = SecretIdentity(b"n" * 32)
USER = SecretIdentity(b"u" * 32)
WRITER = SecretIdentity(b"w" * 32)
UNIX = 1_800_000_000

FrameT = TypeVar("FrameT")


def peer(number: int) -> SecretIdentity:
    """Return the key of the neighbour on link ``number``."""
    return SecretIdentity(bytes([number]) * 32)


def broadcast(
    text: str = "rain",
    *,
    key: bytes = KEY,
    sender: SecretIdentity = WRITER,
    ttl: int = 86_400,
    max_hops: int = 64,
    timestamp: int = 0,
    message_id: bytes | None = None,
    plaintext: bytes | None = None,
) -> Envelope:
    """Return a channel envelope as another node would make it; equal arguments give the same."""
    identifier = message_id if message_id is not None else random.Random(text).randbytes(16)  # noqa: S311 (a seed)
    tag = day_tag(key, day_of(timestamp))
    body = plaintext if plaintext is not None else encode_body(Body(identifier, text, identifier))
    return sign_envelope(
        sender,
        recipient=tag,
        payload=seal_broadcast(key, identifier, body, tag=tag, sender=sender.address),
        commitment=identifier,
        ttl=ttl,
        max_hops=max_hops,
        timestamp=timestamp,
        mode=Mode.CHANNEL,
    )


def short(envelope: Envelope) -> bytes:
    return envelope_id(envelope)[:16]


def news(envelope: Envelope, *, hops: int = 1, age: int = 0) -> Transfer:
    """Return an envelope as the tree brings it."""
    return Transfer(hops, 1, age, envelope)


def made_up(envelope: Envelope, *, hops: int = 1, age: int = 0) -> Transfer:
    """Return an envelope as reconciliation brings it."""
    return Transfer(hops, 0, age, envelope)


class Station:
    """A core, its store and its links; what it sends is in ``out``, all its effects in ``effects``."""

    def __init__(
        self,
        links: Iterable[int] = (),
        *,
        role: Role = Role.RELAY,
        store: Any = None,
        clock: float | None = None,
        seed: int = 0,
        **limits: object,
    ) -> None:
        self.now = 100.0
        self.store: Any = store if store is not None else MemoryStore()
        self.core = Core(
            NODE,
            boot=1,
            random=random.Random(seed).randbytes,  # noqa: S311 (a seeded run)
            limits=Limits(target_links=0, **limits),  # type: ignore[arg-type]
            role=role,
            kem=CheapKem(random.Random(seed).randbytes),  # noqa: S311 (a seeded run)
        )
        self.core.restore(self.store.restore())
        self.timer: float | None = None
        self.out: list[tuple[int, Frame]] = []
        self.effects: list[Effect] = []
        self.closed: set[int] = set()
        if clock is not None:
            self.tell(events.ClockSet(clock - self.now, trusted=True))
        self.tell(events.UserAdded(USER.seed))
        for number in links:
            self.link(number)
        self.clear()

    def link(
        self, number: int, *, initiator: bool = False, max_frame: int = 33_024, time: int = 0, key: int = 0
    ) -> None:
        """Let neighbour ``key`` (that of the link's number) have a usable link."""
        identity = peer(key or number).identity
        self.tell(events.LinkUp(number, identity, f"peer{number}:7000", initiator))
        hello = Hello(1, 1, 0, 1, time, time > 0, 0, 0, Role.RELAY, max_frame, 0)
        self.tell(events.FrameReceived(number, hello))

    def drop(self, number: int) -> None:
        self.tell(events.LinkDown(number, "gone"))

    def join(self, key: bytes = KEY, *, signers: Iterable[Address] = (), user: SecretIdentity = USER) -> None:
        """Let a user read a channel."""
        self.tell(events.ChannelJoined(user.address, key, frozenset(signers)))

    def bring(self, number: int, *frames: Frame) -> None:
        """Let a neighbour send frames."""
        self.tell(events.FramesReceived(number, frames))

    def post(self, text: str = "sun", *, ttl: int = 86_400, message_id: bytes = b"m" * 16, **fields: object) -> None:
        """Let the local user write to the channel."""
        made = {"user": USER.address, "channel": CHANNEL, **fields}
        self.tell(events.SendBroadcast(message_id=message_id, text=text, ttl=ttl, **made))  # type: ignore[arg-type]

    def wait(self, seconds: float) -> None:
        """Let time pass, with every timer that is due."""
        end = self.now + seconds
        while self.timer is not None and self.timer <= end:
            self.now, self.timer = max(self.now, self.timer), None
            self.tell(events.Tick())
        self.now = end

    def tell(self, event: Event) -> None:
        for effect in self.core.handle(event, self.now):
            self.effects.append(effect)
            if isinstance(effect, Persist):
                try:
                    self.store.apply(effect.operations)
                except QpqError as fault:
                    self.tell(events.PersistFailed(effect.operations, str(fault)))
                    return
            elif isinstance(effect, SetTimer):
                self.timer = effect.at
            elif isinstance(effect, SendFrame):
                self.out.append((effect.link, effect.frame))
            elif isinstance(effect, SendEnvelope):
                data = self.store.envelope(effect.envelope_id)
                if data is not None:
                    frame = Transfer(effect.hops, effect.copies, effect.age, decode_envelope(data))
                    self.out.append((effect.link, frame))
            elif isinstance(effect, CloseLink):
                self.closed.add(effect.link)
            elif isinstance(effect, Recall):
                found = [self.store.envelope(envelope_id) for envelope_id in effect.envelope_ids]
                self.tell(events.Recalled(tuple(decode_envelope(data) for data in found if data is not None)))

    def clear(self) -> None:
        self.out.clear()
        self.effects.clear()

    # --- what came of it ---------------------------------------------------------------------------

    def sent(self, number: int, kind: type[FrameT]) -> list[FrameT]:
        """Return the frames of one kind that went out on a link."""
        return [frame for link, frame in self.out if link == number and isinstance(frame, kind)]

    def to(self, kind: type[Frame]) -> list[int]:
        """Return the links on which frames of one kind went out, in order."""
        return [link for link, frame in self.out if isinstance(frame, kind)]

    def answers(self, number: int) -> list[tuple[bytes, int]]:
        """Return what was answered on a link."""
        return [answer for frame in self.sent(number, Custody) for answer in frame.answers]

    def count(self, name: str) -> int:
        """Return how often something was counted."""
        return sum(item.amount for item in self.effects if isinstance(item, Count) and item.name == name)

    def shown(self) -> list[str]:
        """Return the texts shown to users."""
        return [effect.text for effect in self.effects if isinstance(effect, Deliver)]

    def refusals(self) -> list[str]:
        """Return why messages of users were refused."""
        return [effect.reason for effect in self.effects if isinstance(effect, SendRefused)]

    def restarted(self, links: Iterable[int] = (), **limits: object) -> Station:
        """Return the node after a crash: what the store kept, a new core."""
        return Station(links, store=self.store, seed=1, **limits)
