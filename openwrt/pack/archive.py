"""tar and gzip as OpenWrt's ipkg-build has them: GNU format, owned by 0:0, one time stamp, names that begin with ./."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openwrt.stage import Tree

_GZIP_HEAD = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 2, 3))  # no name, no time; most compressed; made on Unix


def gzip(data: bytes) -> bytes:
    """Compress without a name or a time."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(data) + packer.flush()
    return _GZIP_HEAD + body + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def tar(content: Tree, time: int) -> bytes:
    """Return the tree as a tar file: each directory before what is in it, names sorted."""
    files = {file.path: file for file in content.files}
    with io.BytesIO() as out:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path in sorted({*content.folders, *files}, key=lambda path: path.split("/")):
                entry = tarfile.TarInfo(f"./{path}" if path else ".")
                entry.mtime = time
                if path in files:
                    entry.mode, entry.size = files[path].mode, len(files[path].data)
                    archive.addfile(entry, io.BytesIO(files[path].data))
                else:
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(entry)
        return out.getvalue()


def flat(members: tuple[tuple[str, bytes], ...], time: int) -> bytes:
    """Return a tar file of members in the order given, without a directory, as the outer file of an .ipk is."""
    with io.BytesIO() as out:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for name, data in members:
                entry = tarfile.TarInfo(f"./{name}")
                entry.mtime, entry.mode, entry.size = time, 0o644, len(data)
                archive.addfile(entry, io.BytesIO(data))
        return out.getvalue()
