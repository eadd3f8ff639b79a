"""What makes a folder of packages a feed: Packages and its signature for opkg, packages.adb for apk."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from openwrt.pack import archive
from openwrt.pack.adb import Block, Payload, Schema, block, container

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openwrt.pack.apk import Package
    from openwrt.pack.keys import ApkKey, UsignKey


def opkg_index(packages: Sequence[tuple[str, str, bytes]], key: UsignKey | None) -> dict[str, bytes]:
    """Return the index files by name, from (file name, control text, the .ipk) of each package."""
    stanzas = []
    for name, control, data in packages:
        more = f"Filename: {name}\nSize: {len(data)}\nSHA256sum: {hashlib.sha256(data).hexdigest()}\n"
        head, mark, description = control.partition("Description: ")
        stanzas.append(f"{head}{more}{mark}{description}\n")
    text = "".join(stanzas).encode()
    files = {"Packages": text, "Packages.gz": archive.gzip(text)}
    if key is not None:
        files["Packages.sig"] = key.signature(text)
    return files


def apk_index(packages: Sequence[Package], key: ApkKey | None) -> dict[str, bytes]:
    """Return the index file by its name."""
    payload = Payload()
    rows = [row.info.write(payload, payload.blob(row.identity), len(row.data)) for row in packages]
    data = payload.finish(payload.object({2: payload.array(rows)}))
    blocks = [block(Block.ADB, data)]
    if key is not None:
        blocks.append(key.signature(Schema.INDEX, data))
    return {"packages.adb": container(Schema.INDEX, blocks)}
