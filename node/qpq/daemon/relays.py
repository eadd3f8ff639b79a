"""The sections ``config relay``: the relays of other domains, as the configuration file names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qpq.crypto.errors import IdentityError
from qpq.crypto.identity import parse_id
from qpq.daemon.config import read_section, read_value
from qpq.daemon.kinds import BadValueError
from qpq.daemon.relay_options import RELAY_OPTIONS, RelayConfig
from qpq.wire.domain import check_domain
from qpq.wire.errors import FieldError

if TYPE_CHECKING:
    from qpq.daemon.uci import UciSection

MAX_RELAYS: Final = 64
_OPTIONS = {option.name: option for option in RELAY_OPTIONS}


def read_relays(path: str, sections: list[UciSection], faults: list[str]) -> tuple[RelayConfig, ...]:
    """Return the relays; adds a line to ``faults`` for each thing that is not allowed."""
    relays = [relay for section in sections if (relay := _relay(path, section, faults)) is not None]
    if len(sections) > MAX_RELAYS:
        faults.append(f"{path}:{sections[MAX_RELAYS].line}: more than {MAX_RELAYS} relays")
    seen: dict[str, RelayConfig] = {}
    for relay in relays:
        known = seen.setdefault(relay.domain, relay)
        if known is not relay:
            faults.append(
                f"{relay.where}: {relay.domain} has a relay in {known.where}; write its keys and addresses there"
            )
    return tuple(relays)


def _relay(path: str, section: UciSection, faults: list[str]) -> RelayConfig | None:
    values: dict[str, Any] = {}
    before = len(faults)
    for name, given in read_section(path, section, _OPTIONS, faults).items():
        try:
            values[name] = read_value(_OPTIONS[name], given)
        except BadValueError as error:
            faults.append(f"{given.where}: {error}")
    if len(faults) > before:
        return None
    relay = RelayConfig(section.name or "", f"{path}:{section.line}", **values)
    faults += [f"{relay.where}: config relay '{relay.name}': {fault}" for fault in _complaints(relay)]
    return relay


def _complaints(relay: RelayConfig) -> list[str]:
    faults = []
    for domain in (relay.domain, *relay.carries):
        try:
            check_domain(domain)
        except FieldError as error:
            faults.append(str(error))
    for key in relay.key:
        try:
            parse_id(key)
        except IdentityError as error:
            faults.append(f"key {key}: {error}")
    return faults
