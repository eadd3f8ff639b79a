"""The Double Ratchet (Signal's specification) with a step of ML-KEM-768 once a day of conversation.

Its KDFs: root and chain key from HKDF-SHA-256 (salt: root key), chain and message key from HMAC-SHA-256 (0x02, 0x01).
A new ratchet key is made when something is sent, not when something came (the specification's "deferring new ratchet
key generation"): until then no secret of the next chain exists, and reading alone draws no randomness.

The KEM step: a side whose last one is a day of life ago, or that has had none, makes a KEM key with its next ratchet
key, and its messages carry the key until a receipt proves that one arrived. The peer's next chain begins with
``DH || KEM secret`` instead of ``DH``, and its messages carry the ciphertext, likewise. A message without them was
therefore sent when the other side had them already, and any order will do.

Reading is in two steps, so that a message that does not open changes nothing: ``look`` computes, ``accept`` keeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from qpq.crypto import primitives
from qpq.crypto.errors import AuthenticationError, CryptoError, KeyGoneError
from qpq.crypto.primitives import KEY_BYTES, spend, taken
from qpq.crypto.session_header import MAX_NUMBER

if TYPE_CHECKING:
    from qpq.crypto.kem import Kem
    from qpq.crypto.session_header import Header

MAX_SKIPPED: Final = 256
"""Keys kept of messages that have not come, in a session and over all its chains; the oldest goes."""
MAX_SKIP: Final = 256
"""Messages that one header may leave out."""
MAX_JUMP: Final = 256
KEEP_S: Final = 31 * 86_400
"""Seconds of life after which a kept key goes: no message lives longer than 30 days."""
KEM_INTERVAL_S: Final = 86_400
PAST_CHAINS: Final = 8
"""The peer's last ratchet keys that are remembered, to tell a message that came too late from an altered one."""
MARK_BYTES: Final = 8
"""Bytes of a past ratchet key that are remembered."""
NEVER: Final = -1

_ROOT_INFO: Final = b"qpq/1/ratchet"
_MESSAGE: Final = b"\x01"
_CHAIN: Final = b"\x02"


@dataclass(frozen=True, slots=True)
class Kept:
    """A message's key and the second of life at which it was first kept."""

    key: bytes = field(repr=False)
    life: int


@dataclass(frozen=True, slots=True)
class Sending:
    """One message to be sent: its key, and what its header shows."""

    key: bytes = field(repr=False)
    n: int
    pn: int


@dataclass(frozen=True, slots=True)
class Step:
    """What the first message of a new chain of the peer changes."""

    root: bytes = field(repr=False)
    peer_kem: bytes
    mixed: bool


@dataclass(frozen=True, slots=True)
class Looked:
    """What reading one message would change; ``chain`` is empty when its key had been kept."""

    ratchet_key: bytes
    n: int
    kept: Kept
    chain: bytes = field(default=b"", repr=False)
    skipped: tuple[tuple[bytes, int, bytes], ...] = field(default=(), repr=False)
    step: Step | None = None


