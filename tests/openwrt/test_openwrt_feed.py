"""The feed as signify sees it, as a second reader of apk's index sees it, and as its command line makes it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import apk_reader
import package_kit as kit
import pytest
from cross import link, size
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from openwrt import clock, mkpkg, stage
from openwrt.errors import PackError
from openwrt.pack import apk
from openwrt.pack.keys import apk_key, usign_key

if TYPE_CHECKING:
    from pathlib import Path

SIGNIFY = shutil.which("signify-openbsd")
TARGETS = ("mips_24kc", "x86_64")


@dataclass
class Keys:
    usign: Path
    usign_public: Path
    apk: Path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    if not SIGNIFY:
        pytest.skip("no signify on this machine (Debian: signify-openbsd)")
    folder = tmp_path_factory.mktemp("keys")
    made = Keys(folder / "usign.sec", folder / "usign.pub", folder / "apk.pem")
    subprocess.run([SIGNIFY, "-G", "-n", "-s", made.usign, "-p", made.usign_public], check=True, timeout=30)
    write_pem(made.apk, ec.generate_private_key(ec.SECP256R1()))
    return made


def write_pem(path: Path, secret: ec.EllipticCurvePrivateKey) -> None:
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(secret.private_bytes(kind, form, serialization.NoEncryption()))


@pytest.fixture
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a dist/ with small programs of two targets."""
    folder = tmp_path / "dist"
    for name in TARGETS:
        (folder / name).mkdir(parents=True)
        (folder / name / "qpq").write_bytes(kit.PROGRAM + name.encode())
        for notice in mkpkg.NOTICES:
            (folder / name / notice).write_text(f"{notice} of {name}\n")
    monkeypatch.setattr(stage, "DIST", folder)
    monkeypatch.setattr(mkpkg, "FEED", folder / "feed")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(kit.TIME))
    return folder


def feed(keys: Keys, *more: str) -> int:
    return mkpkg.main(["feed", *TARGETS, f"--usign-key={keys.usign}", f"--apk-key={keys.apk}", *more])


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def verified(public: Path, folder: Path) -> bool:
    argv = [str(SIGNIFY), "-V", "-q", "-p", public, "-x", folder / "Packages.sig", "-m", folder / "Packages"]
    return subprocess.run(argv, capture_output=True, check=False, timeout=30).returncode == 0


def test_a_feed_has_both_kinds_for_each_target_the_public_keys_and_the_notices(dist: Path, keys: Keys) -> None:
    assert feed(keys) == 0
    version, name = stage.metadata().version, usign_key(keys.usign).name
    expected = {f"keys/{name}", "keys/qpq.pem"}
    for target in TARGETS:
        expected |= {f"opkg/{target}/{file}" for file in ("Packages", "Packages.gz", "Packages.sig")}
        expected |= {f"opkg/{target}/qpq_{version}_{target}.ipk", f"apk/{target}/qpq-{version}.apk"}
        expected |= {f"apk/{target}/packages.adb", f"notices/{target}/NOTICE", f"notices/{target}/qpq.cdx.json"}
    assert set(everything(dist / "feed")) == expected


def test_the_index_for_opkg_is_signed_so_that_signify_believes_it(dist: Path, keys: Keys) -> None:
    assert feed(keys) == 0
    folder = dist / "feed/opkg/mips_24kc"
    assert verified(keys.usign_public, folder)
    published = next(path for path in (dist / "feed/keys").iterdir() if path.name != "qpq.pem")
    assert verified(published, folder)
    # The name that opkg looks for is the fingerprint in the key that signify made.
    assert published.name == kit.from_base64(keys.usign_public.read_text().split("\n")[1])[2:10].hex()
    (folder / "Packages").write_bytes((folder / "Packages").read_bytes() + b"\n")
    assert not verified(keys.usign_public, folder)


def test_the_index_for_opkg_names_the_file_its_size_and_its_hash(dist: Path, keys: Keys) -> None:
    assert feed(keys) == 0
    folder = dist / "feed/opkg/x86_64"
    text = (folder / "Packages").read_text()
    assert gzip.decompress((folder / "Packages.gz").read_bytes()).decode() == text
    fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", text, re.MULTILINE))
    data = (folder / fields["Filename"]).read_bytes()
    assert int(fields["Size"]) == len(data)
    assert fields["SHA256sum"] == hashlib.sha256(data).hexdigest()
    assert text.endswith("\n\n")
    outer = subprocess.run(["tar", "-xzO", "./control.tar.gz"], input=data, capture_output=True, check=True, timeout=30)
    inner = ["tar", "-xzO", "./control"]
    control = subprocess.run(inner, input=outer.stdout, capture_output=True, check=True, timeout=30).stdout.decode()
    without = re.sub(r"^(Filename|Size|SHA256sum): .*\n", "", text, flags=re.MULTILINE)
    assert without == f"{control}\n"


