"""Bodies between users and the gateways of their mesh: what goes to another domain, and what comes from there.

``word`` says of a body whether it counts against what a link may bring of words to nodes.

An inner envelope is an ordinary one, signed and sealed from one user to another. It travels in OUTWARD to a gateway
and in INWARD from one; so a gateway can neither read nor forge it, and its receipt (PROOF) proves the delivery to
the sender from end to end. What a gateway says besides (domains, refusals, addresses) is its own word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from qpq.wire.body import MESSAGE_ID_SIZE, SECRET_SIZE, BodyKind
from qpq.wire.domain import check_domain, check_user
from qpq.wire.envelope import ADDRESS_SIZE, MAX_INNER
from qpq.wire.errors import FieldError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.crypto.identity import Address

HASH_SIZE: Final = 32
MAX_REASON: Final = 256
"""Bytes in UTF-8 of a reason."""


@dataclass(frozen=True, slots=True)
class OutwardBody:
    """To a gateway: carry the inner ``envelope`` to ``domain``. Raises FieldError."""

    word: ClassVar[bool] = False
    secret: bytes
    domain: str
    envelope: bytes

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _check_inner(self.secret, self.domain, self.envelope)

    def items(self) -> list[int | bytes | str]:
        """Return what stands on the wire."""
        return [BodyKind.OUTWARD, self.secret, self.domain, self.envelope]


@dataclass(frozen=True, slots=True)
class InwardBody:
    """From a gateway: the inner ``envelope``, which came from ``domain``. Raises FieldError."""

    word: ClassVar[bool] = False
    secret: bytes
    domain: str
    envelope: bytes

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _check_inner(self.secret, self.domain, self.envelope)

    def items(self) -> list[int | bytes | str]:
        """Return what stands on the wire."""
        return [BodyKind.INWARD, self.secret, self.domain, self.envelope]


@dataclass(frozen=True, slots=True)
class ProofBody:
    """The receipt (``proof`` and ``digest``) of an inner envelope, to a gateway or from one. Raises FieldError.

    ``domain`` and ``user`` name who is at the other end: to a gateway who sent the envelope and gets the receipt,
    from one who received it.
    """

    word: ClassVar[bool] = False
    secret: bytes
    domain: str
    user: Address
    proof: bytes
    digest: bytes

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _sized("a receipt secret", self.secret, SECRET_SIZE)
        check_domain(self.domain)
        _sized("an address", self.user, ADDRESS_SIZE)
        _sized("a receipt secret", self.proof, SECRET_SIZE)
        _sized("an envelope's hash", self.digest, HASH_SIZE)

    def items(self) -> list[int | bytes | str]:
        """Return what stands on the wire."""
        return [BodyKind.PROOF, self.secret, self.domain, self.user, self.proof, self.digest]


@dataclass(frozen=True, slots=True)
class LookupBody:
    """To a gateway: which address has the user ``name`` of ``domain``? Raises FieldError."""

    word: ClassVar[bool] = True
    secret: bytes
    name: str
    domain: str

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _sized("a receipt secret", self.secret, SECRET_SIZE)
        check_user(self.name)
        check_domain(self.domain)

    def items(self) -> list[int | bytes | str]:
        """Return what stands on the wire."""
        return [BodyKind.LOOKUP, self.secret, self.name, self.domain]


@dataclass(frozen=True, slots=True)
class FoundBody:
    """From a gateway: the answer to the LOOKUP whose secret is ``token``. Raises FieldError.

    ``address`` is empty where there is none, and ``reason`` says why; ``domain`` is empty where the user is of this
    very mesh.
    """

    word: ClassVar[bool] = True
    secret: bytes
    token: bytes
    address: bytes
    domain: str
    reason: str

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _sized("a receipt secret", self.secret, SECRET_SIZE)
        _sized("a token", self.token, SECRET_SIZE)
        if self.address:
            _sized("an address", self.address, ADDRESS_SIZE)
        if self.domain:
            check_domain(self.domain)
        _check_reason(self.reason)

    def items(self) -> list[int | bytes | str]:
        """Return what stands on the wire."""
        return [BodyKind.FOUND, self.secret, self.token, self.address, self.domain, self.reason]


@dataclass(frozen=True, slots=True)
class RefusalBody:
    """From a gateway: the inner envelope ``about`` (its id) will not be delivered, and why. Raises FieldError.

    No ``reason``: it is not carried at present, for lack of room.
    """

    word: ClassVar[bool] = True
    secret: bytes
    about: bytes
    reason: str

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _sized("a receipt secret", self.secret, SECRET_SIZE)
        _sized("an envelope id", self.about, HASH_SIZE)
        _check_reason(self.reason)

    def items(self) -> list[int | bytes | str]:
        """Return what stands on the wire."""
        return [BodyKind.REFUSAL, self.secret, self.about, self.reason]


@dataclass(frozen=True, slots=True)
class MarkBody:
    """From a gateway to a channel: the message ``message_id`` of ``sender`` there came from ``domain``.

    Raises FieldError.
    """

    word: ClassVar[bool] = True
    secret: bytes
    domain: str
    sender: Address
    message_id: bytes

    def __post_init__(self) -> None:
        """Refuse what the wire cannot carry."""
        _sized("a receipt secret", self.secret, SECRET_SIZE)
        check_domain(self.domain)
        _sized("an address", self.sender, ADDRESS_SIZE)
        _sized("a message id", self.message_id, MESSAGE_ID_SIZE)

    def items(self) -> list[int | bytes | str]:
        """Return what stands on the wire."""
        return [BodyKind.MARK, self.secret, self.domain, self.sender, self.message_id]


Crossing: TypeAlias = OutwardBody | InwardBody | ProofBody | LookupBody | FoundBody | RefusalBody | MarkBody


def short_reason(reason: str) -> str:
    """Return a reason cut to what a body may hold."""
    return reason.encode("utf-8", "replace")[:MAX_REASON].decode("utf-8", "ignore")


def _reader(kind: type[Any], shape: str, types: list[type]) -> Callable[[list[Any]], Crossing]:
    def read(items: list[Any]) -> Crossing:
        if [type(item) for item in items[1:]] != types:
            raise ShapeError(shape)
        made: Crossing = kind(*items[1:])
        return made

    return read


CROSSING_READERS: Final[dict[int, Callable[[list[Any]], Crossing]]] = {
    BodyKind.OUTWARD: _reader(OutwardBody, "what goes outward is [4, secret, domain, envelope]", [bytes, str, bytes]),
    BodyKind.INWARD: _reader(InwardBody, "what comes inward is [5, secret, domain, envelope]", [bytes, str, bytes]),
    BodyKind.PROOF: _reader(ProofBody, "a proof is [6, secret, domain, user, s, h]", [bytes, str, bytes, bytes, bytes]),
    BodyKind.LOOKUP: _reader(LookupBody, "a lookup is [7, secret, name, domain]", [bytes, str, str]),
    BodyKind.FOUND: _reader(
        FoundBody, "a find is [8, secret, token, address, domain, reason]", [bytes, bytes, bytes, str, str]
    ),
    BodyKind.REFUSAL: _reader(RefusalBody, "a refusal is [9, secret, envelope id, reason]", [bytes, bytes, str]),
    BodyKind.MARK: _reader(MarkBody, "a mark is [10, secret, domain, sender, message id]", [bytes, str, bytes, bytes]),
}


def _check_inner(secret: bytes, domain: str, envelope: bytes) -> None:
    _sized("a receipt secret", secret, SECRET_SIZE)
    check_domain(domain)
    if not 0 < len(envelope) <= MAX_INNER:
        raise FieldError(f"an envelope to or from another domain has 1 to {MAX_INNER} bytes: send the text in parts")


def _check_reason(reason: str) -> None:
    try:
        size = len(reason.encode())
    except UnicodeEncodeError:
        raise FieldError("the reason has a lone surrogate") from None
    if size > MAX_REASON:
        raise FieldError(f"a reason has at most {MAX_REASON} bytes, this has {size}")


def _sized(name: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise FieldError(f"{name} has {size} bytes, not {len(value)}")
