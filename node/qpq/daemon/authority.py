"""A community's own authority, made and used where no daemon need run: ``qpq federation ca``.

It lies in a directory: ``ca.pem`` for everybody, ``ca.key`` (mode 0600) for nobody else, and one ``<domain>.pem`` for
each relay, which is to be handed to it. A relay's own key never comes here: its id does.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from qpq.crypto.errors import IdentityError
from qpq.crypto.identity import Identity, SecretIdentity, parse_id, text_id
from qpq.daemon.federation_files import FederationConfigError, days_left, utc
from qpq.federation.authority import (
    MAX_FILE,
    SERIAL_BYTES,
    from_pem,
    issue,
    key_file,
    make_authority,
    seed_of,
    to_pem,
)
from qpq.federation.errors import UntrustedError
from qpq.federation.x509 import Certificate, is_domain, read

if TYPE_CHECKING:
    from collections.abc import Callable

CA_DAYS: Final = 3650
DAYS: Final = 90
"""How long what is made is valid unless told otherwise."""
CERTIFICATE_FILE, KEY_FILE = "ca.pem", "ca.key"
_DAY = 86400


def run(action: str, words: dict[str, str], days: int) -> dict[str, object]:
    """Carry out one of ``init``, ``issue``, ``renew`` and ``show``, and return what was made; raises QpqError."""
    return _ACTIONS[action](words, days)


def _init(words: dict[str, str], days: int) -> dict[str, object]:
    directory = words["dir"]
    secret = SecretIdentity(os.urandom(32))
    name = words.get("name") or "qpq federation"
    made = make_authority(secret, name, serial=os.urandom(SERIAL_BYTES), **_dates(days or CA_DAYS))
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        handle = os.open(os.path.join(directory, KEY_FILE), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise FederationConfigError(f"{directory} has an authority already; choose another directory") from None
    except OSError as fault:
        raise FederationConfigError(f"{directory} cannot be written: {fault.strerror}") from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(key_file(secret.seed))
        file.flush()
        os.fsync(handle)
    return _written(os.path.join(directory, CERTIFICATE_FILE), [made])


def _issue(words: dict[str, str], days: int) -> dict[str, object]:
    domain, text = words["domain"], words["id"]
    try:
        key = Identity(parse_id(text))
    except IdentityError as fault:
        raise FederationConfigError(
            f"{text[:60]!a}: {fault}; qpq federation status on the relay shows its key"
        ) from None
    return _issued(words["dir"], domain, key, days)


def _renew(words: dict[str, str], days: int) -> dict[str, object]:
    domain = words["domain"]
    leaf = _read(_leaf_path(words["dir"], domain))[0]
    return _issued(words["dir"], domain, leaf.key, days)


def _show(words: dict[str, str], _days: int) -> dict[str, object]:
    return _document(words["file"], _read(words["file"]))


def _issued(directory: str, domain: str, key: Identity, days: int) -> dict[str, object]:
    path = _leaf_path(directory, domain)
    authority = _read(os.path.join(directory, CERTIFICATE_FILE))[0]
    secret = SecretIdentity(seed_of(_text(os.path.join(directory, KEY_FILE))))
    serial = os.urandom(SERIAL_BYTES)
    return _written(path, [issue(authority, secret, domain, key, serial=serial, **_dates(days or DAYS))])


def _leaf_path(directory: str, domain: str) -> str:
    if not is_domain(domain):
        raise FederationConfigError(f"{domain[:60]!a} is no domain: write it as in berlin.example")
    return os.path.join(directory, f"{domain}.pem")


def _dates(days: int) -> dict[str, int]:
    """Return the times between which something is valid; it begins an hour ago, since clocks differ."""
    now = time.time()
    return {"not_before": utc(now - 3600), "not_after": utc(now + days * _DAY)}


def _written(path: str, ders: list[bytes]) -> dict[str, object]:
    """Put certificates into a file, as one step, and return what they say."""
    draft = f"{path}.new"
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.writelines(to_pem("CERTIFICATE", der) for der in ders)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except OSError as fault:
        raise FederationConfigError(f"{path} cannot be written: {fault.strerror}") from None
    return _document(path, [read(der) for der in ders])


def _document(path: str, certificates: list[Certificate]) -> dict[str, object]:
    return {
        "file": path,
        "certificates": [
            {
                "domain": each.domain,
                "authority": each.authority,
                "key": text_id(each.key),
                "valid_from": _date(each.not_before),
                "valid_to": _date(each.not_after),
                "days_left": days_left(each),
            }
            for each in certificates
        ],
    }


def _date(number: int) -> str:
    digits = f"{number:014}"
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"


def _read(path: str) -> list[Certificate]:
    try:
        return [read(der) for der in from_pem("CERTIFICATE", _text(path))]
    except UntrustedError as fault:
        raise FederationConfigError(f"{path}: {fault}") from None


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(MAX_FILE)
    except OSError as fault:
        raise FederationConfigError(f"{path} cannot be read: {fault.strerror}") from None


_ACTIONS: Final[dict[str, Callable[[dict[str, str], int], dict[str, object]]]] = {
    "init": _init,
    "issue": _issue,
    "renew": _renew,
    "show": _show,
}
