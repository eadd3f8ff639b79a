"""What relays of other domains show and hand over."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qpq.federation.authority import from_pem, make_authority, seed_of, to_pem
from qpq.federation.errors import UntrustedError
from qpq.federation.path import check_chain
from qpq.federation.x509 import SERVER_AUTH, read
from qpq.link.certificates import identity_of
from qpq.link.errors import CertificateError
from qpq.wire.errors import WireError
from qpq.wire.outside import decode_outside, encode_outside

if TYPE_CHECKING:
    from collections.abc import Callable

from qpq.crypto.identity import SecretIdentity

AUTHORITY = SecretIdentity(b"c" * 32)
ROOT = read(make_authority(AUTHORITY, "seeds", serial=bytes(16), not_before=20300101000000, not_after=20310101000000))
NOW = 20300601000000


def chain(data: bytes) -> None:
    """A leaf, and the same under an authority; what is read here, links read with the same key."""
    with contextlib.suppress(UntrustedError):
        found = read(data)
        try:
            assert identity_of(data) == found.key
        except CertificateError as fault:
            raise AssertionError(f"links refuse it: {fault}") from fault
    with contextlib.suppress(UntrustedError):
        leaf = check_chain([data], [ROOT], SERVER_AUTH, NOW)
        assert leaf.is_signed_by(AUTHORITY.identity)


def pem(data: bytes) -> None:
    """A file of certificates; the inside of a key file."""
    with contextlib.suppress(UntrustedError):
        from_pem("CERTIFICATE", data.decode("ascii", "replace"))
    with contextlib.suppress(UntrustedError):
        assert len(seed_of(to_pem("PRIVATE KEY", data))) == 32


def outside(data: bytes) -> None:
    """A payload; what is accepted has one form."""
    with contextlib.suppress(WireError):
        assert encode_outside(decode_outside(data)) == data


TARGETS: dict[str, Callable[[bytes], None]] = {"chain": chain, "outside": outside, "pem": pem}
