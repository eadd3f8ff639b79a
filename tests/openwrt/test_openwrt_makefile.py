"""The feed's Makefile under GNU make, with small stand-ins for OpenWrt's rules.mk and package.mk."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import package_kit as kit
import pytest

from openwrt import meta, stage

if TYPE_CHECKING:
    from pathlib import Path

TEXT = meta.MAKEFILE.read_text()
# What OpenWrt's files set and do, as far as a package of a prebuilt program sees it.
RULES = """\
INCLUDE_DIR := $(TOPDIR)/include
ARCH_PACKAGES := mips_24kc
PKG_BUILD_DIR := $(TOPDIR)/build
INSTALL_DIR := install -d -m0755
INSTALL_BIN := install -m0755
INSTALL_CONF := install -m0600
INSTALL_DATA := install -m0644
CP := cp -fpR
"""
PACKAGE = """\
define BuildPackage
compile:
	$(Build/Prepare)
	$(Build/Configure)
	$(Build/Compile)
	$(call Package/$(1)/install,$(TOPDIR)/root)
export QPQ_CONFFILES := $$(Package/$(1)/conffiles)
export QPQ_POSTINST := $$(Package/$(1)/postinst)
export QPQ_DESCRIPTION := $$(Package/$(1)/description)
print:
	@echo 'name=$(PKG_NAME)'; echo 'version=$(PKG_VERSION)-r$(PKG_RELEASE)'; echo 'licence=$(PKG_LICENSE)'
	@echo 'files=$(PKG_LICENSE_FILES)'; echo 'maintainer=$(PKG_MAINTAINER)'; echo 'strip=$(RSTRIP)'
	@echo 'cpe=$(PKG_CPE_ID)'
	@echo 'conffiles'; echo "$$$$QPQ_CONFFILES"; echo 'postinst'; echo "$$$$QPQ_POSTINST"
	@echo 'description'; echo "$$$$QPQ_DESCRIPTION"
endef
"""
PROJECT = "cross:\n\tmkdir -p dist/$(TARGET) && printf 'program of %s' $(TARGET) >dist/$(TARGET)/qpq\n"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Run the package's build in a tree of OpenWrt that has this project as a feed; return the tree."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    top, feed = tmp_path / "openwrt", tmp_path / "feed"
    (top / "include").mkdir(parents=True)
    (top / "rules.mk").write_text(RULES)
    (top / "include/package.mk").write_text(PACKAGE)
    for _, _, source in (*stage.FILES, ("", 0, "openwrt/Makefile")):
        (feed / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(kit.ROOT / source, feed / source)
    (feed / "Makefile").write_text(PROJECT)
    return tmp_path


def make(tree: Path, target: str) -> str:
    argv = ["make", "-C", tree / "feed/openwrt", f"TOPDIR={tree / 'openwrt'}", "--no-print-directory", target]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_build_in_openwrts_tree_installs_the_same_files_as_ours(made: Path) -> None:
    make(made, "compile")
    root = made / "openwrt/root"
    installed = {
        path.relative_to(root).as_posix(): (path.stat().st_mode & 0o777, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    }
    program, mode = stage.PROGRAM
    expected = {path: (bits, (kit.ROOT / source).read_bytes()) for path, bits, source in stage.FILES}
    assert installed == expected | {program: (mode, b"program of mips_24kc")}


def test_both_builds_read_the_same_words(made: Path) -> None:
    head, _, rest = make(made, "print").partition("conffiles\n")
    conffiles, _, rest = rest.partition("postinst\n")
    postinst, _, description = rest.partition("description\n")
    told = stage.metadata()
    assert dict(line.split("=", 1) for line in head.splitlines()) == {
        "name": told.name,
        "version": told.version,
        "licence": told.licence,
        "files": told.licence_files,
        "maintainer": told.maintainer,
        "strip": ":",
        "cpe": told.cpe,
    }
    assert tuple(conffiles.split()) == told.conffiles
    assert tuple(postinst.strip().splitlines()) == told.postinst
    assert " ".join(description.split()) == " ".join(told.description)


def test_the_makefile_keeps_the_feeds_rules() -> None:
    assert TEXT.startswith("# SPDX-License-Identifier: Apache-2.0\n")
    assert TEXT.index("include $(TOPDIR)/rules.mk") < TEXT.index("PKG_NAME:=")
    assert re.fullmatch(r"cpe:/a:[a-z0-9_.-]+:qpq", stage.metadata().cpe)  # NISTIR 7695, bound as a URI
    assert TEXT.rstrip().endswith("$(eval $(call BuildPackage,qpq))")
    (fields,) = re.findall(r"^define Package/qpq\n(.*?)^endef", TEXT, re.MULTILINE | re.DOTALL)
    assert all(re.match(r"  [A-Z]+:=\S", line) for line in fields.splitlines())
    assert "USERID:=qpq:qpq" in fields
    (listed,) = re.findall(r"^define Package/qpq/conffiles\n(.*?)^endef", TEXT, re.MULTILINE | re.DOTALL)
    assert all(line.startswith("/") for line in listed.splitlines())
    recipes = re.findall(r"^define (?:Build/\w+|Package/qpq/install)\n(.*?)^endef", TEXT, re.MULTILINE | re.DOTALL)
    assert recipes
    assert all(line.startswith("\t") for recipe in recipes for line in recipe.splitlines())


def test_conffiles_are_not_kept_twice() -> None:
    kept = (kit.ROOT / "openwrt/files/qpq.keep").read_text().split()
    assert all(path.startswith("/") and path.endswith("/") for path in kept)
    assert not set(kept) & set(stage.metadata().conffiles)


def test_the_node_is_given_no_capability() -> None:
    text = (kit.ROOT / "openwrt/files/qpq.capabilities.json").read_text()
    named = dict(re.findall(r'"(\w+)": \[(.*?)\]', text))
    assert named == dict.fromkeys(("bounding", "effective", "ambient", "permitted", "inheritable"), "")
