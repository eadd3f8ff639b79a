"""A router to type the pages' commands into: a directory with BusyBox and stand-ins for opkg, apk, uci and procd.

Nothing of this machine is in it but the kernel: it has namespaces of its own for processes, mounts and network, and no
way out. The packages are those that this tree makes, for x86_64, whatever processor a page names.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import apk_reader
import package_kit  # noqa: F401 (puts the project's directory into the path)

from openwrt import clock, stage
from openwrt.pack import apk, feed, ipk

if TYPE_CHECKING:
    from openwrt.pack.keys import ApkKey, UsignKey

HERE = Path(__file__).resolve().parent
GUEST = HERE.parent / "router" / "guest"
TARGET = "x86_64"
PROGRAM = stage.DIST / TARGET / stage.BINARY
SECONDS = 55.0
USERS = "root:x:0:0:root:/root:/bin/ash\nnobody:x:65534:65534:nobody:/var:/bin/false\n"
GROUPS = "root:x:0:\nnogroup:x:65534:\n"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMadeUpForTheTestsOfThePagesAndForNothingEl anna"
# What a router has done when somebody logs in. `ssh` and `scp` are the page's other side, typed on a PC: here PC and
# router are one, and what ssh itself does is shown by a real dropbear elsewhere.
BOOTED = """
set -eu
export PATH=/page/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc; mount -t tmpfs tmpfs /tmp
mkdir -p /tmp/run /tmp/log /tmp/lock /tmp/state /dev/pts
syslogd -O /tmp/log/messages -S
ip link set lo up
cp /page/tmp/* /tmp/
reload_config --quiet
scp() { shift; [ "$2" = root@192.168.1.1:/tmp/ ] && [ -f "/tmp/$1" ]; }
ssh() {
    [ "$1" != -t ] || shift
    [ "$1" = root@192.168.1.1 ] && shift
    [ $# -eq 0 ] || sh -c "$*" </dev/null
}
# BusyBox's shell prefers its own of these to what is in PATH.
logread() { /page/bin/logread "$@"; }
wget() { /page/bin/wget "$@"; }
# Whoever types is slower than a node that starts.
settle() {
    tries=0
    while [ -x /usr/bin/qpq ] && ! qpq status >/dev/null 2>&1; do
        tries=$((tries + 1)); [ $tries -lt 30 ] || { logread; return 1; }
        sleep 0.1
    done
}
opkg() { command opkg "$@" && settle; }
apk() { command apk "$@" && settle; }
reload_config() { command reload_config "$@" && settle; }
"""


class Router:
    """A root directory with an OpenWrt of the given package manager; ``run`` boots it, runs a script and ends it."""

    def __init__(self, root: Path, manager: str) -> None:
        self.root = root
        shutil.copytree(GUEST, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("init", "rcS", "inittab"))
        for name in (
            "bin", "dev", "etc/config", "etc/init.d", "etc/rc.d", "etc/uci-defaults", "proc", "root", "sys", "tmp",
            "etc/opkg/keys", "etc/apk/keys", "etc/apk/repositories.d", "etc/dropbear", "page/tmp", "feed", "usr/bin",
        ):  # fmt: skip
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / "var").symlink_to("tmp")
        shutil.copytree(HERE / "docs" / "page", root / "page/bin")
        busybox = shutil.which("busybox")
        assert busybox is not None
        shutil.copy(busybox, root / "bin/busybox")
        for applet in subprocess.run(
            [busybox, "--list-full"], capture_output=True, text=True, check=True
        ).stdout.split():
            link = root / applet
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists() and not link.is_symlink():
                link.symlink_to("/bin/busybox")
        (root / "etc/passwd").write_text(USERS)
        (root / "etc/group").write_text(GROUPS)
        (root / "etc/openwrt_release").write_text(f"DISTRIB_RELEASE='24.10'\nDISTRIB_ARCH='{TARGET}'\n")
        (root / "etc/opkg.conf").write_text(f"arch all 1\narch noarch 1\narch {TARGET} 10\n")
        (root / "page/tmp/anna.pub").write_text(f"{PUBLIC_KEY}\n")
        if manager == "apk":
            functions = root / "lib/functions.sh"
            text = functions.read_text().replace("add_group_and_user()", "opkg_add_group_and_user()")
            (root / "lib/functions-opkg.sh").write_text(text)
            (root / "page/bin/functions-apk.sh").replace(functions)
            (root / "page/bin/opkg").unlink()
            (root / "bin/opkg").unlink()
        else:
            (root / "page/bin/apk").unlink()

    def run(self, script: str, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a script as root; whatever it started ends with it."""
        alone = ["unshare", "--net", "--ipc", "--uts", "--mount", "--pid", "--fork", "--kill-child"]
        # a mount of its own, since opkg asks df for the room on it
        inside = 'mount --bind "$0" "$0" && exec chroot "$0" /bin/sh -c "$1"'
        argv = [*alone, "sh", "-c", inside, str(self.root), BOOTED + script]
        for name, minor in (("null", 3), ("zero", 5), ("random", 8), ("urandom", 9)):
            device = self.root / "dev" / name
            if not device.exists():
                os.mknod(device, 0o20666, os.makedev(1, minor))
                device.chmod(0o666)
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            env={"PATH": os.environ["PATH"]},
        )

    def bring(self, usign: UsignKey, key: ApkKey) -> None:
        """Put the packages where the page's `scp` copies them to, and a feed of them onto its web server."""
        meta, content, time = stage.metadata(), stage.stage(TARGET), clock.epoch()
        name, data = ipk.file_name(meta, TARGET), ipk.build(content, meta, TARGET, time)
        (self.root / "page/tmp" / name).write_bytes(data)
        loose = apk.build(content, meta, TARGET, time, None)
        (self.root / "page/tmp" / loose.name).write_bytes(loose.data)
        self._taken_apart(loose.name, loose.data, "")
        served = self.root / "feed"
        control = ipk.control(meta, TARGET, time, ipk.installed_size(content, time))
        signed = apk.build(content, meta, TARGET, time, key)
        self._taken_apart(f"{signed.name.removesuffix('.apk')}-feed", signed.data, "qpq.pem", key)
        files = {f"opkg/{TARGET}/{name}": data, f"keys/{usign.name}": usign.public_text()}
        files |= {
            f"opkg/{TARGET}/{index}": text for index, text in feed.opkg_index([(name, control, data)], usign).items()
        }
        files |= {f"apk/{TARGET}/{index}": text for index, text in feed.apk_index([signed], key).items()}
        files |= {"keys/qpq.pem": key.public_text()}
        for path, body in files.items():
            (served / path).parent.mkdir(parents=True, exist_ok=True)
            (served / path).write_bytes(body)
        self._taken_apart("packages.adb", files[f"apk/{TARGET}/packages.adb"], "qpq.pem", key)

    def _taken_apart(self, name: str, data: bytes, signer: str, key: ApkKey | None = None) -> None:
        """Lay a container out for the router's `apk`, which cannot read it; a signature is checked here."""
        folder = self.root / "apk" / name
        folder.mkdir(parents=True)
        container = apk_reader.read(data)
        if key is not None:
            assert apk_reader.signed_by(container, key.public_text())
        (folder / "signer").write_text(signer)
        for script, text in container.root.get("scripts", {}).items():
            (folder / script).write_text(text)
        if "paths" not in container.root:
            return
        with tarfile.open(folder / "tree.tar", "w") as tree:
            for path, (entry, content) in apk_reader.files(container).items():
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(content), entry["acl"]["mode"]
                tree.addfile(member, io.BytesIO(content))


def why_not() -> str:
    """Say what is missing for a router here; nothing: it can be had."""
    if os.geteuid() != 0 or sys.platform != "linux":
        return "a router of its own needs root"
    if not shutil.which("busybox") or not shutil.which("unshare"):
        return "busybox or unshare is not installed (Debian: busybox-static, util-linux)"
    return "" if PROGRAM.exists() else f"there is no dist/{TARGET}/qpq; run: make cross TARGET={TARGET}"
