"""Publishes this node through the mDNS daemon that already runs: a file for avahi or for OpenWrt's umdns."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpq.discovery.config import AVAHI_DIR, UMDNS_DIR
from qpq.discovery.dnssd import SERVICE_TYPE, instance_name, text_entries
from qpq.discovery.errors import PublishError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qpq.crypto.identity import Identity

MAX_PROCESSES: Final = 4096
_NAMES = {"avahi-daemon": "avahi", "umdns": "umdns"}
_MODE = 0o644
_RELOAD = "ubus call umdns reload >/dev/null 2>&1 </dev/null &"
_TYPE = SERVICE_TYPE.removesuffix(".local.")
_AVAHI = """<?xml version="1.0" standalone='no'?>
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group>
  <name>{name}</name>
  <service>
    <type>{type}</type>
    <port>{port}</port>
{records}
  </service>
</service-group>
"""


@dataclass(frozen=True, slots=True)
class Responder:
    """An mDNS daemon of this machine: its name, where it reads files, whether it was seen to run."""

    name: str
    directory: str
    running: bool


def find_responder(avahi_dir: str = AVAHI_DIR, umdns_dir: str = UMDNS_DIR, proc: str = "/proc") -> Responder | None:
    """Return the daemon to publish through: a running one, else one whose directory is there, avahi before umdns."""
    running = _running(proc)
    there = [
        Responder(name, directory, name in running)
        for name, directory in (("avahi", avahi_dir), ("umdns", umdns_dir))
        if os.path.isdir(directory)
    ]
    return next((responder for responder in there if responder.running), next(iter(there), None))


class ServiceFile:
    """The file that makes ``responder`` publish this node; ``reload`` tells umdns, which watches nothing."""

    def __init__(self, responder: Responder, identity: Identity, *, reload: Callable[[], None] | None = None) -> None:
        self._responder = responder
        self._identity = identity
        self._reload = reload or reload_umdns
        self._content = b""
        self.path = ""

    def publish(self, port: int, server: str, domain: str) -> None:
        """Write the file unless it says so already; raises PublishError."""
        entries = text_entries(self._identity, server, domain)
        avahi = self._responder.name == "avahi"
        name = instance_name(self._identity)
        content = avahi_file(name, port, entries) if avahi else umdns_file(name, port, entries)
        if content == self._content:
            return
        try:
            self.path = self.path or self._free_path(name, ".service" if avahi else ".json")
            _replace(self.path, content)
        except OSError as error:
            raise PublishError(
                f"cannot write {error.filename or self.path}: {error.strerror}; let the daemon's user write to "
                f"{self._responder.directory}, or stop {self._responder.name} so that UDP port 5353 is free"
            ) from error
        self._content = content
        if not avahi:
            self._reload()

    def withdraw(self) -> None:
        """Remove the file; may be called twice. Raises PublishError when it stays behind."""
        path, self.path, self._content = self.path, "", b""
        if not path:
            return
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise PublishError(f"{path} stays behind ({error.strerror}): remove it") from error
        if self._responder.name != "avahi":
            self._reload()

    def _free_path(self, name: str, suffix: str) -> str:
        """Return qpq.service, or with the id in it while another node of this machine has that one."""
        plain = os.path.join(self._responder.directory, "qpq" + suffix)
        try:
            with open(plain, "rb") as file:
                taken = name.encode() not in file.read(1 << 16)
        except FileNotFoundError:
            taken = False
        return os.path.join(self._responder.directory, f"qpq-{name}{suffix}") if taken else plain


def avahi_file(name: str, port: int, entries: Mapping[str, str]) -> bytes:
    """Return the XML of avahi.service(5)."""
    records = "\n".join(f"    <txt-record>{_escape(f'{key}={value}')}</txt-record>" for key, value in entries.items())
    return _AVAHI.format(name=_escape(name), type=_TYPE, port=port, records=records).encode()


def umdns_file(name: str, port: int, entries: Mapping[str, str]) -> bytes:
    """Return the JSON of a service for umdns (its service.c reads instance, service, port and txt)."""
    service = {
        "instance": name,
        "service": f"{_TYPE}.local",
        "port": port,
        "txt": [f"{key}={value}" for key, value in entries.items()],
    }
    return json.dumps({f"quicproquo_{port}": service}).encode() + b"\n"


def reload_umdns() -> None:
    """Let umdns read its files again by ``ubus call umdns reload``, not waited for; without ubus nothing happens.

    The child is a grandchild of ours in effect: ``sh`` puts it in the background and ends at once.
    """
    try:
        shell = os.posix_spawn("/bin/sh", ["sh", "-c", _RELOAD], dict(os.environ))
    except OSError:
        return
    os.waitpid(shell, 0)


def _running(proc: str) -> set[str]:
    """Return which of the daemons run (Linux names of processes, at most MAX_PROCESSES of them looked at)."""
    found: set[str] = set()
    try:
        processes = [entry for entry in os.listdir(proc) if entry.isdigit()][:MAX_PROCESSES]
    except OSError:
        return found
    for process in processes:
        try:
            with open(os.path.join(proc, process, "comm"), encoding="utf-8", errors="replace") as file:
                name = file.read(64).strip()
        except OSError:
            continue
        if name in _NAMES:
            found.add(_NAMES[name])
    return found


def _replace(path: str, content: bytes) -> None:
    """Write a whole file at once; its name begins with a dot until it is complete, so that no daemon reads half."""
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, _MODE)
    try:
        os.write(descriptor, content)
        os.fchmod(descriptor, _MODE)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
