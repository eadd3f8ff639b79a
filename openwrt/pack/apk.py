"""An .apk, for apk-tools 3 (OpenWrt 25.12 and later), as apk mkpkg writes one in OpenWrt's build."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openwrt.pack.adb import Block, Payload, Schema, block, container, offset_of
from openwrt.pack.ipk import GUARD
from openwrt.stage import File

if TYPE_CHECKING:
    from openwrt.meta import Meta
    from openwrt.pack.keys import ApkKey
    from openwrt.stage import Tree

LISTS = "lib/apk/packages"
_ID_BYTES = 20
_OWNER = "root"


def file_name(meta: Meta) -> str:
    """Return what apk expects the package to be called."""
    return f"{meta.name}-{meta.version}.apk"


def scripts(meta: Meta) -> dict[str, str]:
    """Return OpenWrt's scripts by apk's names for them."""
    own = "".join(f"{line}\n" for line in meta.postinst[1:])  # without the line that names the shell
    names = f'export root="${{IPKG_INSTROOT}}"\nexport pkgname="{meta.name}"\n'
    install = f'[ "${{IPKG_NO_SCRIPT}}" = "1" ] && exit 0\n{GUARD}{names}add_group_and_user\ndefault_postinst\n{own}'
    return {
        "post-install": f"#!/bin/sh\n{install}",
        "post-upgrade": f"#!/bin/sh\nexport PKG_UPGRADE=1\n{install}",
        "pre-deinstall": f"#!/bin/sh\n{GUARD}{names}default_prerm\n",
    }


def with_lists(content: Tree, meta: Meta) -> Tree:
    """Return the tree with the lists by which OpenWrt's scripts find services, users and conffiles of an .apk."""
    users = File(f"{LISTS}/{meta.name}.rusers", 0o644, f"{meta.users}\n".encode())
    listed = content.with_files(users)
    hashes = {f"/{file.path}": hashlib.sha256(file.data).hexdigest() for file in content.files}
    texts = {
        "list": [f"/{file.path}" for file in listed.files],
        "conffiles": [*meta.conffiles],
        "conffiles_static": [f"{path} {hashes[path]}" for path in meta.conffiles if path in hashes],
    }
    return listed.with_files(
        *(
            File(f"{LISTS}/{meta.name}.{kind}", 0o644, "".join(f"{line}\n" for line in lines).encode())
            for kind, lines in texts.items()
        )
    )


@dataclass(frozen=True, slots=True)
class Package:
    """An .apk, and what an index says of it: its metadata and the hash by which apk knows the file again."""

    name: str
    data: bytes
    identity: bytes
    info: Info


@dataclass(frozen=True, slots=True)
class Info:
    """The fields that package and index share."""

    meta: Meta
    arch: str
    installed_size: int

    def write(self, payload: Payload, identity: int, file_size: int = 0) -> int:
        """Return the value of the object; ``identity`` is the value of the hash."""
        meta = self.meta
        depends = [payload.object({1: payload.blob(name)}) for name in sorted(set(meta.depends))]
        fields = {
            1: payload.blob(meta.name),
            2: payload.blob(meta.version),
            3: identity,
            4: payload.blob(" ".join(meta.description)),
            5: payload.blob(self.arch),
            6: payload.blob(meta.licence),
            7: payload.blob(meta.source),
            8: payload.blob(meta.maintainer),
            12: payload.integer(self.installed_size),
            15: payload.array(depends),
        }
        if file_size:
            fields[13] = payload.integer(file_size)
        return payload.object(fields)


def build(content: Tree, meta: Meta, arch: str, time: int, key: ApkKey | None) -> Package:
    """Return the package, signed if there is a key. ``time`` (seconds since 1970) is every file's time stamp."""
    content = with_lists(content, meta)
    info = Info(meta, arch, sum(len(file.data) for file in content.files))
    payload, identity = _payload(content, info, time)
    start = offset_of(identity) + 1  # after the length
    payload = payload[:start] + hashlib.sha256(payload).digest()[:_ID_BYTES] + payload[start + _ID_BYTES :]
    blocks = [block(Block.ADB, payload)]
    if key is not None:
        blocks.append(key.signature(Schema.PACKAGE, payload))
    for folder, path in enumerate(content.folders, start=1):
        for number, file in enumerate(_files_in(content, path), start=1):
            if file.data:
                blocks.append(block(Block.DATA, struct.pack("<II", folder, number), file.data))
    return Package(file_name(meta), container(Schema.PACKAGE, blocks), hashlib.sha256(payload).digest(), info)


def _payload(content: Tree, info: Info, time: int) -> tuple[bytes, int]:
    """Return the payload and the value of the unique id in it, which is of zeros."""
    payload = Payload()
    identity = payload.blob(bytes(_ID_BYTES), shared=False)
    folders = [
        payload.object(
            {
                1: payload.blob(path),
                2: _access(payload, 0o755),
                3: payload.array([_file(payload, file, time) for file in _files_in(content, path)]),
            }
        )
        for path in content.folders
    ]
    text = scripts(info.meta)
    root = {
        1: info.write(payload, identity),
        2: payload.array(folders),
        3: payload.object(
            {
                3: payload.blob(text["post-install"]),
                4: payload.blob(text["pre-deinstall"]),
                7: payload.blob(text["post-upgrade"]),
            }
        ),
    }
    return payload.finish(payload.object(root)), identity


def _file(payload: Payload, file: File, time: int) -> int:
    return payload.object(
        {
            1: payload.blob(file.path.rpartition("/")[2]),
            2: _access(payload, file.mode),
            3: payload.integer(len(file.data)),
            4: payload.integer(time),
            5: payload.blob(hashlib.sha256(file.data).digest()),
        }
    )


def _access(payload: Payload, mode: int) -> int:
    return payload.object({1: payload.integer(mode), 2: payload.blob(_OWNER), 3: payload.blob(_OWNER)})


def _files_in(content: Tree, folder: str) -> list[File]:
    return [file for file in content.files if file.path.rpartition("/")[0] == folder]
