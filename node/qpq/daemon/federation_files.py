"""Reads what the federation options name: authorities, the own certificate, and whether all is fit for production."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, Final

from qpq.crypto.identity import Identity, parse_id, text_id
from qpq.errors import QpqError
from qpq.federation.authority import MAX_FILE, from_pem
from qpq.federation.errors import UntrustedError
from qpq.federation.path import check_authority
from qpq.federation.settings import Relay, Settings
from qpq.federation.x509 import read
from qpq.wire.domain import check_domain
from qpq.wire.errors import FieldError

if TYPE_CHECKING:
    from qpq.daemon.options import Config
    from qpq.federation.x509 import Certificate

WARN_DAYS: Final = 30
NO_DOMAIN: Final = "local"
"""The default of the option ``domain``: a mesh that belongs to none."""
MAX_TOPICS: Final = 16
_DAY = 86400
_UNIX_FORM = "%Y%m%d%H%M%S"


class FederationConfigError(QpqError):
    """Settings or files by which this node cannot deal with other domains; the message says what to change."""


def is_wanted(config: Config) -> bool:
    """Whether a node is configured to deal with other domains."""
    return bool(config.relays or config.federation_ca)


def load(config: Config, own: Identity) -> Settings:
    """Return the settings; ``own`` is the key that the own certificate must be about. Raises FederationConfigError."""
    try:
        check_domain(config.domain)
    except FieldError as fault:
        raise FederationConfigError(f"option domain: {fault}") from None
    if config.domain == NO_DOMAIN:
        raise FederationConfigError("relays of other domains need option domain: the name of the own one")
    relays = tuple(
        Relay(
            relay.name,
            relay.domain,
            tuple(Identity(parse_id(key)) for key in relay.key),
            relay.address,
            relay.carries,
            relay.transit,
            relay.topic,
        )
        for relay in config.relays
    )
    authorities = _certificates(config.federation_ca, "federation_ca")
    for authority in authorities:
        try:
            check_authority(authority)
        except UntrustedError as fault:
            raise FederationConfigError(f"federation_ca: {config.federation_ca}: {fault}") from None
    chain = _certificates(config.federation_certificate, "federation_certificate")
    _check_own(config, chain, own)
    for relay in relays:
        if relay.domain == config.domain:
            raise FederationConfigError(f"config relay '{relay.name}': {relay.domain} is the own domain")
        if not relay.keys and not authorities:
            raise FederationConfigError(
                f"config relay '{relay.name}': write list key '<id of its node>', or name the authority that vouches"
                " for it with option federation_ca"
            )
    settings = Settings(config.domain, relays, authorities, chain)
    if len(settings.topics) > MAX_TOPICS:
        raise FederationConfigError(f"{len(settings.topics)} topics are shared; at most {MAX_TOPICS} can be")
    return settings


def complaints(config: Config, settings: Settings, *, durable: bool, clock_trusted: bool, exposed: bool) -> list[str]:
    """Return what option production does not allow, each with what to do."""
    found = []
    for option, path in (
        ("federation_ca", config.federation_ca),
        ("federation_certificate", config.federation_certificate),
    ):
        if path and os.stat(path).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            found.append(f"{option}: others may write {path}: chmod go-w {path}")
    if not durable:
        found.append("the message store is in RAM: let store_dir name a directory on a disk")
    if config.log_level == "debug":
        found.append("log_level debug tells too much: set it to info")
    if config.clock_trusted == "yes":
        found.append("clock_trusted yes believes a clock that nobody has set: leave it at auto and run NTP")
    if settings.authorities and not clock_trusted:
        found.append("the clock is not trusted, so no certificate can be believed: run NTP")
    if exposed:
        found.append("the file of identities could be read by others until now: make new ones, these may be known")
    if "." not in config.domain:
        found.append(f"domain {config.domain} is not a name that the community owns: take one like mesh.example.org")
    found += [
        f"config relay '{relay.name}': transit lets it use this node for any domain; name the domains with carries"
        for relay in settings.relays
        if relay.transit and not relay.carries
    ]
    return found


def days_left(certificate: Certificate) -> int:
    """Return for how many days a certificate is valid yet by this machine's clock; negative when it has expired."""
    digits = f"{certificate.not_after:014}"
    year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:8])
    return _days(year, month, day) - int(time.time()) // _DAY


def utc(moment: float) -> int:
    """Return Unix seconds as a number that is read YYYYMMDDhhmmss."""
    return int(time.strftime(_UNIX_FORM, time.gmtime(moment)))


def _days(year: int, month: int, day: int) -> int:
    """Return the days from 1970-01-01 to a date of the Gregorian calendar."""
    year -= month <= 2  # noqa: PLR2004 (the year begins in March, so that leap days come last)
    era, of_era = divmod(year, 400)
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def _certificates(path: str, option: str) -> tuple[Certificate, ...]:
    if not path:
        return ()
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(MAX_FILE + 1)
        return tuple(read(der) for der in from_pem("CERTIFICATE", text if len(text) <= MAX_FILE else ""))
    except OSError as fault:
        raise FederationConfigError(f"{option}: {path} cannot be read: {fault.strerror}") from None
    except UntrustedError as fault:
        raise FederationConfigError(f"{option}: {path}: {fault}") from None


def _check_own(config: Config, chain: tuple[Certificate, ...], own: Identity) -> None:
    if not chain:
        return
    path, leaf = config.federation_certificate, chain[0]
    if leaf.key != own:
        raise FederationConfigError(
            f"federation_certificate: {path} is about another key; have one issued for {text_id(own)}:"
            f" qpq federation ca issue <dir> {config.domain} {text_id(own)}"
        )
    if leaf.domain != config.domain:
        raise FederationConfigError(
            f"federation_certificate: {path} is of {leaf.domain}, and option domain is {config.domain}"
        )
