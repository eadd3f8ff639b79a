"""The instance that the init script describes, run as procd would: user, jail, limits; with the static binary.

ujail itself is not to be had outside OpenWrt; what it does with the mounts, the user and the capabilities is done here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import ssh_kit
from init_kit import Router

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_kit import Ran

HERE = Path(__file__).resolve().parent
SECONDS = 30
QPQ_ID = 4711


class Jailed:
    """The node of a router, started from what its init script told procd."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.ran = router.run("start")
        assert (self.ran.status, self.ran.log()) == (0, [])
        copy = router.root / "var/etc/qpq"
        copy.write_text(copy.read_text().replace(str(router.root), ""))  # inside, the jail is the root
        self._own(self.ran)
        self.inside = router.root / "jail"
        self.log = router.root / "node.log"
        self.log.unlink(missing_ok=True)
        command = self.ran.params()["command"]
        limit = self.ran.params()["limits"][1].split()[1]
        script = [f"set -e; mkdir '{self.inside}'"]
        mounts = [(path, "ro") for call in self.ran.args("procd_add_jail_mount") for path in call]
        mounts += [(path, "rw") for call in self.ran.args("procd_add_jail_mount_rw") for path in call]
        for path, mode in mounts:
            script += self._mount(router.root, path, mode)
        shutil.copy(ssh_kit.BINARY, router.root / "binary")
        script += [f"mkdir -p '{self.inside}/usr/bin' '{self.inside}/proc' '{self.inside}/sys' '{self.inside}/dev'"]
        script += [f"cp '{router.root}/binary' '{self.inside}/usr/bin/qpq'"]
        script += [f"mount -t proc proc '{self.inside}/proc'; mount --rbind /sys '{self.inside}/sys'"]
        script += [f"cp -a /dev/null /dev/urandom /dev/random '{self.inside}/dev/'"]
        words = " ".join(f"'{word}'" for word in ["/usr/bin/qpq", *command[1:]])
        script += [f"exec '{sys.executable}' '{HERE}/jail.py' {QPQ_ID} '{self.inside}' {limit} {words} 2>'{self.log}'"]
        wanted = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", "\n".join(script)]
        self.process = subprocess.Popen(wanted, stdin=subprocess.DEVNULL)

    def _own(self, ran: Ran) -> None:
        """Do what the stand-in for chown and chgrp only noted."""
        for name, *words in ran.calls:
            path = self.router.root / words[-1].lstrip("/") if words else self.router.root
            if name == "chown":
                os.lchown(path, QPQ_ID, QPQ_ID)
            elif name == "chgrp":
                os.lchown(path, -1, QPQ_ID)

    def _mount(self, root: Path, path: str, mode: str) -> list[str]:
        source, target = root / path.lstrip("/"), self.inside / path.lstrip("/")
        if not source.exists():  # ujail passes over what is not there
            return []
        make = f"mkdir -p '{target}'" if source.is_dir() else f"mkdir -p '{target.parent}'; : >'{target}'"
        return [make, f"mount --bind '{source}' '{target}'", f"mount -o remount,bind,{mode} '{target}'"]

    def ready(self) -> None:
        """Wait until the node says that it is."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.log.exists() and "ready: " in self.log.read_text():
                return
            time.sleep(0.1)
        raise AssertionError(self.log.read_text() if self.log.exists() else "it did not even start")

    def qpq(self, *words: str) -> str:
        """Ask the node as root would, from outside."""
        socket = self.router.root / "var/run/qpq/qpq.sock"
        command = [str(ssh_kit.BINARY), "--socket", str(socket), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout

    def number(self) -> int:
        """Return the process's number as this machine knows it: that of the child of ``unshare``."""
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if int(path.read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    return int(path.parent.name)
        raise ProcessLookupError

    def stop(self) -> None:
        """End it the way procd does, or at once where that did not help."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.number(), signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture
def router(tmp_path: Path) -> Router:
    if ssh_kit.why_not():
        pytest.skip(ssh_kit.why_not())
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:3]:
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o011)
    made = Router(tmp_path)
    for name, text in (
        ("passwd", f"root:x:0:0::/root:/bin/ash\nqpq:x:{QPQ_ID}:{QPQ_ID}::/:/bin/false\n"),
        ("group", f"root:x:0:\nqpq:x:{QPQ_ID}:\n"),
        ("openwrt_release", "DISTRIB_ID='OpenWrt'\n"),
        ("hosts", "127.0.0.1 localhost\n"),
    ):
        (tmp_path / "etc" / name).write_text(text)
    return made


@contextlib.contextmanager
def running(router: Router) -> Iterator[Jailed]:
    node = Jailed(router)
    try:
        node.ready()
        yield node
    finally:
        node.stop()


def _options(router: Router, *more: str) -> None:
    port = ssh_kit.free_port()
    router.options(
        f"option listen '127.0.0.1:{port}'", "option mdns '0'", "option beacon '0'", "option group '0'", *more
    )


def test_a_node_lives_in_the_jail_that_its_init_script_asks_for(router: Router) -> None:
    _options(router, f"option metrics_file '{router.root}/var/prometheus/qpq.prom'", "option metrics_interval '5s'")
    text = (router.root / "etc/config/qpq").read_text()
    (router.root / "var/prometheus").mkdir()
    with running(router) as node:
        status = json.loads(node.qpq("status", "--json"))
        assert status["clock"]["trusted"] is False
        assert status["memory"]["level"] == "enough"
        process = Path(f"/proc/{node.number()}/status").read_text()
        for fact in (
            f"Uid:\t{QPQ_ID}",
            f"Gid:\t{QPQ_ID}",
            "NoNewPrivs:\t1",
            "CapBnd:\t0000000000000000",
            "CapEff:\t0000000000000000",
        ):
            assert fact in process
        node.qpq("mesh", "user", "add", "anna")
        assert "qpq_links 0" in (router.root / "var/prometheus/qpq.prom").read_text()
        assert "warning" not in node.log.read_text()
        (router.root / "var/run/qpq/ntp").mkdir()  # as the hotplug script does, outside the jail
        identity = status["id"]
    assert node.process.returncode == 0
    assert "stopped" in node.log.read_text()
    assert (router.root / "etc/qpq/identity.json").stat().st_uid == QPQ_ID
    assert text == (router.root / "etc/config/qpq").read_text()
    shutil.rmtree(node.inside, ignore_errors=True)
    with running(router) as again:
        status = json.loads(again.qpq("status", "--json"))
        assert (status["id"], status["users"]) == (identity, 2)
        assert status["clock"]["trusted"] is True
