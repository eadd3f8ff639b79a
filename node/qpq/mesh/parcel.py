"""What a gateway keeps for another domain, as its store and its relay know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qpq.crypto.identity import Address


@dataclass(frozen=True, slots=True)
class Parcel:
    """``kind`` and ``data`` as in ``FederationInsert``; kind 2 is a refusal and its reason in UTF-8.

    ``seq`` is the number it is kept under, ``origin`` the domain it came from (empty: this one), ``hops`` how many
    domains it has passed, ``tries`` how often it was offered; ``born`` and ``ttl`` are seconds of life.
    """

    seq: int
    kind: int
    domain: str
    origin: str
    envelope_id: bytes
    sender: Address
    recipient: Address
    data: bytes
    ttl: int
    born: int
    hops: int
    tries: int = 0
