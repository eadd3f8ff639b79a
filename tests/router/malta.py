"""Kernel and BusyBox of the big-endian MIPS machine, built from Debian's sources.

Debian has no port for it, and its little-endian kernel emulates a floating-point unit. This one does not, as OpenWrt's
do not: a hard-float program dies there. So BusyBox is built by the program's own toolchain, soft-float and with musl.
Both are kept in the cache under a hash of what they were made of.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path

from cross import cache, fetch
from cross.errors import CrossError
from cross.process import jobs, run
from cross.targets import target
from cross.toolchain import Toolchain, toolchain

HERE = Path(__file__).resolve().parent
KERNEL = HERE / "malta.config"
BUSYBOX = HERE / "busybox.config"
# Sources that this kernel is not built of, most of what the archive holds; what Kconfig reads of them stays.
LEFT_OUT = (
    "Documentation/*/*",
    *(f"arch/{name}/*.{suffix}" for name in ("arm", "arm64", "powerpc", "x86") for suffix in ("[chS]", "dts*")),
    "drivers/gpu/drm/*/*.[ch]",
    *(f"drivers/{name}/*/*.[ch]" for name in ("infiniband", "media", "net", "scsi", "staging", "usb")),
    "sound/*/*.[ch]",
    "tools/testing/*",
)
GENTLY = ("nice", "-n", "19")  # machines that have been switched on already go first
NEEDED = {"flex": "flex", "bison": "bison", "bc": "bc"}
FIXED = {"KBUILD_BUILD_TIMESTAMP": "2025-01-01", "KBUILD_BUILD_USER": "qpq", "KBUILD_BUILD_HOST": "qpq", "LC_ALL": "C"}


def kernel(name: str) -> Path:
    """Return a target's kernel, built if need be: about five minutes of one processor."""
    pin, prefix = fetch.pins()["linux"], target(name).gcc
    version = run([f"{prefix}gcc", "--version"]).splitlines()[0]
    config = KERNEL.read_text()

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=cache.cache_dir()) as scratch:
            source, built, wanted = (Path(scratch) / name for name in ("source", "built", "wanted"))
            source.mkdir()
            built.mkdir()
            wanted.write_text(config)
            command = ["tar", "-xf", fetch.fetched(pin), "-C", source, "--strip-components=1"]
            run([*command, *(f"--exclude=*/{pattern}" for pattern in LEFT_OUT)])
            words = ["make", "-s", "-C", source, f"O={built}", "ARCH=mips", f"CROSS_COMPILE={prefix}", f"-j{jobs()}"]
            run([*GENTLY, *words, "allnoconfig"], env={**FIXED, "KCONFIG_ALLCONFIG": str(wanted)})
            _heeded(config, built / ".config")
            run([*GENTLY, *words, "vmlinux"], env=FIXED, log=folder / "log")
            run([f"{prefix}strip", "-s", "-o", folder / "vmlinux", built / "vmlinux"])

    return cache.step(f"linux-{name}", [pin.sha256, version, config, *LEFT_OUT], make) / "vmlinux"


def busybox(name: str) -> Path:
    """Return a target's BusyBox, built if need be."""
    pin, tools = fetch.pins()["busybox"], toolchain(target(name))

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=cache.cache_dir()) as scratch:
            with tarfile.open(fetch.fetched(pin)) as archive:
                archive.extractall(scratch)  # noqa: S202 (the file's hash is known)
            (tree,) = Path(scratch).iterdir()
            _make_busybox(tools, tree, folder)

    return cache.step(f"busybox-{name}", [pin.sha256, tools.key, BUSYBOX.read_bytes()], make) / "busybox"


def _make_busybox(tools: Toolchain, tree: Path, folder: Path) -> None:
    gcc = tools.target.gcc
    words = [
        *GENTLY,
        "make",
        "-s",
        f"-j{jobs()}",
        f"CROSS_COMPILE={gcc}",
        f"CC={tools.cc}",
        f"LD={gcc}ld",
        "SKIP_STRIP=y",
    ]
    run([*words, "defconfig"], cwd=tree, env=tools.env)
    config = tree / ".config"
    given = {line.partition("=")[0]: line for line in BUSYBOX.read_text().splitlines() if line.startswith("CONFIG_")}
    kept = [line for line in config.read_text().splitlines() if line.partition("=")[0] not in given]
    config.write_text("\n".join([*kept, *given.values()]) + "\n")
    run([f"{gcc}ar", "rcs", tree / "libresolv.a"])  # part of musl
    run([*words, "busybox"], cwd=tree, env=tools.env, log=folder / "log")
    shutil.copy(tree / "busybox", folder / "busybox")
    run([f"{gcc}strip", "-s", folder / "busybox"])
    if "Soft float" not in run(["readelf", "-A", folder / "busybox"]):
        msg = "the BusyBox that was built is not soft-float: the kernel of the machine would end it"
        raise CrossError(msg)


def _heeded(wanted: str, config: Path) -> None:
    """Check that every option is as it was asked for: what an option depends on may have changed with the version."""
    found = set(config.read_text().splitlines())
    lost = [line for line in wanted.splitlines() if line.removeprefix("# ").startswith("CONFIG_") and line not in found]
    if lost:
        msg = f"the kernel's configuration is without: {', '.join(lost)}"
        raise CrossError(msg)
