"""Says that names in certificates cannot be checked."""

from __future__ import annotations

from typing import NoReturn


def verify_certificate_hostname(certificate: object, hostname: str) -> NoReturn:
    """Refuse."""
    raise NotImplementedError("host names in certificates cannot be checked in this program")


def verify_certificate_ip_address(certificate: object, ip_address: str) -> NoReturn:
    """Refuse."""
    raise NotImplementedError("addresses in certificates cannot be checked in this program")


def extract_patterns(certificate: object) -> NoReturn:
    """Refuse."""
    raise NotImplementedError("names in certificates cannot be read in this program")
