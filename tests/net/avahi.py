"""A real avahi-daemon in a namespace, with a message bus and service files of its own."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from shutil import which
from typing import TYPE_CHECKING

from netns import Namespace, wait_until

if TYPE_CHECKING:
    from pathlib import Path

AVAILABLE = all(which(name) for name in ("avahi-daemon", "avahi-browse", "avahi-publish", "dbus-daemon"))

_BUS = """<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>"""

_SERVER = """[server]
host-name={host}
use-ipv4=yes
use-ipv6=yes
ratelimit-burst=1000
ratelimit-interval-usec=1000000
disallow-other-stacks={alone}
[publish]
publish-hinfo=no
publish-workstation=no
"""

_START = (
    "mount -t tmpfs tmpfs /run && mkdir /run/avahi-daemon && mount --bind {services} /etc/avahi/services && "
    "exec avahi-daemon --file {config} --no-drop-root --no-chroot --no-rlimits"
)


@dataclass(frozen=True)
class Found:
    interface: str
    family: str
    name: str
    host: str
    address: str
    port: int
    text: str


class Avahi:
    """avahi-daemon in ``namespace``; service files go to ``services``."""

    def __init__(self, namespace: Namespace, directory: Path, *, alone: bool = False) -> None:
        self._namespace = namespace
        self.services = directory / "services"
        self.services.mkdir(parents=True)
        bus, config, socket = directory / "bus.conf", directory / "avahi.conf", directory / "bus"
        bus.write_text(_BUS.format(path=socket))
        config.write_text(_SERVER.format(host=namespace.name, alone="yes" if alone else "no"))
        self._environment = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={socket}"}
        namespace.start("dbus-daemon", "--config-file", str(bus), "--nofork", "--nopidfile")
        wait_until(socket.exists, what="the message bus")
        namespace.start(
            "sh",
            "-c",
            _START.format(services=self.services, config=config),
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, what="avahi-daemon")

    def publish(self, name: str, kind: str, port: int, *text: str) -> None:
        self._namespace.start(
            *("avahi-publish", "-s", name, kind, str(port), *text),
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def browse(self, kind: str = "_quicproquo._udp") -> list[Found]:
        """What avahi-browse resolves within about a second."""
        out = self._namespace.run("avahi-browse", "-rptk", kind, env=self._environment, timeout=15)
        found = []
        for line in out.splitlines():
            fields = line.split(";", 9)
            if fields[0] == "=":
                found.append(Found(fields[1], fields[2], fields[3], fields[6], fields[7], int(fields[8]), fields[9]))
        return found

    def _answers(self) -> bool:
        done = subprocess.run(
            self._namespace.command("avahi-browse", "-pt", "_none._udp"),
            env=self._environment,
            check=False,
            capture_output=True,
            timeout=15,
        )
        return done.returncode == 0
