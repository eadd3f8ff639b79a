"""Somebody else's reader of both package managers' formats reads our packages and indexes as they are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libsolv
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from package_kit import ARCH, TIME, content

from openwrt import stage
from openwrt.pack import apk, feed, ipk
from openwrt.pack.keys import ApkKey

if TYPE_CHECKING:
    from pathlib import Path

    from openwrt.pack.apk import Package

pytestmark = pytest.mark.skipif(bool(libsolv.why_not()), reason=libsolv.why_not() or "none")
WHAT = {"name": ["qpq"], "arch": [ARCH], "evr": ["0.1.0-r1"], "provides": ["qpq = 0.1.0-r1"], "requires": ["libc"]}


@pytest.fixture(scope="module")
def package() -> Package:
    return apk.build(content(), stage.metadata(), ARCH, TIME, key())


def key() -> ApkKey:
    secret = ec.generate_private_key(ec.SECP256R1())
    numbers = secret.public_key().public_numbers()
    return ApkKey(b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big"), secret)


def test_the_package_for_apk_says_what_it_is_and_needs(tmp_path: Path, package: Package) -> None:
    file = tmp_path / package.name
    file.write_bytes(package.data)
    found = libsolv.read("apk", file, index=False)
    assert {name: found[name] for name in WHAT} == WHAT
    assert found["license"] == [stage.metadata().licence]
    assert 0 <= int(found["installsize"][0]) - sum(len(each.data) for each in content().files) < 1024


def test_the_index_for_apk_lists_it_with_its_size(tmp_path: Path, package: Package) -> None:
    for name, data in feed.apk_index([package], key()).items():
        (tmp_path / name).write_bytes(data)
    found = libsolv.read("apk", tmp_path / "packages.adb", index=True)
    assert {name: found[name] for name in WHAT} == WHAT
    assert found["downloadsize"] == [str(len(package.data))]


def test_a_package_or_index_for_apk_that_is_cut_off_is_not_read(tmp_path: Path, package: Package) -> None:
    file = tmp_path / package.name
    file.write_bytes(package.data[:200])
    with pytest.raises((AssertionError, libsolv.ReaderError)):
        libsolv.read("apk", file, index=False)


def test_the_index_for_opkg_lists_it(tmp_path: Path) -> None:
    meta = stage.metadata()
    name, data = ipk.file_name(meta, ARCH), ipk.build(content(), meta, ARCH, TIME)
    control = ipk.control(meta, ARCH, TIME, ipk.installed_size(content(), TIME))
    (tmp_path / "Packages").write_bytes(feed.opkg_index([(name, control, data)], None)["Packages"])
    found = libsolv.read("opkg", tmp_path / "Packages", index=True)
    assert {field: found[field] for field in WHAT} == WHAT
    assert found["mediafile"] == [name]
