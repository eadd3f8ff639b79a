"""Sources by pin: fetched from Debian's pool or PyPI, checked against their hash, unpacked once.

Debian's files come from the mirror that apt is configured with (``QPQ_DEBIAN_MIRROR`` overrides it), PyPI's through
pip, so that whatever index or proxy the machine is set up with is used. Nothing that was fetched enters the tree.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from cross.cache import CROSS, cache_dir, used
from cross.errors import CrossError
from cross.process import run

PINS = CROSS / "pins.json"
APT_HELPER = Path("/usr/lib/apt/apt-helper")


@dataclass(frozen=True, slots=True)
class Pin:
    """One archive: ``where`` is a path in Debian's pool or the name of a project on PyPI.

    ``package`` and ``arch`` name what a binary package of Debian belongs to; sources have neither.
    """

    name: str
    version: str
    registry: str
    where: str
    file: str
    sha256: str
    licence: str
    source: str
    suite: str
    package: str = ""
    arch: str = ""

    @property
    def purl(self) -> str:
        """Return the package URL of the bill of materials."""
        if self.registry == "pypi":
            return f"pkg:pypi/{self.where}@{self.version}"
        name, arch = (self.package, self.arch) if self.package else (self.source, "source")
        return f"pkg:deb/debian/{name}@{self.version}?arch={arch}&distro={self.suite}"


def pins() -> dict[str, Pin]:
    """Return all pins by name."""
    return {name: _pin(name, row) for name, row in json.loads(PINS.read_text()).items()}


def _pin(name: str, row: dict[str, str]) -> Pin:
    debian = row.get("debian")
    return Pin(
        name=name,
        version=row["version"],
        registry="debian" if debian else "pypi",
        where=debian or row["pypi"],
        file=debian.rsplit("/", 1)[-1] if debian else row["file"],
        sha256=row["sha256"],
        licence=row["licence"],
        source=row.get("source", ""),
        suite=row.get("suite", ""),
        package=row.get("package", ""),
        arch=row.get("arch", ""),
    )


def unpacked(name: str) -> Path:
    """Return the directory of a pinned source, fetched and unpacked if it is not there yet.

    Raises:
        CrossError: the file is gone from its registry, or is not what the pin says.
    """
    pin = pins()[name]
    folder = cache_dir() / "src" / f"{name}-{pin.version}-{pin.sha256[:12]}"
    if not folder.exists():
        archive = fetched(pin)
        with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
            _extract(archive, Path(scratch) / "tree")
            folder.parent.mkdir(exist_ok=True)
            _only_folder(Path(scratch) / "tree").rename(folder)
    return used(folder)


def fetched(pin: Pin) -> Path:
    """Return the archive of a pin, checked against its hash."""
    path = cache_dir() / "downloads" / pin.file
    if path.exists() and sha256_of(path) == pin.sha256:
        return used(path)
    path.parent.mkdir(exist_ok=True)
    print(f"cross: fetching {pin.file}", flush=True)
    with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
        got = Path(scratch) / pin.file
        try:
            if pin.registry == "debian":
                _from_debian(pin, got)
            else:
                _from_pypi(pin, got)
        except CrossError as error:
            msg = (
                f"{pin.name} {pin.version} ({pin.where}) cannot be fetched. If its registry has taken the file away, "
                f"`make cross-pins` proposes the pin that follows it.\n{error}"
            )
            raise CrossError(msg) from error
        if sha256_of(got) != pin.sha256:
            msg = f"{pin.file} has the SHA-256 {sha256_of(got)}, its pin says {pin.sha256}: not used"
            raise CrossError(msg)
        shutil.move(got, path)
    return used(path)


def debian_mirror() -> str:
    """Return the base address of Debian's archive as this machine's apt knows it."""
    given = os.environ.get("QPQ_DEBIAN_MIRROR")
    if given:
        return given.rstrip("/")
    if not shutil.which("apt-get"):
        msg = "this machine has no apt: set QPQ_DEBIAN_MIRROR to a mirror of Debian's archive"
        raise CrossError(msg)
    rows = run(["apt-get", "indextargets", "--format", "$(LABEL)|$(SITE)", "Created-By: Packages"]).splitlines()
    sites = sorted({site for label, _, site in (row.partition("|") for row in rows) if label == "Debian"})
    if not sites:
        msg = "apt knows no mirror of Debian: run `apt-get update`, or set QPQ_DEBIAN_MIRROR"
        raise CrossError(msg)
    return sites[0].rstrip("/")


def _from_debian(pin: Pin, path: Path) -> None:
    address = f"{debian_mirror()}/pool/{pin.where}"
    if APT_HELPER.exists():
        run([APT_HELPER, "download-file", address, path, f"SHA256:{pin.sha256}"])
    else:
        run(["curl", "--fail", "--silent", "--show-error", "--location", "--output", path, address])


def _from_pypi(pin: Pin, path: Path) -> None:
    wanted = path.parent / "wanted.txt"
    wanted.write_text(f"{pin.where}=={pin.version} --hash=sha256:{pin.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--dest", str(path.parent), "--requirement", str(wanted)]
    if pin.file.endswith(".whl"):
        python, _, platforms = pin.file.removesuffix(".whl").split("-", 2)[2].split("-")
        command += ["--only-binary", ":all:"]
        if python.startswith("cp"):
            command += ["--implementation", "cp", "--python-version", python[2:]]
        for platform in platforms.split("."):
            command += ["--platform", platform]
    else:
        command += ["--no-binary", pin.where]
    run(command)
    if not path.exists():
        msg = f"pip fetched another file than {pin.file}"
        raise CrossError(msg)


def _extract(archive: Path, folder: Path) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder)  # noqa: S202 (zipfile keeps to the folder)
        for program in folder.glob("ziglang/zig"):
            program.chmod(0o755)
        return
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:  # Python 3.11 before 3.11.4; the file's hash is known
            tar.extractall(folder)  # noqa: S202


def _only_folder(tree: Path) -> Path:
    entries = list(tree.iterdir())
    return entries[0] if len(entries) == 1 else tree


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
