"""The .ipk as Debian's tar and gzip see it, and as opkg's rules want it."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import package_kit as kit
import pytest

from openwrt import meta, stage
from openwrt.errors import PackError
from openwrt.pack import archive, ipk

if TYPE_CHECKING:
    from pathlib import Path

MEMBERS = ["./debian-binary", "./data.tar.gz", "./control.tar.gz"]


def run(*words: str | Path) -> str:
    return subprocess.run(words, capture_output=True, check=True, text=True, timeout=30).stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a package, take it apart with tar: ./ has the members, data/ and control/ what is in them."""
    if not (shutil.which("tar") and shutil.which("gzip")):
        pytest.skip("tar or gzip is not installed")
    folder = tmp_path_factory.mktemp("ipk")
    (folder / "qpq.ipk").write_bytes(ipk.build(kit.content(), stage.metadata(), kit.ARCH, kit.TIME))
    run("tar", "-C", folder, "-xzf", folder / "qpq.ipk")
    for part in ("data", "control"):
        (folder / part).mkdir()
        run("tar", "-C", folder / part, "-xzpf", folder / f"{part}.tar.gz")
    return folder


def control_of(package: Path) -> dict[str, str]:
    text = (package / "control" / "control").read_text()
    fields = re.findall(r"^([A-Za-z-]+): (.*(?:\n .*)*)", text, re.MULTILINE)
    assert "".join(f"{name}: {value}\n" for name, value in fields) == text
    return dict(fields)


def test_the_outer_file_is_one_gzipped_tar_of_three_members_in_order(package: Path) -> None:
    assert run("tar", "-tzf", package / "qpq.ipk").splitlines() == MEMBERS
    assert (package / "debian-binary").read_bytes() == b"2.0\n"


@pytest.mark.parametrize("name", ["qpq.ipk", "data.tar.gz", "control.tar.gz"])
def test_gzip_heads_hold_no_name_and_no_time(package: Path, name: str) -> None:
    data = (package / name).read_bytes()
    assert data[:10] == bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 2, 3))


@pytest.mark.parametrize("name", ["qpq.ipk", "data.tar.gz", "control.tar.gz"])
def test_all_members_are_owned_by_0_0_and_bear_the_one_time(package: Path, name: str) -> None:
    listed = run("tar", "--full-time", "--utc", "--numeric-owner", "-tvzf", package / name).splitlines()
    for line in listed:
        _, owner, _, day, time, path = line.split()
        assert (owner, path[:2]) == ("0/0", "./"), line
        assert f"{day} {time}" == "2026-09-21 14:13:20", line


def test_data_holds_every_file_with_its_mode_and_the_folders_above_it_first(package: Path) -> None:
    lines = [line.split() for line in run("tar", "-tvzf", package / "data.tar.gz").splitlines()]
    assert [(row[0], row[-1]) for row in lines] == [
        ("drwxr-xr-x", "./"),
        ("drwxr-xr-x", "./etc/"),
        ("drwxr-xr-x", "./etc/capabilities/"),
        ("-rw-r--r--", "./etc/capabilities/qpq.json"),
        ("drwxr-xr-x", "./etc/config/"),
        ("-rw-------", "./etc/config/qpq"),
        ("drwxr-xr-x", "./etc/hotplug.d/"),
        ("drwxr-xr-x", "./etc/hotplug.d/ntp/"),
        ("-rwxr-xr-x", "./etc/hotplug.d/ntp/50-qpq"),
        ("drwxr-xr-x", "./etc/init.d/"),
        ("-rwxr-xr-x", "./etc/init.d/qpq"),
        ("drwxr-xr-x", "./etc/sysctl.d/"),
        ("-rw-r--r--", "./etc/sysctl.d/50-qpq.conf"),
        ("drwxr-xr-x", "./etc/uci-defaults/"),
        ("-rwxr-xr-x", "./etc/uci-defaults/50-qpq"),
        ("drwxr-xr-x", "./lib/"),
        ("drwxr-xr-x", "./lib/upgrade/"),
        ("drwxr-xr-x", "./lib/upgrade/keep.d/"),
        ("-rw-r--r--", "./lib/upgrade/keep.d/qpq"),
        ("drwxr-xr-x", "./usr/"),
        ("drwxr-xr-x", "./usr/bin/"),
        ("-rwxr-xr-x", "./usr/bin/qpq"),
    ]
    for file in kit.content().files:
        assert (package / "data" / file.path).read_bytes() == file.data


def test_gnu_tar_itself_packs_the_unpacked_tree_to_the_same_bytes(package: Path) -> None:
    for part in ("data", "control"):
        flags = ["--format=gnu", "--numeric-owner", "--owner=0", "--group=0", "--sort=name", f"--mtime=@{kit.TIME}"]
        run("tar", *flags, "-C", package / part, "-cf", package / f"{part}.tar", ".")
        again = subprocess.run(["gzip", "-dc", package / f"{part}.tar.gz"], capture_output=True, check=True, timeout=30)
        assert again.stdout == (package / f"{part}.tar").read_bytes()


def test_control_has_every_field_that_openwrt_writes_and_none_empty(package: Path) -> None:
    fields = control_of(package)
    assert list(fields) == [
        "Package", "Version", "Depends", "Source", "SourceName", "License", "LicenseFiles", "Section", "Require-User",
        "SourceDateEpoch", "CPE-ID", "Maintainer", "Architecture", "Installed-Size", "Description",
    ]  # fmt: skip
    assert all(value.strip() for value in fields.values())
    assert fields["Depends"] == "libc"
    assert fields["Require-User"] == "qpq:qpq"
    assert fields["Architecture"] == kit.ARCH
    assert fields["Version"] == stage.metadata().version