def test_the_index_for_apk_says_of_the_package_what_it_says_itself(dist: Path, keys: Keys) -> None:
    assert feed(keys) == 0
    folder = dist / "feed/apk/x86_64"
    index = apk_reader.read((folder / "packages.adb").read_bytes())
    (path,) = folder.glob("*.apk")
    package = apk_reader.read(path.read_bytes())
    assert index.schema == b"indx"
    (row,) = index.root["packages"]
    assert row.pop("hashes").hex() == package.identity
    assert row.pop("file-size") == path.stat().st_size
    info = dict(package.root["info"])
    info.pop("hashes")
    assert row == info
    public = (dist / "feed/keys/qpq.pem").read_bytes()
    assert apk_reader.signed_by(index, public)
    assert apk_reader.signed_by(package, public)
    assert path.name == f"{row['name']}-{row['version']}.apk"


def test_a_feed_is_byte_for_byte_the_same_when_it_is_made_again(dist: Path, keys: Keys) -> None:
    assert feed(keys) == 0
    first = everything(dist / "feed")
    (dist / "feed/opkg/x86_64/old.ipk").write_text("of another version")
    assert feed(keys) == 0
    assert everything(dist / "feed") == first


def test_a_feed_without_keys_is_an_error_that_says_what_to_do(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mkpkg.main(["feed", *TARGETS]) == 1
    told = capsys.readouterr().err
    assert "USIGN_KEY=file and APK_KEY=file" in told
    assert "UNSIGNED=1" in told
    assert not (dist / "feed").exists()


def test_a_feed_without_signatures_is_made_when_that_is_said(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mkpkg.main(["feed", *TARGETS, "--unsigned"]) == 0
    assert "NOT SIGNED" in capsys.readouterr().out
    made = set(everything(dist / "feed"))
    assert not [name for name in made if "Packages.sig" in name or name.startswith("keys/")]
    assert apk_reader.read((dist / "feed/apk/x86_64/packages.adb").read_bytes()).signatures == []


def test_packages_alone_are_written_without_a_key_and_signed_with_one(
    dist: Path, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    old = dist / "x86_64/qpq-0.0.1-r1.apk"
    old.write_text("of an older version")
    assert mkpkg.main(["package", "x86_64"]) == 0
    assert not old.exists()
    assert "--allow-untrusted" in capsys.readouterr().out
    (path,) = (dist / "x86_64").glob("*.apk")
    assert apk_reader.read(path.read_bytes()).signatures == []
    assert mkpkg.main(["package", "x86_64", f"--apk-key={keys.apk}"]) == 0
    assert "signed" in capsys.readouterr().out
    assert apk_reader.signed_by(apk_reader.read(path.read_bytes()), apk_key(keys.apk).public_text())


@pytest.mark.parametrize("target", ["mips_24kc", "x86_64"])
def test_a_program_that_does_not_fit_a_router_is_refused(
    dist: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (dist / target / "qpq").write_bytes(bytes(mkpkg.INSTALLED_LIMIT))
    assert mkpkg.main(["package", target]) == (target == "mips_24kc")
    assert ("over the budget of 4,812,800" in capsys.readouterr().err) == (target == "mips_24kc")


def test_a_package_over_its_budget_is_refused(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dist / "x86_64/qpq").write_bytes(os.urandom(size.PACKED_LIMIT))
    assert mkpkg.main(["package", "x86_64"]) == 1
    assert re.search(r"x86_64: qpq_.*\.ipk has 3,\d+,\d+ bytes, over the budget", capsys.readouterr().err)


def test_a_program_that_was_not_built_is_an_error_that_says_how(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dist / "x86_64/qpq").unlink()
    assert mkpkg.main(["package", "x86_64"]) == 1
    assert "make cross TARGET=x86_64" in capsys.readouterr().err
    assert mkpkg.main(["package", "pdp11"]) == 1
    assert "no target 'pdp11'" in capsys.readouterr().err


def test_a_program_without_its_notices_is_not_published(dist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dist / "x86_64/NOTICE").unlink()
    assert mkpkg.main(["feed", "x86_64", "--unsigned"]) == 1
    assert "dist/x86_64/NOTICE is missing" in capsys.readouterr().err


def test_a_file_that_the_package_installs_and_that_is_missing_is_an_error(
    dist: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dist.exists()
    monkeypatch.setattr(stage, "FILES", (*stage.FILES, ("etc/more", 0o644, "openwrt/files/more")))
    assert mkpkg.main(["package", "x86_64"]) == 1
    assert "openwrt/files/more is missing, which the package installs as /etc/more" in capsys.readouterr().err


def test_the_makefile_and_the_program_have_one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stage.metadata().version.endswith("-r1")
    monkeypatch.setattr(stage, "_VERSION", re.compile(r'^"""(\w+)'))
    with pytest.raises(PackError, match="make them the same"):
        stage.metadata()


def test_the_time_is_the_variables_or_the_commits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1234567890")
    assert clock.epoch() == 1_234_567_890
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(PackError, match="not seconds since 1970"):
        clock.epoch()
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    if (clock.ROOT / ".git").exists():
        assert clock.epoch() > 1_700_000_000
    monkeypatch.setattr(clock, "ROOT", tmp_path)
    with pytest.raises(PackError, match="set SOURCE_DATE_EPOCH"):
        clock.epoch()


def sizes(dist: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, int | None], list[str]]:
    """Return x86_64's row of `make size`, and the gate's complaints."""
    monkeypatch.setattr(size, "REPORT", dist / "size.json")
    (dist / "map").write_text("")
    program = link.Program(dist / "x86_64/qpq", dist / "map", dist / "modules.json")
    complaints = size.report({"x86_64": program}, accept=False)
    return json.loads((dist / "size.json").read_text())["x86_64"], complaints


def test_make_size_weighs_the_packages_of_the_program_that_is_there(
    dist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, complaints = sizes(dist, monkeypatch)
    assert (row["ipk"], row["apk"], complaints) == (None, None, [])
    assert mkpkg.main(["package", "x86_64"]) == 0
    row, _ = sizes(dist, monkeypatch)
    for kind in ("ipk", "apk"):
        (path,) = (dist / "x86_64").glob(f"*.{kind}")
        assert row[kind] == path.stat().st_size
    (dist / "x86_64/qpq").write_bytes(b"another program")
    row, _ = sizes(dist, monkeypatch)
    assert (row["ipk"], row["apk"]) == (None, None)


def test_make_size_complains_of_a_package_over_its_budget(dist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mkpkg.main(["package", "x86_64"]) == 0
    monkeypatch.setattr(size, "PACKED_LIMIT", 1000)
    complaints = sizes(dist, monkeypatch)[1]
    assert [line.split(" has ")[0] for line in complaints] == ["the .ipk of x86_64", "the .apk of x86_64"]


def damaged(keys: Keys, change: int) -> str:
    """Return the secret key's text with one byte of it changed."""
    head, body, _ = keys.usign.read_text().split("\n")
    data = bytearray(kit.from_base64(body))
    data[change] ^= 1
    return f"{head}\n{kit.to_base64(bytes(data))}\n"


@pytest.mark.parametrize(
    ("change", "told"),
    [(0, "no secret key"), (7, "passphrase"), (30, "damaged"), (45, "damaged"), (90, "damaged")],
)
def test_a_usign_key_that_cannot_be_used_is_refused(keys: Keys, tmp_path: Path, change: int, told: str) -> None:
    (tmp_path / "key").write_text(damaged(keys, change))
    with pytest.raises(PackError, match=told):
        usign_key(tmp_path / "key")


@pytest.mark.parametrize("text", ["", "untrusted comment: x\n", "untrusted comment: x\n%%%\n", "comment\nRWQ=\n"])
def test_what_is_no_usign_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(PackError, match="no secret key of usign"):
        usign_key(tmp_path / "key")


def test_what_is_no_p256_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(PackError, match=r"cannot be read: No such file"):
        apk_key(path)
    for text in (b"", b"-----BEGIN NOTHING-----\n"):
        path.write_bytes(text)
        with pytest.raises(PackError, match="no open P-256 key"):
            apk_key(path)
    write_pem(path, ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(PackError, match="no open P-256 key"):
        apk_key(path)
    locked = serialization.BestAvailableEncryption(b"secret")
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(kind, form, locked))
    with pytest.raises(PackError, match="no open P-256 key"):
        apk_key(path)


def test_a_public_key_does_not_hold_the_secret(keys: Keys) -> None:
    secret = kit.from_base64(keys.usign.read_text().split("\n")[1])
    public = kit.from_base64(usign_key(keys.usign).public_text().decode().split("\n")[1])
    assert len(public) == 42
    assert secret[40:72] not in public
    assert public == kit.from_base64(keys.usign_public.read_text().split("\n")[1])
    assert b"PRIVATE" not in apk_key(keys.apk).public_text()
    assert stat.S_ISREG(keys.usign.stat().st_mode)


REAL = shutil.which("apk")


@pytest.mark.skipif(not REAL, reason="no apk on this machine (Debian has no package of apk-tools 3)")
def test_the_real_apk_makes_the_same_index_and_takes_the_package_from_the_feed(dist: Path, keys: Keys) -> None:
    assert feed(keys) == 0
    folder, trusted = dist / "feed/apk/x86_64", dist / "feed/keys"

    def told(*words: str | Path) -> str:
        argv = [str(REAL), "--keys-dir", trusted, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=50).stdout

    told("mkndx", "--output", dist / "theirs.adb", *folder.glob("*.apk"))
    ours, theirs = (told("adbdump", path) for path in (folder / "packages.adb", dist / "theirs.adb"))
    rows = [line for line in ours.splitlines() if not line.startswith("#")]
    assert rows == [line for line in theirs.splitlines() if not line.startswith("#")]
    assert "OK" in told("verify", folder / "packages.adb")
    (dist / "root").mkdir()
    found = told("--arch", "x86_64", "--root", dist / "root", "--repository", folder / "packages.adb", "search", "qpq")
    assert f"{found.strip()}.apk" == apk.file_name(stage.metadata())
