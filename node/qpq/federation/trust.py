"""Whether a peer's certificate proves a domain: by a key that is pinned, or by the shared authority.

A pinned key is believed whatever its certificate says besides. Dates are only believed against a clock that is
trusted, so without one there are pinned keys only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.federation.errors import UntrustedError
from qpq.federation.path import check_chain
from qpq.federation.x509 import CLIENT_AUTH, SERVER_AUTH, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qpq.crypto.identity import Identity
    from qpq.federation.settings import Settings


MAX_PROVEN: Final = 256
"""Keys whose domain is remembered between their handshake and what follows; the oldest gives way."""


class Trust:
    """``clock`` gives UTC, read YYYYMMDDhhmmss, or None while no clock is trusted."""

    def __init__(self, settings: Settings, own: Identity, clock: Callable[[], int | None]) -> None:
        self.settings = settings
        self._own = own
        self._clock = clock
        self._proven: dict[Identity, str] = {}

    def caller(self, chain: Sequence[bytes]) -> Identity:
        """Return the key of who calls; raises UntrustedError."""
        return self._judge(chain, CLIENT_AUTH)[0]

    def called(self, domain: str) -> Callable[[Sequence[bytes]], Identity]:
        """Return the judge of who answers for ``domain``."""

        def judge(chain: Sequence[bytes]) -> Identity:
            key, found = self._judge(chain, SERVER_AUTH)
            if found != domain:
                raise UntrustedError(f"a certificate of {found} where {domain} was called")
            return key

        return judge

    def domain_of(self, key: Identity) -> str:
        """Return the domain that a key which was judged speaks for; raises UntrustedError."""
        domain = self._proven.get(key, "")
        if not domain:
            raise UntrustedError("a key that was not judged")
        return domain

    def _judge(self, chain: Sequence[bytes], purpose: bytes) -> tuple[Identity, str]:
        key, domain = self._prove(chain, purpose)
        if key == self._own or domain == self.settings.domain:
            raise UntrustedError(f"a relay of {domain}, which is the own domain")
        self._proven.pop(key, None)
        if len(self._proven) >= MAX_PROVEN:
            del self._proven[next(iter(self._proven))]
        self._proven[key] = domain
        return key, domain

    def _prove(self, chain: Sequence[bytes], purpose: bytes) -> tuple[Identity, str]:
        if not chain:
            raise UntrustedError("the certificate is empty")
        key = read(chain[0]).key
        for relay in self.settings.relays:
            if key in relay.keys:
                return key, relay.domain
        if not self.settings.authorities:
            raise UntrustedError("a key that is pinned for no domain here")
        now = self._clock()
        if now is None:
            raise UntrustedError("this node's clock is not trusted, so only keys that are pinned here are believed")
        leaf = check_chain(chain, self.settings.authorities, purpose, now)
        domain = leaf.domain or ""
        if self.settings.relay_of(domain).keys:
            raise UntrustedError(f"another key than the one pinned for {domain}")
        return leaf.key, domain