def test_installed_size_is_the_data_tar_uncompressed(package: Path) -> None:
    unpacked = subprocess.run(["gzip", "-dc", package / "data.tar.gz"], capture_output=True, check=True, timeout=30)
    assert int(control_of(package)["Installed-Size"]) == len(unpacked.stdout)
    assert ipk.installed_size(kit.content(), kit.TIME) == len(unpacked.stdout)


def test_conffiles_are_absolute_and_in_the_package(package: Path) -> None:
    listed = (package / "control" / "conffiles").read_text().splitlines()
    assert listed == ["/etc/config/qpq"]
    assert all((package / "data" / path[1:]).is_file() for path in listed)


def test_what_sysupgrade_keeps_beside_conffiles_is_not_in_the_package(package: Path) -> None:
    kept = (package / "data" / "lib/upgrade/keep.d/qpq").read_text().splitlines()
    assert kept == ["/etc/qpq/"]
    assert not (package / "data" / "etc/qpq").exists()


def test_the_scripts_source_functions_sh_of_the_router_and_call_its_defaults(package: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "lib").mkdir(parents=True)
    functions = 'default_postinst() { echo postinst "$@"; }\ndefault_prerm() { echo prerm "$@"; }\n'
    (root / "lib" / "functions.sh").write_text(functions)
    for script, told in (("postinst", "configure"), ("prerm", "remove")):
        path = package / "control" / script
        assert path.stat().st_mode & 0o777 == 0o755
        env = {"PATH": "/usr/bin:/bin", "IPKG_INSTROOT": str(root)}
        done = subprocess.run(["sh", path, told], env=env, capture_output=True, text=True, check=True, timeout=30)
        assert done.stdout == f"{script} {path} {told}\n"
        env["IPKG_INSTROOT"] = str(tmp_path)  # a root without functions.sh: nothing to do, and no error
        done = subprocess.run(["sh", path, told], env=env, capture_output=True, text=True, check=True, timeout=30)
        assert (done.stdout, done.stderr) == ("", "")
    env["IPKG_NO_SCRIPT"] = "1"
    assert run("env", *(f"{name}={value}" for name, value in env.items()), "sh", package / "control" / "postinst") == ""


def test_the_same_input_gives_the_same_bytes(package: Path) -> None:
    assert ipk.build(kit.content(), stage.metadata(), kit.ARCH, kit.TIME) == (package / "qpq.ipk").read_bytes()


def test_the_file_is_named_as_opkg_wants_it() -> None:
    assert ipk.file_name(stage.metadata(), kit.ARCH) == f"qpq_{stage.metadata().version}_{kit.ARCH}.ipk"


def test_gzip_of_nothing_is_readable() -> None:
    done = subprocess.run(["gzip", "-dc"], input=archive.gzip(b""), capture_output=True, check=True, timeout=30)
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("PKG_RELEASE:=1", "PKG_RELEASE:=", "PKG_RELEASE must have a literal value"),
        ("PKG_LICENSE:=Apache-2.0", "PKG_LICENSE:=$(LICENCE)", "PKG_LICENSE must have a literal value"),
        ("PKG_VERSION:=0", "PKG_VERSION:=v0", "-r1 is no version of numbers"),
        ("PKG_RELEASE:=1", "PKG_RELEASE:=1-rc1", "-rc1 is no version of numbers"),
        ("define Package/qpq/conffiles", "define Package/qpq/none", "conffiles' must have at least one line"),
    ],
)
def test_a_makefile_without_a_value_is_refused(old: str, new: str, told: str) -> None:
    text = meta.MAKEFILE.read_text()
    with pytest.raises(PackError, match=re.escape(told)):
        meta.read(text.replace(old, new, 1))


def test_dependencies_come_after_the_one_every_package_has() -> None:
    text = meta.MAKEFILE.read_text().replace("DEPENDS:=@", "DEPENDS:=+kmod-tun +ca-bundle @", 1)
    assert meta.read(text).depends == ("libc", "kmod-tun", "ca-bundle")


REAL = shutil.which("opkg")


@pytest.mark.skipif(not REAL, reason="no opkg on this machine (Debian has no package of it)")
def test_the_real_opkg_installs_and_removes_the_package(package: Path, tmp_path: Path) -> None:
    root, conf = tmp_path / "root", tmp_path / "opkg.conf"
    (root / "tmp").mkdir(parents=True)
    conf.write_text(f"dest root /\narch all 1\narch {kit.ARCH} 10\n")
    opkg = [str(REAL), "-f", conf, "-o", root]
    run(*opkg, "--nodeps", "install", package / "qpq.ipk")  # libc is not there
    for file in kit.content().files:
        assert (root / file.path).read_bytes() == file.data
        assert (root / file.path).stat().st_mode & 0o777 == file.mode
    assert f"Version: {stage.metadata().version}\n" in run(*opkg, "info", "qpq")
    run(*opkg, "remove", "qpq")
    assert not (root / "usr/bin/qpq").exists()
    conf.write_text("dest root /\narch all 1\narch x86_64 10\n")
    refused = subprocess.run([*opkg, "--nodeps", "install", package / "qpq.ipk"], check=False, timeout=30)
    assert refused.returncode != 0
