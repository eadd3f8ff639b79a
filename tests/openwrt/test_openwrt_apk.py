"""The .apk under a reader that shares nothing with the packer, and under the real apk where this machine has one."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import apk_reader
import package_kit as kit
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from openwrt import stage
from openwrt.errors import PackError
from openwrt.pack import adb, apk, ipk
from openwrt.pack.keys import ApkKey, apk_key

if TYPE_CHECKING:
    from pathlib import Path

REAL = shutil.which("apk")


def new_key(folder: Path) -> ApkKey:
    secret = ec.generate_private_key(ec.SECP256R1())
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    (folder / "key.pem").write_bytes(secret.private_bytes(kind, form, serialization.NoEncryption()))
    return apk_key(folder / "key.pem")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> ApkKey:
    return new_key(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="module")
def package(key: ApkKey) -> apk.Package:
    return apk.build(kit.content(), stage.metadata(), kit.ARCH, kit.TIME, key)


@pytest.fixture(scope="module")
def found(package: apk.Package) -> apk_reader.Container:
    return apk_reader.read(package.data)


def test_the_container_is_a_deflated_package(package: apk.Package, found: apk_reader.Container) -> None:
    assert package.data[:4] == b"ADBd"
    assert found.schema == b"pckg"
    assert found.identity == package.identity.hex()


def test_info_says_what_the_control_file_of_the_ipk_says(found: apk_reader.Container) -> None:
    meta = stage.metadata()
    info = dict(found.root["info"])
    assert len(info.pop("hashes")) == 20
    assert info == {
        "name": "qpq",
        "version": meta.version,
        "description": " ".join(meta.description),
        "arch": kit.ARCH,
        "license": "Apache-2.0",
        "origin": "feeds/qpq/openwrt",
        "maintainer": meta.maintainer,
        "installed-size": sum(len(data) for _, data in apk_reader.files(found).values()),
        "depends": [{"name": "libc"}],
    }
    control = ipk.control(meta, kit.ARCH, kit.TIME, 1)
    for value in (info["name"], info["version"], info["license"], info["maintainer"], info["origin"]):
        assert f": {value}\n" in control


def test_the_description_is_one_that_openwrts_apk_does_not_cut() -> None:
    assert len(" ".join(stage.metadata().description).encode()) < 256


def test_the_unique_id_is_the_payloads_hash_with_zeros_in_its_place(found: apk_reader.Container) -> None:
    assert apk_reader.unique_id_holds(found)


def test_every_file_is_there_with_mode_owner_time_and_hash(found: apk_reader.Container) -> None:
    files = apk_reader.files(found)
    for file in kit.content().files:
        entry, data = files[file.path]
        assert data == file.data
        assert entry["mtime"] == kit.TIME
        assert entry["acl"] == {"mode": file.mode, "user": "root", "group": "root"}
    more = {path for path in files if path.startswith("lib/apk/packages/")}
    assert set(files) == more | {file.path for file in kit.content().files}


def test_folders_are_rwxr_xr_x_of_root_and_the_root_has_no_name(found: apk_reader.Container) -> None:
    assert "name" not in found.root["paths"][0]
    for folder in found.root["paths"]:
        assert folder["acl"] == {"mode": 0o755, "user": "root", "group": "root"}


def test_the_lists_are_those_by_which_openwrt_finds_services_users_and_conffiles(found: apk_reader.Container) -> None:
    files = {path: data.decode() for path, (_, data) in apk_reader.files(found).items() if path[:8] == "lib/apk/"}
    base = "lib/apk/packages/qpq"
    listed = sorted([*(f"/{file.path}" for file in kit.content().files), f"/{base}.rusers"])
    config = next(file.data for file in kit.content().files if file.path == "etc/config/qpq")
    digest = subprocess.run(["sha256sum"], input=config, capture_output=True, check=True, timeout=30).stdout.split()[0]
    assert files == {
        f"{base}.list": "".join(f"{path}\n" for path in listed),
        f"{base}.rusers": "qpq:qpq\n",
        f"{base}.conffiles": "/etc/config/qpq\n",
        f"{base}.conffiles_static": f"/etc/config/qpq {digest.decode()}\n",
    }
    assert "/etc/init.d/qpq" in listed


def run_script(text: str, root: Path, **environment: str) -> list[str]:
    env = {"PATH": "/usr/bin:/bin", "IPKG_INSTROOT": str(root), **environment}
    done = subprocess.run(["sh", "-s"], input=text, env=env, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.splitlines()


@pytest.fixture
def router(tmp_path: Path) -> Path:
    """Make a root whose functions.sh says what is called."""
    (tmp_path / "lib").mkdir()
    names = ("add_group_and_user", "default_postinst", "default_prerm")
    lines = [f'{name}() {{ echo "{name} $pkgname $root ${{PKG_UPGRADE:-0}}"; }}' for name in names]
    (tmp_path / "lib" / "functions.sh").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_scripts_do_what_openwrts_do(found: apk_reader.Container, router: Path) -> None:
    texts = found.root["scripts"]
    assert set(texts) == {"post-install", "post-upgrade", "pre-deinstall"}
    assert all(text.startswith("#!/bin/sh\n") for text in texts.values())
    install = [f"add_group_and_user qpq {router} 0", f"default_postinst qpq {router} 0"]
    assert run_script(texts["post-install"], router) == install
    assert run_script(texts["pre-deinstall"], router) == [f"default_prerm qpq {router} 0"]
    assert run_script(texts["post-install"], router, IPKG_NO_SCRIPT="1") == []
    assert run_script(texts["post-install"], router / "nowhere") == []


def test_an_upgrade_restarts_a_service_that_runs(found: apk_reader.Container, router: Path) -> None:
    service = router / "service"
    text = found.root["scripts"]["post-upgrade"].replace("/etc/init.d/qpq", str(service))
    expected = [f"add_group_and_user qpq {router} 1", f"default_postinst qpq {router} 1"]
    for status, more in ((0, ["restart"]), (1, [])):
        service.write_text(f'#!/bin/sh\n[ "$1" = running ] && exit {status}\necho "$1"\nexit 1\n')
        service.chmod(0o755)
        assert run_script(text, router) == expected + more


def test_the_signature_is_the_keys_and_no_others(found: apk_reader.Container, key: ApkKey, tmp_path: Path) -> None:
    assert apk_reader.signed_by(found, key.public_text())
    assert not apk_reader.signed_by(found, new_key(tmp_path).public_text())
    changed = dataclasses.replace(found, payload=found.payload + b"\0")
    assert not apk_reader.signed_by(changed, key.public_text())


def test_without_a_key_there_is_no_signature() -> None:
    package = apk.build(kit.content(), stage.metadata(), kit.ARCH, kit.TIME, None)
    assert apk_reader.read(package.data).signatures == []


def test_the_same_input_gives_the_same_bytes_signature_included(package: apk.Package, key: ApkKey) -> None:
    assert apk.build(kit.content(), stage.metadata(), kit.ARCH, kit.TIME, key) == package


def test_the_file_is_named_as_apk_wants_it(package: apk.Package) -> None:
    assert package.name == f"qpq-{stage.metadata().version}.apk"


def test_an_empty_file_has_an_entry_and_no_content() -> None:
    content = kit.content().with_files(stage.File("etc/empty", 0o600, b""))
    container = apk_reader.read(apk.build(content, stage.metadata(), kit.ARCH, kit.TIME, None).data)
    assert apk_reader.files(container)["etc/empty"][1] == b""


def test_the_reader_refuses_a_changed_byte_wherever_it_is(package: apk.Package) -> None:
    plain = b"ADB." + apk_reader.zlib.decompress(package.data[4:], -15)[4:]
    whole = apk_reader.read(plain)
    for at in range(0, len(plain), 7):
        changed = plain[:at] + bytes([plain[at] ^ 1]) + plain[at + 1 :]
        try:
            found = apk_reader.read(changed)
            apk_reader.files(found)
        except (apk_reader.Refused, ValueError, KeyError, AttributeError):
            continue
        assert found.payload != whole.payload or found.signatures != whole.signatures, at
        assert not apk_reader.unique_id_holds(found) or found.payload == whole.payload, at


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_535, 65_536])
def test_strings_of_every_width_come_back(size: int) -> None:
    payload = adb.Payload()
    text = b"x" * size
    data = payload.finish(payload.object({1: payload.blob("odd"), 2: payload.blob(text)}))
    found = apk_reader.decode(data, apk_reader.word(data, 4), [("a", bytes), ("b", bytes)])
    assert (found["a"], found.get("b", b"")) == (b"odd", text)


@pytest.mark.parametrize("number", [0, 1, (1 << 28) - 1, 1 << 28, (1 << 32) - 1])
def test_numbers_of_every_width_come_back(number: int) -> None:
    payload = adb.Payload()
    payload.blob("odd")
    data = payload.finish(payload.object({1: payload.integer(number)}))
    assert apk_reader.decode(data, apk_reader.word(data, 4), [("n", int)]) == {"n": number}


def test_equal_things_are_stored_once() -> None:
    payload = adb.Payload()
    assert payload.blob("root") == payload.blob("root")
    assert payload.blob("id", shared=False) != payload.blob("id", shared=False)
    assert payload.array([]) == payload.object({}) == payload.object({3: 0}) == adb.NULL


def test_what_is_too_long_for_the_format_is_refused() -> None:
    class Long(bytes):
        def __len__(self) -> int:
            return 1 << 32

    with pytest.raises(PackError, match="too long"):
        adb.Payload().blob(Long(b"x"))
    with pytest.raises(PackError, match="too long"):
        adb.block(adb.Block.DATA, Long(b"x"))


# The real one, where a machine has it: Debian does not package apk-tools.
real = pytest.mark.skipif(not REAL, reason="no apk on this machine (Debian has no package of apk-tools 3)")


def real_apk(root: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [str(REAL), "--root", root, "--arch", kit.ARCH, "--no-scripts", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=50)


@real
def test_the_real_apk_verifies_installs_and_removes_the_package(
    package: apk.Package, key: ApkKey, tmp_path: Path
) -> None:
    root, path = tmp_path / "root", tmp_path / package.name
    path.write_bytes(package.data)
    (root / "etc/apk/keys").mkdir(parents=True)
    (tmp_path / "libc").mkdir()
    made = [str(REAL), "mkpkg", "--info", "name:libc", "--info", "version:1", "--info", f"arch:{kit.ARCH}"]
    subprocess.run([*made, "--files", tmp_path / "libc", "--output", tmp_path / "libc.apk"], check=True, timeout=50)
    done = real_apk(root, "--initdb", "--allow-untrusted", "add", tmp_path / "libc.apk")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "UNTRUSTED" in (answer := real_apk(root, "add", path)).stdout + answer.stderr
    (root / "etc/apk/keys/qpq.pem").write_bytes(key.public_text())
    done = real_apk(root, "add", path)
    assert done.returncode == 0, done.stdout + done.stderr
    for file in kit.content().files:
        assert (root / file.path).read_bytes() == file.data
        assert (root / file.path).stat().st_mode & 0o777 == file.mode
    assert real_apk(root, "del", "qpq").returncode == 0
    assert not (root / "usr/bin/qpq").exists()
    assert os.path.isdir(root / "etc")
