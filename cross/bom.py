"""The bill of materials and the notices that go with a binary, from the pins that it was built from."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from cross import fetch
from cross.cache import ROOT
from cross.recipe.native import used_pins
from cross.revision import version_and_commit

if TYPE_CHECKING:
    from pathlib import Path

    from cross.link import Program

# Tools whose own code is in the result: zig's musl, Nuitka's runtime library.
ALWAYS = ("cpython", "nuitka", "sqlite", "ziglang", "zlib", "aioquic", "zeroconf")
PARTS_OF = {
    "cpython": "the interpreter and the standard library",
    "nuitka": "the runtime library of compiled code (Runtime Library Exception 1.0)",
    "ziglang": "the C library musl (MIT) and compiler-rt (Apache-2.0 WITH LLVM-exception)",
    "aws-lc": "mlkem-native, ML-KEM-768",
    "mbedtls": "AES-128 and GCM",
    "libsodium": "curves, hashes, ChaCha20-Poly1305, Argon2",
    "zeroconf": "mDNS, unmodified",
    "aioquic": "QUIC, unmodified",
    "sqlite": "the store",
    "zlib": "compression",
}
LICENCE_FILES = ("LICENSE", "LICENSE.md", "LICENSE-RUNTIME.txt", "COPYING")
LGPL = """\
zeroconf is under the LGPL-2.1-or-later and is linked into this program as bytecode. You may exchange it: put another
version's hash and file into cross/pins.json of the source of this program (its commit is named above) and run
`make cross TARGET=<target>`; everything that is needed for it is fetched or in that source.
"""


def write(program: Program, target: str) -> None:
    """Write ``qpq.cdx.json`` (CycloneDX 1.6) and ``NOTICE`` beside the binary."""
    used = [fetch.pins()[name] for name in sorted({*ALWAYS, *used_pins()})]
    folder = program.elf.parent
    (folder / "qpq.cdx.json").write_text(json.dumps(_bill(program.elf, target, used), indent=2) + "\n")
    (folder / "NOTICE").write_text(_notice(target, used))


def _bill(elf: Path, target: str, used: list[fetch.Pin]) -> dict[str, object]:
    version, commit = version_and_commit()
    reference = f"pkg:generic/qpq@{version}?target={target}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": reference,
                "name": "qpq",
                "version": version,
                "purl": reference,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(elf.read_bytes()).hexdigest()}],
                "properties": [{"name": "qpq:commit", "value": commit}, {"name": "qpq:target", "value": target}],
            }
        },
        "components": [
            {
                "type": "library",
                "bom-ref": pin.purl,
                "name": pin.name,
                "version": pin.version,
                "purl": pin.purl,
                "description": PARTS_OF.get(pin.name, ""),
                "licenses": [{"license": {"name": pin.licence}}],
                "externalReferences": [
                    {
                        "type": "source-distribution",
                        "url": pin.where,
                        "hashes": [{"alg": "SHA-256", "content": pin.sha256}],
                    }
                ],
            }
            for pin in used
        ],
        "dependencies": [{"ref": reference, "dependsOn": [pin.purl for pin in used]}],
    }


def _notice(target: str, used: list[fetch.Pin]) -> str:
    version, commit = version_and_commit()
    lines = [f"qpq {version}, commit {commit}, for {target}", "Apache-2.0: see LICENSE", "", "In this program:", ""]
    lines += [f"  {pin.name:10} {pin.version:10} {pin.licence}: {PARTS_OF.get(pin.name, '')}" for pin in used]
    lines += ["", LGPL, (ROOT / "LICENSE").read_text()]
    for pin in used:
        for name in LICENCE_FILES:
            path = fetch.unpacked(pin.name) / name
            if path.exists():
                lines += ["=" * 80, f"{pin.name} {pin.version}: {name}", "", path.read_text(errors="replace")]
    return "\n".join(lines)