@dataclass(slots=True, repr=False)
class Ratchet:
    """One side's state. Keys have 32 bytes and are empty while there is none.

    ``sending`` and ``own_secret`` are there from a step of one's own until the peer's next chain; ``peer_kem`` is what
    the peer's current chain carried, ``kem_secret`` belongs to what one's own carries.
    """

    root: bytes
    own_secret: bytes = b""
    own_public: bytes = b""
    sending: bytes = b""
    sent: int = 0
    previous: int = 0
    remote: bytes = b""
    receiving: bytes = b""
    received: int = 0
    kem_secret: bytes = b""
    kem_public: bytes = b""
    kem_ciphertext: bytes = b""
    peer_kem: bytes = b""
    kem_life: int = NEVER
    past: tuple[bytes, ...] = ()
    skipped: dict[tuple[bytes, int], Kept] = field(default_factory=dict)

    def send(self, kem: Kem, secret: bytes, life: int) -> tuple[Sending, bool]:
        """Return the next message's key, and whether a new chain began; ``secret`` is 32 random bytes for its key.

        Raises CryptoError when the chain has reached its end.
        """
        self._forget_old(life)
        stepped = not self.sending
        if stepped:
            self._step(kem, secret, life)
        if self.sent >= MAX_NUMBER:
            raise CryptoError("too many messages without an answer: begin a new session")
        self.sending, key = _next(self.sending)
        self.sent += 1
        return Sending(key, self.sent - 1, self.previous), stepped

    def jump(self, count: int) -> None:
        """Leave out ``count`` (0..256) numbers of the current chain; raises CryptoError."""
        if not 0 <= count <= MAX_JUMP:
            raise CryptoError(f"a chain cannot jump by {count}")
        if self.sending:
            count = min(count, MAX_NUMBER - self.sent)
            for _ in range(count):
                self.sending = taken(primitives.hmac_sha256(self.sending, _CHAIN))
            self.sent += count

    def knows(self, ratchet_key: bytes) -> bool:
        """Whether the peer used this ratchet key in what came before."""
        return self._is_current(ratchet_key) or self._is_past(ratchet_key)

    def look(self, header: Header, kem: Kem, life: int) -> Looked:
        """Return a message's key and what reading it changes; nothing has changed yet.

        Raises KeyGoneError for a message that was read before or is no longer waited for, AuthenticationError for one
        that cannot be the peer's.
        """
        ratchet_key, n = header.ratchet_key, header.n
        kept = self.skipped.get((ratchet_key, n))
        if kept is not None:
            return Looked(ratchet_key, n, kept)
        if self._is_current(ratchet_key):
            if n < self.received:
                raise KeyGoneError("a message that was opened before, or is no longer waited for")
            _check_skip(n - self.received)
            chain, skipped, key = _skip(ratchet_key, self.receiving, self.received, n)
            return Looked(ratchet_key, n, Kept(key, life), chain, tuple(skipped))
        if self._is_past(ratchet_key):
            raise KeyGoneError("a message of an earlier part of the conversation that is no longer waited for")
        return self._look_ahead(header, kem, life)

    def accept(self, looked: Looked, life: int) -> None:
        """Keep what ``look`` computed: the message was opened."""
        self._forget_old(life)
        if not looked.chain:
            del self.skipped[looked.ratchet_key, looked.n]
            return
        if looked.step is not None:
            self._turn(looked, looked.step, life)
        for ratchet_key, n, key in looked.skipped:
            self._keep(ratchet_key, n, Kept(key, life))
        self.receiving, self.received = looked.chain, looked.n + 1

    def put_back(self, looked: Looked) -> None:
        """Wait again for a message that had been accepted."""
        self._keep(looked.ratchet_key, looked.n, looked.kept)

    def _is_current(self, ratchet_key: bytes) -> bool:
        return bool(self.receiving) and ratchet_key == self.remote

    def _is_past(self, ratchet_key: bytes) -> bool:
        return ratchet_key[:MARK_BYTES] in self.past

    def _look_ahead(self, header: Header, kem: Kem, life: int) -> Looked:
        """Look at the first message of the peer's next chain that came."""
        if not self.own_secret:
            raise AuthenticationError("a message from a chain that cannot be: nothing was sent since the last one")
        if bool(header.kem_ciphertext) is not bool(self.kem_secret):
            raise AuthenticationError("a message with the wrong KEM part")
        rest = max(header.pn - self.received, 0) if self.receiving else 0
        _check_skip(rest + header.n)
        skipped = _skip(self.remote, self.receiving, self.received, self.received + rest)[1] if rest else []
        try:
            secret = primitives.x25519(self.own_secret, header.ratchet_key)
            if header.kem_ciphertext:
                secret = taken(secret + kem.decapsulate(self.kem_secret, header.kem_ciphertext))
            if header.kem_key:
                kem.encapsulate(header.kem_key)  # so that a key that is none is refused now, not when one answers
        except CryptoError:
            raise AuthenticationError("a message with impossible keys") from None
        root, chain = _next_root(self.root, secret)
        chain, more, key = _skip(header.ratchet_key, chain, 0, header.n)
        step = Step(root, header.kem_key, bool(header.kem_ciphertext))
        return Looked(header.ratchet_key, header.n, Kept(key, life), chain, (*skipped, *more), step)

    def _turn(self, looked: Looked, step: Step, life: int) -> None:
        """Begin the peer's next chain; one's own has come to its end."""
        if self.receiving:
            self.past = (*self.past, self.remote[:MARK_BYTES])[-PAST_CHAINS:]
        self.root, self.remote, self.peer_kem = step.root, looked.ratchet_key, step.peer_kem
        self.own_secret = self.own_public = self.sending = b""
        self.kem_secret = self.kem_public = self.kem_ciphertext = b""
        self.previous, self.sent = self.sent, 0
        if step.mixed:
            self.kem_life = life

    def _step(self, kem: Kem, secret: bytes, life: int) -> None:
        """Begin a chain of one's own."""
        public = primitives.x25519_public(secret)
        shared = primitives.x25519(secret, self.remote)
        ciphertext, kem_life = b"", self.kem_life
        if self.peer_kem:
            ciphertext, kem_secret = kem.encapsulate(self.peer_kem)
            shared = taken(shared + kem_secret)
            kem_life = life
        due = kem_life == NEVER or not 0 <= life - kem_life < KEM_INTERVAL_S
        offered = kem.keygen() if due and self.receiving else (b"", b"")
        self.root, self.sending = _next_root(self.root, shared)
        self.own_secret, self.own_public = primitives.kept(secret), public
        self.kem_ciphertext, self.kem_life, self.peer_kem = ciphertext, kem_life, b""
        self.kem_public, self.kem_secret = offered

    def _keep(self, ratchet_key: bytes, n: int, kept: Kept) -> None:
        if len(self.skipped) >= MAX_SKIPPED:
            del self.skipped[next(iter(self.skipped))]
        self.skipped[ratchet_key, n] = kept

    def _forget_old(self, life: int) -> None:
        old = [name for name, kept in self.skipped.items() if life - kept.life > KEEP_S]
        for name in old:
            del self.skipped[name]


def _check_skip(count: int) -> None:
    if count > MAX_SKIP:
        raise AuthenticationError(f"a message that leaves out {count} others; at most {MAX_SKIP} are waited for")


def _skip(
    ratchet_key: bytes, chain: bytes, start: int, end: int
) -> tuple[bytes, list[tuple[bytes, int, bytes]], bytes]:
    """Return a chain behind message ``end``, the keys of the messages from ``start`` before it, and its own."""
    skipped = []
    for n in range(start, end):
        chain, key = _next(chain)
        skipped.append((ratchet_key, n, key))
    chain, key = _next(chain)
    return chain, skipped, key


def _next(chain: bytes) -> tuple[bytes, bytes]:
    """Return the next chain key and the message key."""
    return taken(primitives.hmac_sha256(chain, _CHAIN)), taken(primitives.hmac_sha256(chain, _MESSAGE))


def _next_root(root: bytes, shared: bytes) -> tuple[bytes, bytes]:
    """Return the next root key and a chain key."""
    keys = primitives.hkdf(shared, salt=root, info=_ROOT_INFO, length=2 * KEY_BYTES)
    root, chain = taken(keys[:KEY_BYTES]), taken(keys[KEY_BYTES:])
    spend(keys)
    return root, chain
