"""An .ipk, for opkg (OpenWrt 24.10 and before, Gluon): a gzip'd tar of debian-binary, data.tar.gz, control.tar.gz."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openwrt.pack import archive
from openwrt.stage import File, tree

if TYPE_CHECKING:
    from openwrt.meta import Meta
    from openwrt.stage import Tree

# The text that OpenWrt's package-pack.mk writes, to the letter; what to do is told by functions.sh of the router.
GUARD = "[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0\n. ${IPKG_INSTROOT}/lib/functions.sh\n"
POSTINST = f'#!/bin/sh\n[ "${{IPKG_NO_SCRIPT}}" = "1" ] && exit 0\n{GUARD}default_postinst $0 $@\n'
PRERM = f"#!/bin/sh\n{GUARD}default_prerm $0 $@\n"


def file_name(meta: Meta, arch: str) -> str:
    """Return what opkg expects the package to be called."""
    return f"{meta.name}_{meta.version}_{arch}.ipk"


def control(meta: Meta, arch: str, time: int, installed_size: int) -> str:
    """Return the control file, its fields in OpenWrt's order; ``installed_size`` in bytes."""
    fields = (
        ("Package", meta.name),
        ("Version", meta.version),
        ("Depends", ", ".join(meta.depends)),
        ("Source", meta.source),
        ("SourceName", meta.name),
        ("License", meta.licence),
        ("LicenseFiles", meta.licence_files),
        ("Section", meta.section),
        ("Require-User", meta.users),
        ("SourceDateEpoch", str(time)),
        ("CPE-ID", meta.cpe),
        ("Maintainer", meta.maintainer),
        ("Architecture", arch),
        ("Installed-Size", str(installed_size)),
        ("Description", "\n ".join(meta.description)),
    )
    return "".join(f"{name}: {value}\n" for name, value in fields if value)


def installed_size(content: Tree, time: int) -> int:
    """Return what opkg compares with the room that is free: the bytes of the uncompressed data tar."""
    return len(archive.tar(content, time))


def build(content: Tree, meta: Meta, arch: str, time: int) -> bytes:
    """Return the package. ``time`` (seconds since 1970) is every file's time stamp."""
    data = archive.tar(content, time)
    present = {f"/{file.path}" for file in content.files}
    conffiles = sorted(present & {*meta.conffiles})
    texts = (
        ("conffiles", 0o644, "".join(f"{path}\n" for path in conffiles)),
        ("control", 0o644, control(meta, arch, time, len(data))),
        ("postinst", 0o755, POSTINST),
        ("postinst-pkg", 0o755, "".join(f"{line}\n" for line in meta.postinst)),
        ("prerm", 0o755, PRERM),
    )
    parts = tree(tuple(File(path, mode, text.encode()) for path, mode, text in texts))
    members = (
        ("debian-binary", b"2.0\n"),
        ("data.tar.gz", archive.gzip(data)),
        ("control.tar.gz", archive.gzip(archive.tar(parts, time))),
    )
    return archive.gzip(archive.flat(members, time))
