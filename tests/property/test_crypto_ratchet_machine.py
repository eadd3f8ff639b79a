"""Two users and a network that loses, delays, reorders and repeats; both may begin at once, and backups come back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from qpq.crypto import primitives
from qpq.crypto.errors import AuthenticationError, KeyGoneError, UnknownFormatError
from qpq.crypto.identity import SecretIdentity
from qpq.crypto.prekeys import make_bundle, make_one_time, make_signed, open_bundle
from qpq.crypto.session_header import FORMAT_OPENING
from qpq.crypto.sessions import Session, can_open, read_header
from session_kit import KEM, draw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.stateful import MultipleResults

    from qpq.crypto.prekeys import OneTimePrekey, SignedPrekey

SEEDS = (b"\x11" * 32, b"\x22" * 32)
SIGNED = [make_signed(KEM, draw(64)) for _ in SEEDS]
MANY = 5
"""Sessions of both ends together from which on nobody begins another."""
MAX_LIFE = 29 * 86_400
HOURS = 3600

_used: list[tuple[bytes, bytes]] = []


@dataclass
class Sent:
    """A message on its way; ``epoch`` counts the restored backups of both ends before it was sent."""

    sender: int
    text: bytes
    payload: bytes
    marker: bytes
    session_id: bytes
    epoch: int
    opened: bool = False


@dataclass
class End:
    """One user: the sessions kept, the one to send over first, and the backups taken."""

    own: SecretIdentity
    signed: SignedPrekey
    sessions: list[Session] = field(default_factory=list)
    one_time: dict[bytes, OneTimePrekey] = field(default_factory=dict)
    backups: list[tuple[list[bytes], dict[bytes, OneTimePrekey]]] = field(default_factory=list)

    def state(self) -> list[bytes]:
        return [session.encode() for session in self.sessions]

    def first(self, session: Session) -> None:
        self.sessions = [session, *(other for other in self.sessions if other is not session)]


class Conversation(RuleBasedStateMachine):
    """What the mesh does with sessions, in short; every message that can be opened is opened once, no other ever."""

    messages: Bundle[Sent] = Bundle("messages")

    @initialize()
    def meet(self) -> None:
        self.ends = [End(SecretIdentity(seed), signed) for seed, signed in zip(SEEDS, SIGNED, strict=True)]
        self.life = 1000
        self.epoch = 0
        self.count = 0
        self.start = len(_used)

    def _open(self, end: int, payload: bytes) -> tuple[bytes, Session]:
        """Open as the mesh would; raises AuthenticationError or KeyGoneError and leaves everything as it was."""
        me, peer = self.ends[end], self.ends[1 - end].own
        header = read_header(payload)
        known = [session for session in me.sessions if can_open(session, header)]
        if header.format == FORMAT_OPENING and not known:
            if header.one_time_id and header.one_time_id not in me.one_time:
                raise KeyGoneError("used")
            one_time = me.one_time.get(header.one_time_id)
            session, opened = Session.respond(me.own, peer.address, payload, me.signed, one_time, KEM, life=self.life)
            me.one_time.pop(header.one_time_id, None)
            me.sessions.append(session)
            return opened.plaintext, session
        for session in known or me.sessions:
            try:
                return session.open(payload, KEM, life=self.life).plaintext, session
            except AuthenticationError:
                if known:
                    raise
        raise AuthenticationError("no session opens it")

    def _send(self, end: int) -> Sent:
        me = self.ends[end]
        session = me.sessions[0]
        self.count += 1
        text = b"text %d" % self.count
        payload, marker = session.seal(text, KEM, draw(), life=self.life)
        return Sent(end, text, payload, marker, session.session_id, self.epoch)

    def _begin(self, end: int, with_one_time: bool) -> None:
        me, other = self.ends[end], self.ends[1 - end]
        one_time = make_one_time(draw(32)) if with_one_time else None
        if one_time is not None:
            other.one_time[one_time.key_id] = one_time
        keys = open_bundle(make_bundle(other.own, other.signed, one_time), other.own.address)
        me.first(Session.initiate(me.own, keys, KEM, draw(), life=self.life))

    @precondition(lambda self: sum(len(end.sessions) for end in self.ends) < MANY)
    @rule(target=messages, end=st.integers(0, 1), with_one_time=st.booleans())
    def begin(self, end: int, with_one_time: bool) -> Sent:
        self._begin(end, with_one_time)
        return self._send(end)

    @rule(target=messages, end=st.integers(0, 1))
    def send(self, end: int) -> Sent:
        if not self.ends[end].sessions:
            self._begin(end, with_one_time=False)
        return self._send(end)

    @rule(target=messages, turns=st.lists(st.integers(0, 1), min_size=1, max_size=6), loses=st.integers(0, 2))
    def talk(self, turns: list[int], loses: int) -> MultipleResults[Sent]:
        """Let messages pass at once, those of the last turn but for the last ``loses``."""
        sent = []
        for end in turns:
            sent.append(self.send(end))
            self.deliver(sent[-1])
        lost = [self.send(turns[-1]) for _ in range(loses)]
        return multiple(*sent, *lost)

    @rule(message=messages)
    def deliver(self, message: Sent) -> None:
        reader = self.ends[1 - message.sender]
        before = reader.state()
        try:
            text, session = self._open(1 - message.sender, message.payload)
        except (AuthenticationError, KeyGoneError):
            assert reader.state() == before
            assert message.opened or self.epoch, "a message that could be opened was not"
            return
        assert text == message.text
        assert session.session_id == message.session_id
        assert not message.opened or self.epoch, "a message was opened twice"
        message.opened = True
        reader.first(session)

    @rule(message=messages, place=st.integers(0), flip=st.integers(1, 255))
    def deliver_altered(self, message: Sent, place: int, flip: int) -> None:
        reader = self.ends[1 - message.sender]
        before = reader.state()
        at = place % len(message.payload)
        altered = message.payload[:at] + bytes([message.payload[at] ^ flip]) + message.payload[at + 1 :]
        with pytest.raises((AuthenticationError, KeyGoneError, UnknownFormatError)):
            self._open(1 - message.sender, altered)
        assert reader.state() == before

    @rule(message=messages)
    def prove(self, message: Sent) -> None:
        if message.opened:
            for session in self.ends[message.sender].sessions:
                before = session.encode()
                assert session.proven(message.marker) is (session.encode() != before)

    @rule(message=messages)
    def open_without_storing(self, message: Sent) -> None:
        me = self.ends[1 - message.sender]
        if message.opened or self.epoch:
            return
        header = read_header(message.payload)
        for session in me.sessions:
            if can_open(session, header):
                session.unread(session.open(message.payload, KEM, life=self.life))

    @rule(hours=st.integers(1, 40))
    def wait(self, hours: int) -> None:
        self.life = min(self.life + hours * HOURS, MAX_LIFE)

    @rule(end=st.integers(0, 1))
    def restart(self, end: int) -> None:
        me, peer = self.ends[end], self.ends[1 - end].own
        me.sessions = [Session.decode(state, me.own.address, peer.address) for state in me.state()]

    @rule(end=st.integers(0, 1), count=st.integers(0, 10))
    def jump(self, end: int, count: int) -> None:
        for session in self.ends[end].sessions:
            session.jump(count)

    @rule(end=st.integers(0, 1))
    def back_up(self, end: int) -> None:
        me = self.ends[end]
        me.backups.append((me.state(), dict(me.one_time)))

    @precondition(lambda self: any(end.backups for end in self.ends))
    @rule(end=st.integers(0, 1), data=st.data())
    def restore(self, end: int, data: st.DataObject) -> None:
        me, peer = self.ends[end], self.ends[1 - end].own
        if me.backups:
            states, one_time = data.draw(st.sampled_from(me.backups))
            me.sessions = [Session.decode(state, me.own.address, peer.address) for state in states]
            me.one_time = dict(one_time)
            self.epoch += 1

    @invariant()
    def no_key_and_nonce_is_used_twice(self) -> None:
        used = _used[self.start :]
        assert len(set(used)) == len(used)
        assert len({key for key, _ in used}) == len(used)

    def teardown(self) -> None:
        """Whoever began what: both talk and converge to one session, after a restored backup to a new one."""
        if not hasattr(self, "ends"):
            return
        if self.epoch or not self.ends[0].sessions:
            self._begin(0, with_one_time=True)
        for end in (0, 1, 0, 1):
            sent = self._send(end)
            text, session = self._open(1 - end, sent.payload)
            assert text == sent.text
            self.ends[1 - end].first(session)
        assert self.ends[0].sessions[0].session_id == self.ends[1].sessions[0].session_id


@pytest.fixture(autouse=True)
def _noted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Note every key and nonce that seals."""
    real = primitives.aead_seal

    def noting(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
        _used.append((key, nonce))
        return real(key, nonce, plaintext, aad)

    monkeypatch.setattr(primitives, "aead_seal", noting)
    yield
    _used.clear()


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=200, stateful_step_count=60)
