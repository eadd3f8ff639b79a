"""What a machine boots from: kernel, initrd with the kernel's modules, disk with BusyBox and the package.

Debian's files come by pin (`cross/pins.json`) and are taken apart without being installed.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cross import cache, fetch
from cross.process import run
from cross.targets import target

from router import malta

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.boards import Board

GUEST = Path(__file__).resolve().parent / "guest"
DISK = "32M"  # two systems of a 16 MB router, since nothing on this disk is compressed
IMAGE = ("-q", "-t", "ext4", "-b", "4096", "-O", "^metadata_csum", "-E", "lazy_itable_init=0,lazy_journal_init=0")
FOLDERS = (
    "bin",
    "dev",
    "etc/config",
    "etc/init.d",
    "etc/rc.d",
    "etc/uci-defaults",
    "mnt",
    "proc",
    "root",
    "sys",
    "tmp",
)
PEOPLE = "root:x:0:0:root:/root:/bin/ash\nnobody:x:65534:65534:nobody:/var:/bin/false\n"
GROUPS = "root:x:0:\nnogroup:x:65534:\n"


@dataclass(frozen=True, slots=True)
class Parts:
    """Files of one board: ``modules`` in the order in which they are loaded."""

    kernel: Path
    busybox: Path
    modules: tuple[Path, ...]


def parts(board: Board) -> Parts:
    """Return a board's kernel, BusyBox and modules, fetched or built if need be."""
    if not board.debian:
        return Parts(malta.kernel(board.target), malta.busybox(board.target), ())
    kernel, busybox = (fetch.pins()[f"{name}-{board.debian}"] for name in ("linux", "busybox"))

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=cache.cache_dir()) as scratch:
            for pin in (kernel, busybox):
                run(["dpkg-deb", "-x", fetch.fetched(pin), scratch])
            _take(Path(scratch), board.modules, folder)

    inputs = [kernel.sha256, busybox.sha256, *board.modules, "1"]
    folder = cache.step(f"router-{board.debian}", inputs, make)
    return Parts(folder / "vmlinuz", folder / "busybox", tuple(sorted((folder / "modules").iterdir())))


def initrd(made: Parts, path: Path) -> None:
    """Write the initrd: BusyBox, the modules, and the script that mounts the disk."""
    files = [("init", GUEST / "init", 0o755), ("bin/busybox", made.busybox, 0o755)]
    files += [(f"modules/{module.name}", module, 0o644) for module in made.modules]
    path.write_bytes(gzip.compress(b"".join(_newc(files)), compresslevel=6, mtime=0))


def disk(board: Board, made: Parts, path: Path, package: Path, *, preinstalled: bool) -> None:
    """Write a disk with the system in /rom, the package installed in it or lying in /mnt beside it."""
    with tempfile.TemporaryDirectory(prefix="qpq-rom") as scratch:
        rom = Path(scratch) / "rom"
        _system(board, made, rom)
        if preinstalled:
            run(["sh", rom / "bin" / "opkg", "-o", rom, "install", package])
        shutil.copy(package, rom / "mnt" / "qpq.ipk")
        path.unlink(missing_ok=True)
        run(["mke2fs", *IMAGE, "-d", scratch, path, DISK])


def _take(tree: Path, modules: tuple[str, ...], folder: Path) -> None:
    """Copy kernel, BusyBox and the modules, with those that they need, out of the unpacked packages."""
    (kernel,) = (tree / "boot").glob("vmlinuz-*")
    shutil.copy(kernel, folder / "vmlinuz")
    shutil.copy(tree / "bin" / "busybox", folder / "busybox")
    version = kernel.name.removeprefix("vmlinuz-")
    run(["depmod", "-b", tree, version])
    wanted: dict[str, Path] = {}
    for name in modules:
        told = run(["modprobe", "-d", tree, "-S", version, "--show-depends", name])
        for line in told.splitlines():
            kind, _, file = line.partition(" ")
            if kind == "insmod":
                wanted.setdefault(Path(file.strip()).name, Path(file.strip()))
    (folder / "modules").mkdir()
    for index, file in enumerate(wanted.values()):
        shutil.copy(file, folder / "modules" / f"{index:02d}-{file.name}")


def _system(board: Board, made: Parts, rom: Path) -> None:
    shutil.copytree(GUEST, rom, ignore=shutil.ignore_patterns("init"))
    for name in FOLDERS:
        (rom / name).mkdir(parents=True, exist_ok=True)
    (rom / "etc" / "rcS").rename(rom / "etc" / "init.d" / "rcS")
    (rom / "var").symlink_to("tmp")
    shutil.copy(made.busybox, rom / "bin" / "busybox")
    for applet in _applets(board, made.busybox):
        link = rom / applet
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists() and not link.is_symlink():
            link.symlink_to("/bin/busybox")
    (rom / "etc" / "passwd").write_text(PEOPLE)
    (rom / "etc" / "group").write_text(GROUPS)
    (rom / "etc" / "openwrt_release").write_text("DISTRIB_ID='BootCheck'\n")
    (rom / "etc" / "opkg.conf").write_text(f"arch all 1\narch noarch 1\narch {board.target} 10\n")


def _applets(board: Board, busybox: Path) -> list[str]:
    """Return the paths, without a leading slash, that BusyBox is known by; this machine may have to emulate it."""
    emulator = target(board.target).qemu[:1]  # with its own choice of processor, since Debian's has a hard float
    return run([*emulator, busybox, "--list-full"]).split()


def _newc(files: list[tuple[str, Path, int]]) -> Iterator[bytes]:
    """Yield an archive as the kernel reads it (Documentation/driver-api/early-userspace/buffer-format)."""
    folders = sorted({parent for name, _, _ in files for parent in _above(name)})
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in folders]
    entries += [(name, stat.S_IFREG | mode, path.read_bytes()) for name, path, mode in files]
    entries += [("TRAILER!!!", 0, b"")]
    for number, (name, mode, data) in enumerate(entries, 1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        yield head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def _above(name: str) -> list[str]:
    return [str(parent) for parent in Path(name).parents if str(parent) != os.curdir]
