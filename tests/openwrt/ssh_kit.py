"""A small router's file system with a real dropbear, BusyBox ash as root's shell, and the static binary as its node.

It is a directory with a few files, entered by chroot in a mount namespace of its own; everything in it ends with the
process that made it. Keys are made for each use.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / "dist/x86_64/qpq"
SECONDS = 30
QPQ_ID = 4711
APPLETS = ("ash", "sh", "cat", "ls", "id", "echo", "touch", "env", "sed", "readlink")
TOOLS = ("dropbear", "dropbearkey", "busybox", "ssh", "ssh-keygen", "unshare", "chroot")


def why_not() -> str:
    """Return why this machine cannot run it, or nothing."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian: dropbear-bin, busybox-static, openssh-client)"
    if os.geteuid() != 0:
        return "needs root for chroot"
    return "" if BINARY.exists() else "needs dist/x86_64/qpq: make cross TARGET=x86_64"


@dataclass
class Done:
    """How a command over SSH ended."""

    status: int
    output: str
    errors: str


class Router:
    """The router and its SSH clients; ``key(name)`` is a client's key."""

    def __init__(self, base: Path) -> None:
        """Lay the files out; nothing runs yet."""
        self.base = base
        self.root = base / "router"
        self.port = free_port()
        self.mesh_port = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        _lay_out(self.root)

    def key(self, name: str) -> Path:
        """Return the private key of a client, made at first."""
        path = self.base / f"key-{name}"
        if not path.exists():
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
            subprocess.run(command, check=True, timeout=SECONDS)
        return path

    def authorize(self, lines: dict[str, str]) -> None:
        """Write authorized_keys: the options before the key of each client."""
        text = "".join(
            f"{options}{' ' if options else ''}{self.key(name).with_suffix('.pub').read_text()}"
            for name, options in lines.items()
        )
        path = self.root / "etc/dropbear/authorized_keys"  # where OpenWrt has it
        path.write_text(text)
        path.chmod(0o600)
        shutil.copy(path, self.root / "root/.ssh/authorized_keys")

    def start(self) -> None:
        """Start the node as user qpq and dropbear, and wait until both answer."""
        mounts = "mount -t proc proc proc && mount --rbind /dev dev"
        node = (
            f"chroot --userspec={QPQ_ID}:{QPQ_ID} . /usr/bin/qpq daemon --config /var/etc/qpq --data-dir /etc/qpq"
            f" --listen 127.0.0.1:{self.mesh_port} --no-mdns --no-beacon --no-group"
        )
        sshd = f"exec chroot . /usr/sbin/dropbear -F -E -s -r /etc/dropbear/host_key -p 127.0.0.1:{self.port}"
        script = f"cd '{self.root}' && {mounts} && {{ {node} 2>node.log & }} && {sshd} 2>sshd.log"
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]
        process = subprocess.Popen(command, env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                if (self.root / "var/run/qpq/qpq.sock").exists():
                    return
            if process.poll() is not None:
                break
            time.sleep(0.1)
        logs = [(self.root / name).read_text() for name in ("node.log", "sshd.log") if (self.root / name).exists()]
        raise AssertionError(f"the router did not come up: {logs}")

    def stop(self) -> None:
        """End everything."""
        for process in self.processes:
            process.kill()
            process.wait(SECONDS)
        self.processes.clear()

    def command(self, name: str, *words: str, options: tuple[str, ...] = ()) -> list[str]:
        """Return the client's command line."""
        settings = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        flags = [flag for setting in settings for flag in ("-o", setting)]
        where = ["-F", "none", "-p", str(self.port), "-i", str(self.key(name)), "-o", "IdentitiesOnly=yes"]
        return ["ssh", *where, *flags, *options, "root@127.0.0.1", *(["--", *words] if words else [])]

    def ssh(
        self,
        name: str,
        *words: str,
        options: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        text: str = "",
    ) -> Done:
        """Run ``ssh root@router WORDS`` as a client, with ``text`` as its standard input."""
        variables = {"PATH": os.environ["PATH"], "HOME": str(self.base), **(environment or {})}
        done = subprocess.run(
            self.command(name, *words, options=options),
            env=variables, input=text, capture_output=True, text=True, errors="replace", timeout=SECONDS,
            check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def running(base: Path) -> Iterator[Router]:
    """Give a router that runs; the test is skipped where this machine cannot."""
    if why_not():
        pytest.skip(why_not())
    router = Router(base)
    try:
        router.authorize({"root": ""})
        router.start()
        yield router
    finally:
        router.stop()


def _lay_out(root: Path) -> None:
    for folder in (
        "bin", "usr/bin", "usr/sbin", "lib64", "etc/dropbear", "etc/config", "etc/qpq", "var/etc", "var/run/qpq",
        "tmp", "proc", "dev", "root/.ssh",
    ):  # fmt: skip
        (root / folder).mkdir(parents=True)
    (root / "root").chmod(0o700)
    (root / "root/.ssh").chmod(0o700)
    shutil.copy(str(shutil.which("busybox")), root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    shutil.copy(BINARY, root / "usr/bin/qpq")
    shutil.copy(str(shutil.which("dropbear")), root / "usr/sbin/dropbear")
    _libraries(root)
    (root / "etc/passwd").write_text(
        f"root:x:0:0:root:/root:/bin/ash\nqpq:x:{QPQ_ID}:{QPQ_ID}:qpq:/var/run:/bin/false\n"
    )
    (root / "etc/group").write_text(f"root:x:0:\nqpq:x:{QPQ_ID}:\n")
    (root / "etc/shells").write_text("/bin/ash\n")
    (root / "etc/openwrt_release").write_text("DISTRIB_ID='OpenWrt'\n")
    (root / "etc/secret").write_text("the secret of this router\n")
    shutil.copy(ROOT / "uci/qpq.config", root / "etc/config/qpq")
    shutil.copy(ROOT / "uci/qpq.config", root / "var/etc/qpq")
    for name in ("etc/qpq", "var/run/qpq", "var/etc/qpq"):
        os.chown(root / name, QPQ_ID, QPQ_ID)
    (root / "etc/qpq").chmod(0o700)
    key = ["dropbearkey", "-t", "ed25519", "-f", str(root / "etc/dropbear/host_key")]
    subprocess.run(key, check=True, capture_output=True, timeout=SECONDS)


def _libraries(root: Path) -> None:
    """Copy what dropbear is linked with; on the routers it is static or has musl."""
    done = subprocess.run(
        ["ldd", str(shutil.which("dropbear"))], capture_output=True, text=True, check=True, timeout=SECONDS
    )
    for line in done.stdout.splitlines():
        path = next((word for word in line.split() if word.startswith("/")), None)
        if path is not None:
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def free_port() -> int:
    """Return a TCP port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
