"""What a peer shows as its certificate."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qpq.link.certificates import identity_of, sole_identity
from qpq.link.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Callable


def certificate(data: bytes) -> None:
    with contextlib.suppress(CertificateError):
        identity = identity_of(data)
        assert len(identity) == 32
        assert identity in data
        assert sole_identity([data]) == identity


TARGETS: dict[str, Callable[[bytes], None]] = {"certificate": certificate}
