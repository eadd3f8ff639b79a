"""Publishes this node through avahi where that runs already: a file for it; umdns is told by the init script."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpq.discovery.config import AVAHI_DIR
from qpq.discovery.dnssd import SERVICE_TYPE, instance_name, text_entries
from qpq.discovery.errors import PublishError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qpq.crypto.identity import Identity

MAX_PROCESSES: Final = 4096
_NAME = "avahi-daemon"
_MODE = 0o644
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
    """An avahi of this machine: where it reads files, and whether it was seen to run."""

    directory: str
    running: bool


def find_responder(directory: str = AVAHI_DIR, proc: str = "/proc") -> Responder | None:
    """Return the avahi to publish through; None: there is none."""
    return Responder(directory, _is_running(proc)) if os.path.isdir(directory) else None


class ServiceFile:
    """The file that makes ``responder`` publish this node; avahi sees by itself when it comes, changes and goes."""

    def __init__(self, responder: Responder, identity: Identity) -> None:
        self._responder = responder
        self._identity = identity
        self._content = b""
        self.path = ""

    def publish(self, port: int, server: str, domain: str) -> None:
        """Write the file unless it says so already; raises PublishError."""
        name = instance_name(self._identity)
        content = avahi_file(name, port, text_entries(self._identity, server, domain))
        if content == self._content:
            return
        try:
            self.path = self.path or self._free_path(name)
            _replace(self.path, content)
        except OSError as error:
            raise PublishError(
                f"cannot write {error.filename or self.path}: {error.strerror}; let the daemon's user write to "
                f"{self._responder.directory}, or stop avahi so that UDP port 5353 is free"
            ) from error
        self._content = content

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

    def _free_path(self, name: str) -> str:
        """Return qpq.service, or with the id in it while another node of this machine has that one."""
        plain = os.path.join(self._responder.directory, "qpq.service")
        try:
            with open(plain, "rb") as file:
                taken = name.encode() not in file.read(1 << 16)
        except FileNotFoundError:
            taken = False
        return os.path.join(self._responder.directory, f"qpq-{name}.service") if taken else plain


def avahi_file(name: str, port: int, entries: Mapping[str, str]) -> bytes:
    """Return the XML of avahi.service(5)."""
    records = "\n".join(f"    <txt-record>{_escape(f'{key}={value}')}</txt-record>" for key, value in entries.items())
    return _AVAHI.format(name=_escape(name), type=_TYPE, port=port, records=records).encode()


def _is_running(proc: str) -> bool:
    """Whether avahi runs (Linux names of processes, at most MAX_PROCESSES of them looked at)."""
    try:
        processes = [entry for entry in os.listdir(proc) if entry.isdigit()][:MAX_PROCESSES]
    except OSError:
        return False
    for process in processes:
        try:
            with open(os.path.join(proc, process, "comm"), encoding="utf-8", errors="replace") as file:
                name = file.read(64).strip()
        except OSError:
            continue
        if name == _NAME:
            return True
    return False


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
