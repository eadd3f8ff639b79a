"""How OpenWrt treats a package: installed into an image and over an edited configuration, refused where it must be.

The installer is the boot check's stand-in (tests/router/guest), on this machine's own shell; what needs the running
router is tried by `make boot-check`.
"""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from package_kit import ARCH, TIME, content

from openwrt import stage
from openwrt.pack import ipk

ROOT = Path(__file__).resolve().parents[2]
GUEST = ROOT / "tests" / "router" / "guest"
SECONDS = 30
REFUSED = 255


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return the root directory of an image without the package."""
    root = tmp_path / "image"
    shutil.copytree(GUEST, root)
    for name in ("etc/config", "etc/init.d", "etc/rc.d", "tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/ash\n")
    (root / "etc" / "group").write_text("root:x:0:\n")
    (root / "etc" / "opkg.conf").write_text(f"arch all 1\narch noarch 1\narch {ARCH} 10\n")
    return root


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return the package around a small program."""
    return written(tmp_path, ARCH)


def written(folder: Path, arch: str, tree: stage.Tree | None = None) -> Path:
    path = folder / f"qpq_{arch}.ipk"
    path.write_bytes(ipk.build(tree or content(), stage.metadata(), arch, TIME))
    return path


def opkg(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(root / "bin" / "opkg"), "-o", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)


def installed(root: Path, path: Path) -> None:
    done = opkg(root, "install", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_in_an_image_the_service_is_enabled_for_boot_and_for_halt(image: Path, package: Path) -> None:
    installed(image, package)
    links = {path.name: str(path.readlink()) for path in (image / "etc" / "rc.d").iterdir()}
    assert links == {"S95qpq": "../init.d/qpq", "K10qpq": "../init.d/qpq"}
    assert (image / "usr" / "bin" / "qpq").stat().st_mode & 0o777 == 0o755


def test_in_an_image_the_node_has_its_own_user_and_group(image: Path, package: Path) -> None:
    installed(image, package)
    user = next(row for row in (image / "etc" / "passwd").read_text().splitlines() if row.startswith("qpq:")).split(":")
    group = next(row for row in (image / "etc" / "group").read_text().splitlines() if row.startswith("qpq:")).split(":")
    assert user[3] == group[2] != "0"
    assert user[2] != "0"
    assert user[6] == "/bin/false"


def test_what_an_image_has_never_run_is_left_for_its_first_boot(image: Path, package: Path) -> None:
    installed(image, package)
    assert (image / "etc" / "uci-defaults" / "50-qpq").exists()


def test_an_edited_configuration_stays_and_the_new_one_lies_beside_it(image: Path, tmp_path: Path) -> None:
    installed(image, written(tmp_path, ARCH))
    config = image / "etc" / "config" / "qpq"
    edited = config.read_text() + "\toption role 'leaf'\n"
    config.write_text(edited)
    shipped = stage.File("etc/config/qpq", 0o600, b"config qpq 'main'\n\toption enabled '0'\n")
    newer = stage.tree(tuple(shipped if file.path == shipped.path else file for file in content().files))
    installed(image, written(tmp_path, ARCH, newer))
    assert config.read_text() == edited
    assert (image / "etc" / "config" / "qpq-opkg").read_bytes() == shipped.data
    assert (image / "etc" / "rc.d" / "S95qpq").is_symlink(), "enabled as before"


def test_a_service_that_was_disabled_stays_so_over_an_upgrade(image: Path, package: Path) -> None:
    installed(image, package)
    for link in (image / "etc" / "rc.d").iterdir():
        link.unlink()
    installed(image, package)
    assert not list((image / "etc" / "rc.d").iterdir())


def test_another_machines_package_is_refused_and_one_for_all_is_not(image: Path, tmp_path: Path) -> None:
    done = opkg(image, "install", str(written(tmp_path, "x86_64")))
    assert done.returncode == REFUSED
    assert "incompatible with the architectures configured" in done.stderr
    installed(image, written(tmp_path, "all"))


def test_an_ar_archive_is_no_package(image: Path, tmp_path: Path) -> None:
    path = tmp_path / "qpq.ipk"
    path.write_bytes(b"!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n")
    done = opkg(image, "install", str(path))
    assert done.returncode == REFUSED
    assert "Malformed package file" in done.stderr


def test_an_empty_list_of_dependencies_would_be_seen_and_ours_is_none(image: Path, package: Path) -> None:
    installed(image, package)
    assert opkg(image, "remove", "qpq").returncode == 0
    files = unpacked(package.read_bytes())
    texts = unpacked(files["./control.tar.gz"])
    assert b"\nDepends: libc\n" in texts["./control"]
    texts["./control"] = texts["./control"].replace(b"Depends: libc\n", b"Depends: \n")
    files["./control.tar.gz"] = packed(texts)
    package.write_bytes(packed(files))
    done = opkg(image, "install", str(package))
    assert done.returncode == REFUSED
    assert "an empty Depends" in done.stderr


def unpacked(data: bytes) -> dict[str, bytes]:
    """Return the files in a gzip'd tar."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {row.name: file.read() for row in archive.getmembers() if (file := archive.extractfile(row))}


def packed(files: dict[str, bytes]) -> bytes:
    """Return a gzip'd tar of files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in files.items():
            row = tarfile.TarInfo(name)
            row.size, row.mode = len(data), 0o755
            archive.addfile(row, io.BytesIO(data))
    return gzip.compress(made.getvalue(), mtime=0)


def test_removing_leaves_the_edited_configuration_and_nothing_else(image: Path, package: Path) -> None:
    before = {path for path in image.rglob("*") if path.is_file()}
    installed(image, package)
    (image / "etc" / "config" / "qpq").write_text("config qpq 'main'\n")
    assert opkg(image, "remove", "qpq").returncode == 0
    after = {path for path in image.rglob("*") if path.is_file()}
    assert after - before == {image / "etc" / "config" / "qpq"}
    assert not list((image / "etc" / "rc.d").iterdir())


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_the_stand_ins_are_clean_for_shellcheck() -> None:
    scripts = [path for path in GUEST.rglob("*") if path.is_file() and path.name != "inittab"]
    assert len(scripts) > 10
    done = subprocess.run(
        ["shellcheck", "--shell=dash", *scripts], capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout
