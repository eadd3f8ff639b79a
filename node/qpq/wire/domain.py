"""Names of domains: of meshes that relays join, as in ``anna@berlin.example``."""

from __future__ import annotations

from typing import Final

from qpq.wire.errors import FieldError

MAX_DOMAIN: Final = 253
"""Characters of a domain (RFC 1035 section 2.3.4, without the root's length)."""
MAX_USER: Final = 64
"""Bytes in UTF-8 of a user's name before the ``@`` (RFC 5321 section 4.5.3.1.1)."""

_MAX_LABEL = 63
_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def check_domain(domain: str) -> None:
    """Raise FieldError unless ``domain`` is labels of a-z, 0-9 and inner hyphens (RFC 952, 1123) joined by dots."""
    labels = domain.split(".")
    if len(domain) > MAX_DOMAIN:
        raise FieldError(f"a domain has at most {MAX_DOMAIN} characters, this has {len(domain)}")
    for label in labels:
        fits = 0 < len(label) <= _MAX_LABEL and _ALLOWED.issuperset(label)
        if not fits or label[0] == "-" or label[-1] == "-":
            raise FieldError(f"{domain!r} is no domain: write it as in berlin.example, with a-z, 0-9, - and dots")


def check_user(name: str) -> None:
    """Raise FieldError unless ``name`` can stand before the ``@``: 1 to 64 printable characters, none of them ``@``."""
    if not name.isprintable() or "@" in name or not 0 < len(name.encode("utf-8", "replace")) <= MAX_USER:
        raise FieldError(f"a user's name before the @ has 1 to {MAX_USER} bytes and no other @")
