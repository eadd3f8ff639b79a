"""Addresses of sockets as text and as tuples: ``host:port`` with IPv6 scopes kept."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from qpq.errors import QpqError

DEFAULT_PORT = 7000
_MAX_PORT = 65535
_PORT_DIGITS = 5
_MAX_TEXT = 280
_MAPPED = "::ffff:"


class NetAddressError(QpqError):
    """A socket address that cannot be read; write ``host:port`` or ``[ipv6%interface]:port``."""


@dataclass(frozen=True, slots=True, order=True)
class NetAddress:
    """One UDP endpoint: IP literal or host name, port (1..65535), interface index (0: none)."""

    host: str
    port: int
    scope: int = 0

    def __str__(self) -> str:
        """Return ``host:port`` or ``[ipv6%interface]:port``; ``parse`` reads it back."""
        if ":" not in self.host:
            return f"{self.host}:{self.port}"
        return f"[{self.host}{_scope_text(self.scope)}]:{self.port}"

    @property
    def is_ipv6(self) -> bool:
        """Whether the host is an IPv6 literal."""
        return ":" in self.host

    @property
    def is_link_local(self) -> bool:
        """Whether the host is an IPv6 link-local literal (fe80::/10, RFC 4291 section 2.5.6)."""
        return (
            self.is_ipv6
            and socket.inet_pton(socket.AF_INET6, self.host)[:2] >= b"\xfe\x80"
            and self.host[:3].lower()
            in {
                "fe8",
                "fe9",
                "fea",
                "feb",
            }
        )

    @property
    def is_literal(self) -> bool:
        """Whether the host is an IP literal, so that no name lookup is needed."""
        return _is_literal(self.host)

    def sockaddr6(self) -> tuple[str, int, int, int]:
        """Return the tuple for an AF_INET6 socket; IPv4 becomes ::ffff:a.b.c.d (RFC 4291 2.5.5.2)."""
        host = self.host if self.is_ipv6 else _MAPPED + self.host
        return (host, self.port, 0, self.scope)

    @classmethod
    def from_sockaddr(cls, sockaddr: tuple[str, int] | tuple[str, int, int, int]) -> NetAddress:
        """Make one from what ``recvfrom`` gave; mapped IPv4 is unmapped, ``%scope`` text is dropped."""
        host = sockaddr[0].partition("%")[0]
        scope = sockaddr[3] if len(sockaddr) == 4 else 0  # noqa: PLR2004 (an AF_INET6 tuple)
        if host.startswith(_MAPPED) and "." in host:
            return cls(host[len(_MAPPED) :], sockaddr[1])
        return cls(host, sockaddr[1], scope)

    @classmethod
    def parse(cls, text: str, default_port: int | None = DEFAULT_PORT) -> NetAddress:
        """Read ``host``, ``host:port``, ``ipv6``, ``[ipv6%interface]:port``.

        Raises NetAddressError; ``default_port`` None makes the port compulsory.
        """
        if not text or len(text) > _MAX_TEXT or not text.isascii() or not text.isprintable() or " " in text:
            raise NetAddressError(f"not an address: {text[:80]!r}; write host:port or [ipv6%interface]:port")
        if text.startswith("["):
            host, closed, rest = text[1:].partition("]")
            if not closed or (rest and not rest.startswith(":")):
                raise NetAddressError(f"not an address: {text!r}; an IPv6 address is written [address]:port")
            port_text = rest[1:] if rest else None
        elif text.count(":") > 1:
            host, port_text = text, None
        else:
            host, colon, after = text.partition(":")
            port_text = after if colon else None
        host, percent, zone = host.partition("%")
        if not host or (percent and (":" not in host or not zone)) or (":" in host and not _is_literal(host)):
            raise NetAddressError(f"not an address: {text!r}; the host is no IP address and no name")
        return cls(host, _port(text, port_text, default_port), _scope(zone) if percent else 0)


def plain(text: str) -> str:
    """Return an address in its one form; one whose interface is not there yet stays as it was written."""
    try:
        return str(NetAddress.parse(text))
    except NetAddressError:
        return text


def _port(text: str, port_text: str | None, default: int | None) -> int:
    if port_text is None:
        if default is None:
            raise NetAddressError(f"{text!r} lacks a port; write host:port")
        return default
    if not port_text.isdigit() or len(port_text) > _PORT_DIGITS or not 1 <= int(port_text) <= _MAX_PORT:
        raise NetAddressError(f"{text!r}: the port must be 1 to {_MAX_PORT}")
    return int(port_text)


def _is_literal(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False


def _scope(zone: str) -> int:
    if zone.isdigit() and len(zone) <= 9:  # noqa: PLR2004 (an interface index has at most 31 bits)
        return int(zone)
    try:
        return socket.if_nametoindex(zone)
    except OSError:
        raise NetAddressError(f"no interface named {zone!r} on this machine") from None


def _scope_text(scope: int) -> str:
    if not scope:
        return ""
    try:
        return "%" + socket.if_indextoname(scope)
    except OSError:
        return f"%{scope}"
