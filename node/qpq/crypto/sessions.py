"""Sessions: what two users share for their messages to each other, from the agreement to the ratchet's last message.

The initiator's messages are of format 3, which carries the agreement, until a receipt proves that one arrived or a
message came back; then of format 2 (session_header.py has both). A message's key is HKDF of the ratchet's message key
and 16 random bytes in the header, so that a state restored from an old backup uses no key and nonce twice. The AEAD is
ChaCha20-Poly1305 with the binding of the agreement and the header as associated data.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from qpq.crypto import agreement, primitives, session_state
from qpq.crypto import kem as mlkem
from qpq.crypto.errors import AuthenticationError, CryptoError
from qpq.crypto.prekeys import KEY_ID_BYTES
from qpq.crypto.primitives import KEY_BYTES, NONCE_BYTES, TAG_BYTES, spend, taken
from qpq.crypto.ratchet import Ratchet
from qpq.crypto.session_header import (
    FORMAT_OPENING,
    FORMAT_SESSION,
    OPENING_BYTES,
    RANDOM_BYTES,
    Header,
    encode_header,
    read_header,
)
from qpq.crypto.session_state import State

if TYPE_CHECKING:
    from qpq.crypto.identity import Address, SecretIdentity
    from qpq.crypto.kem import Kem
    from qpq.crypto.prekeys import Bundle, OneTimePrekey, SignedPrekey
    from qpq.crypto.ratchet import Looked

__all__ = [
    "ENTROPY_BYTES",
    "FORMAT_OPENING",
    "FORMAT_SESSION",
    "MAX_OVERHEAD",
    "Header",
    "Opened",
    "Session",
    "can_open",
    "overhead",
    "read_header",
]

ENTROPY_BYTES: Final = 64
"""Random bytes that ``Session.initiate`` and ``Session.seal`` want each."""

_NUMBERS: Final = 8
_PLAIN: Final = 2 + KEY_BYTES + _NUMBERS + RANDOM_BYTES + TAG_BYTES
_FIRST: Final = _PLAIN + OPENING_BYTES + KEY_ID_BYTES
MAX_OVERHEAD: Final = max(_FIRST, _PLAIN + mlkem.PUBLIC_BYTES, _PLAIN + mlkem.CIPHERTEXT_BYTES)
"""Bytes that a seal adds at most, in any state of a session: 1258."""

_MESSAGE_INFO: Final = b"qpq/1/message"
_RODE_OPENING: Final = 1
_RODE_KEM_KEY: Final = 2
_RODE_KEM_CIPHERTEXT: Final = 4
_MARKER_BYTES: Final = agreement.SESSION_ID_BYTES + 1 + KEY_ID_BYTES


@dataclass(frozen=True, slots=True)
class Opened:
    """An opened message; what is private serves ``Session.unread``."""

    plaintext: bytes
    _looked: Looked = field(repr=False)

    @property
    def is_next(self) -> bool:
        """Whether it was the next one of a chain that goes on: a state from before it opens what comes behind it."""
        looked = self._looked
        return bool(looked.chain) and looked.step is None and not looked.skipped


class Session:
    """One side of a session with ``peer``; every change is to be stored with what the message brought about.

    ``life`` is always the node's clock of seconds that never goes back, but for a restored backup.
    """

    __slots__ = ("_binding", "_ephemeral", "_is_initiator", "_opening", "_ratchet", "last_step", "session_id")

    def __init__(self, state: State) -> None:
        self.session_id = state.session_id
        """8 bytes, the same on both sides."""
        self.last_step = state.last_step
        """Life (s) of the last own ratchet step, or of the beginning."""
        self._is_initiator = state.is_initiator
        self._binding = state.binding
        self._ephemeral = state.ephemeral
        self._opening = state.opening
        self._ratchet = state.ratchet

    @classmethod
    def initiate(cls, own: SecretIdentity, bundle: Bundle, kem: Kem, entropy: bytes, *, life: int) -> Session:
        """Begin a session with a bundle's owner; ``entropy`` is ENTROPY_BYTES random bytes.

        Raises CryptoError for a bundle with impossible keys.
        """
        agreed, opening = agreement.begin(own, bundle, kem, entropy)
        session_id = agreement.session_id(own.address, bundle.owner, agreed.ephemeral)
        ratchet = Ratchet(agreed.secret, remote=bundle.x25519, kem_life=life)
        return cls(State(session_id, True, agreed.binding, agreed.ephemeral, opening, life, ratchet))

    @classmethod
    def respond(  # noqa: PLR0917 (who, what, and the three secrets that open it)
        cls,
        own: SecretIdentity,
        peer: Address,
        payload: bytes,
        signed: SignedPrekey,
        one_time: OneTimePrekey | None,
        kem: Kem,
        *,
        life: int,
    ) -> tuple[Session, Opened]:
        """Take up the session that an opening message of ``peer`` began, with the prekeys its header names.

        Raises UnknownFormatError, KeyGoneError when these are other prekeys, AuthenticationError for whatever was
        altered or is for somebody else.
        """
        header = read_header(payload)
        if header.format != FORMAT_OPENING:
            raise AuthenticationError("a message that begins no session")
        agreed = agreement.answer(own, peer, header, signed, one_time, kem=kem)
        session_id = agreement.session_id(peer, own.address, agreed.ephemeral)
        ratchet = Ratchet(agreed.secret, own_secret=signed.x25519_secret)
        session = cls(State(session_id, False, agreed.binding, agreed.ephemeral, b"", life, ratchet))
        return session, session._open(payload, header, kem, life)

    def seal(self, plaintext: bytes, kem: Kem, entropy: bytes, *, life: int) -> tuple[bytes, bytes]:
        """Return the sealed payload, and a marker for ``proven`` once its receipt comes (17 bytes, or empty).

        ``entropy`` is ENTROPY_BYTES random bytes, secret and never used again. Raises CryptoError for another length
        and for a session that has come to its end.
        """
        if len(entropy) != ENTROPY_BYTES:
            raise CryptoError(f"sealing in a session takes {ENTROPY_BYTES} random bytes, not {len(entropy)}")
        ratchet = self._ratchet
        secret = entropy[:KEY_BYTES]
        sending, stepped = ratchet.send(kem, secret, life)
        if stepped:
            self.last_step = life
            spend(secret)
        random = entropy[KEY_BYTES : KEY_BYTES + RANDOM_BYTES]
        header = Header(
            FORMAT_OPENING if self._opening else FORMAT_SESSION,
            ratchet.own_public,
            sending.n,
            sending.pn,
            random,
            kem_key=ratchet.kem_public,
            kem_ciphertext=ratchet.kem_ciphertext,
        )
        front = encode_header(self._opening, header)
        key, nonce = _message_key(sending.key, random)
        return front + primitives.aead_seal(key, nonce, plaintext, self._binding + front), self._marker()

    def open(self, payload: bytes, kem: Kem, *, life: int) -> Opened:
        """Open a message of this session; when it raises, nothing has changed.

        Raises UnknownFormatError, KeyGoneError for a message that was opened before or whose key is no longer kept,
        AuthenticationError for whatever was altered or belongs to another session.
        """
        header = read_header(payload)
        if header.format == FORMAT_OPENING and not self._began_with(header):
            raise AuthenticationError("a message that begins another session")
        opened = self._open(payload, header, kem, life)
        self._opening = b""
        return opened

    def unread(self, opened: Opened) -> None:
        """Wait again for a message that was opened and could not be stored."""
        self._ratchet.put_back(opened._looked)  # noqa: SLF001 (made by this class)

    def proven(self, marker: bytes) -> bool:
        """Take note that the message with this marker arrived; whether that changed the state."""
        if len(marker) != _MARKER_BYTES or not marker.startswith(self.session_id):
            return False
        rode, chain = marker[len(self.session_id)], marker[len(self.session_id) + 1 :]
        ratchet = self._ratchet
        changed = False
        if rode & _RODE_OPENING and self._opening:
            self._opening = b""
            changed = True
        if ratchet.own_public[:KEY_ID_BYTES] == chain:
            if rode & _RODE_KEM_KEY and ratchet.kem_public:
                ratchet.kem_public = b""
                changed = True
            if rode & _RODE_KEM_CIPHERTEXT and ratchet.kem_ciphertext:
                ratchet.kem_ciphertext = b""
                changed = True
        return changed

    def jump(self, count: int) -> None:
        """Leave out ``count`` (0..256) numbers of what is sent next: a restored state may not know the last ones."""
        self._ratchet.jump(count)

    @property
    def goes_on(self) -> bool:
        """Whether the next message that is sent belongs to the same chain as the one before."""
        return bool(self._ratchet.sending)

    def encode(self, ahead: int = 0) -> bytes:
        """Return the state for the store, all of it secret; mostly under 500 bytes.

        With ``ahead`` (0..256) it is that after so many more messages sent, so that these need not be written.
        """
        ratchet = self._ratchet
        if ahead:
            ratchet = replace(ratchet)
            ratchet.jump(ahead)
        return session_state.encode(
            State(
                self.session_id,
                self._is_initiator,
                self._binding,
                self._ephemeral,
                self._opening,
                self.last_step,
                ratchet,
            )
        )

    @classmethod
    def decode(cls, data: bytes, own: Address, peer: Address) -> Session:
        """Read what ``encode`` gave.

        Raises UnknownFormatError for a state of a later version, CryptoError for one that is damaged or belongs to
        another pair of users.
        """
        state = session_state.decode(data)
        ends = (own, peer) if state.is_initiator else (peer, own)
        if agreement.session_id(*ends, state.ephemeral) != state.session_id:
            raise CryptoError("the state of a session between two others")
        return cls(state)

    def __repr__(self) -> str:
        """Name the session only."""
        return f"<Session {self.session_id.hex()}>"

    def _open(self, payload: bytes, header: Header, kem: Kem, life: int) -> Opened:
        looked = self._ratchet.look(header, kem, life)
        key, nonce = _message_key(looked.kept.key, header.random)
        front = payload[: header.end]
        plaintext = primitives.aead_open(key, nonce, payload[header.end :], self._binding + front)
        self._ratchet.accept(looked, life)
        return Opened(plaintext, looked)

    def _began_with(self, header: Header) -> bool:
        return not self._is_initiator and header.ephemeral == self._ephemeral

    def _marker(self) -> bytes:
        ratchet = self._ratchet
        rode = (
            (_RODE_OPENING if self._opening else 0)
            | (_RODE_KEM_KEY if ratchet.kem_public else 0)
            | (_RODE_KEM_CIPHERTEXT if ratchet.kem_ciphertext else 0)
        )
        return b"".join((self.session_id, bytes((rode,)), ratchet.own_public[:KEY_ID_BYTES])) if rode else b""


def can_open(session: Session, header: Header) -> bool:
    """Whether a message with this header surely belongs to the session; no secret is used.

    A message of format 2 with a new ratchet key may belong to any session of the pair: try them.
    """
    if header.format == FORMAT_OPENING:
        return session._began_with(header)  # noqa: SLF001 (the same concern)
    return session._ratchet.knows(header.ratchet_key)  # noqa: SLF001 (the same concern)


def overhead(session: Session | None) -> int:
    """Return the bytes that the next seal adds at most, for ``None`` the first of a new session."""
    if session is None:
        return _FIRST
    ratchet, opening = session._ratchet, session._opening  # noqa: SLF001 (the same concern)
    if ratchet.sending:
        return _PLAIN + len(opening) + len(ratchet.kem_public) + len(ratchet.kem_ciphertext)
    if opening:
        return _PLAIN + len(opening)
    return _PLAIN + (mlkem.CIPHERTEXT_BYTES if ratchet.peer_kem else mlkem.PUBLIC_BYTES)


def _message_key(key: bytes, random: bytes) -> tuple[bytes, bytes]:
    """Return the AEAD's key and nonce."""
    derived = primitives.hkdf(key, salt=random, info=_MESSAGE_INFO, length=KEY_BYTES + NONCE_BYTES)
    parts = taken(derived[:KEY_BYTES]), derived[KEY_BYTES:]
    spend(derived)
    return parts
