"""A reader of apk's version 3 containers, written from the format's table alone: it shares nothing with the packer.

It refuses whatever apk would: other magic, a tag of no known type, an offset outside the payload, a block that is not
padded with zeros, content without its file, a hash that is not the content's.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

# The fields of each object in the order of their slots: (name, what it holds); a list of one is an array of it.
Table = list[tuple[str, Any]]
DEPENDENCY: Table = [("name", str), ("version", str), ("match", int)]
ACCESS: Table = [("mode", int), ("user", str), ("group", str), ("xattrs", [bytes])]
FILE: Table = [
    ("name", str), ("acl", ACCESS), ("size", int), ("mtime", int), ("hash", bytes), ("target", bytes),
]  # fmt: skip
FOLDER: Table = [("name", str), ("acl", ACCESS), ("files", [FILE])]
INFO: Table = [
    ("name", str), ("version", str), ("hashes", bytes), ("description", str), ("arch", str), ("license", str),
    ("origin", str), ("maintainer", str), ("url", str), ("repo-commit", bytes), ("build-time", int),
    ("installed-size", int), ("file-size", int), ("provider-priority", int), ("depends", [DEPENDENCY]),
    ("provides", [DEPENDENCY]), ("replaces", [DEPENDENCY]), ("install-if", [DEPENDENCY]),
    ("recommends", [DEPENDENCY]), ("layer", int), ("tags", [str]),
]  # fmt: skip
SCRIPTS: Table = [
    (name, str)
    for name in (
        "trigger", "pre-install", "post-install", "pre-deinstall", "post-deinstall", "pre-upgrade", "post-upgrade",
    )
]  # fmt: skip
PACKAGE: Table = [("info", INFO), ("paths", [FOLDER]), ("scripts", SCRIPTS), ("triggers", [str]), ("priority", int)]
INDEX: Table = [("description", str), ("packages", [INFO]), ("pkgname-spec", str)]


class Refused(Exception):  # noqa: N818 (it is what a reader does)
    """The file breaks a rule; the text says which."""


@dataclass
class Container:
    """A container taken apart: the decoded root, the payload it was in, and the other blocks in order."""

    schema: bytes
    root: dict[str, Any]
    payload: bytes
    signatures: list[bytes]
    data: list[bytes]

    @property
    def identity(self) -> str:
        return hashlib.sha256(self.payload).hexdigest()


def need(condition: object, told: str) -> None:
    if not condition:
        raise Refused(told)


def word(data: bytes, at: int) -> int:
    need(0 <= at <= len(data) - 4, f"a word at {at} is outside")
    return data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24


def read(file: bytes) -> Container:
    """Take a whole file apart."""
    need(file[:4] in {b"ADB.", b"ADBd"}, "no apk of version 3")
    plain = file
    if file[:4] == b"ADBd":
        inflater = zlib.decompressobj(wbits=-15)
        plain = inflater.decompress(file[4:]) + inflater.flush()
        need(inflater.eof and not inflater.unused_data, "the deflated part does not end where the file does")
        need(plain[:4] == b"ADB.", "what was deflated is no container")
    blocks = list(split(plain[8:]))
    need(blocks and blocks[0][0] == 0, "the first block is not the payload")
    kinds = [kind for kind, _ in blocks]
    need(kinds == sorted(kinds), "blocks are out of order")
    need(kinds.count(0) == 1, "two payloads")
    payload = blocks[0][1]
    need(payload[:4] == bytes(4), "a version of the payload that is not 0")
    table = {b"pckg": PACKAGE, b"indx": INDEX}.get(plain[4:8])
    need(table is not None, "a schema that is not known")
    root = decode(payload, word(payload, 4), table)
    return Container(
        plain[4:8], root, payload, [body for kind, body in blocks if kind == 1], [b for k, b in blocks if k == 2]
    )


def split(rest: bytes) -> Any:
    """Yield (type, content) of each block."""
    while rest:
        head = word(rest, 0)
        kind, size = head >> 30, head & (2**30 - 1)
        padded = (size + 7) // 8 * 8
        need(kind in {0, 1, 2}, "a block of a type that does not exist")
        need(size >= 4 and padded <= len(rest), "a block that is cut off")
        need(not any(rest[size:padded]), "padding that is not zero")
        yield kind, rest[4:size]
        rest = rest[padded:]


def decode(payload: bytes, tag: int, kind: Any) -> Any:
    """Return what a value is: a dict, a list, a number, a text, bytes; None where there is none."""
    if tag == 0:
        return None
    code, number = tag >> 28, tag & (2**28 - 1)
    if code in {0x1, 0x2, 0x3}:
        need(kind is int, "a number where none belongs")
        if code == 0x1:
            return number
        need(number % 4 == 0, "a number that is not aligned")
        wide = word(payload, number)
        return wide if code == 0x2 else wide | word(payload, number + 4) << 32
    if code in {0x8, 0x9, 0xA}:
        need(kind is str or kind is bytes, "a string where none belongs")
        width = 1 << (code - 8)
        need(number % width == 0, "a string that is not aligned")
        need(number + width <= len(payload), "a string outside")
        size = int.from_bytes(payload[number : number + width], "little")
        found = payload[number + width : number + width + size]
        need(len(found) == size, "a string that is cut off")
        return found.decode() if kind is str else found
    need(code in {0xD, 0xE}, f"a value of the type {code:x}")
    need((code == 0xD) == (len(kind) == 1 and not isinstance(kind[0], tuple)), "an object for an array, or the reverse")
    return slots(payload, number, kind)


def slots(payload: bytes, at: int, kind: Any) -> Any:
    need(at % 4 == 0, "slots that are not aligned")
    count = word(payload, at) - 1
    need(0 < count <= 10_000, "a number of slots that cannot be")
    tags = [word(payload, at + 4 * number) for number in range(1, count + 1)]
    need(tags[-1] != 0, "an empty last slot")
    if len(kind) == 1 and not isinstance(kind[0], tuple):
        return [decode(payload, tag, kind[0]) for tag in tags]
    need(count <= len(kind), "a field that no schema has")
    decoded = {name: decode(payload, tag, field) for (name, field), tag in zip(kind, tags, strict=False)}
    return {name: value for name, value in decoded.items() if value is not None}


def files(container: Container) -> dict[str, tuple[dict[str, Any], bytes]]:
    """Return path -> (entry, content), with everything checked that a package promises of its files."""
    found: dict[str, tuple[dict[str, Any], bytes]] = {}
    waiting = list(container.data)
    paths = container.root["paths"]
    names = [folder.get("name", "") for folder in paths]
    need(names == sorted(names, key=str.encode), "folders that are not sorted")
    need(len(set(names)) == len(names), "a folder twice")
    for number, folder in enumerate(paths, 1):
        name = folder.get("name", "")
        need(name.rpartition("/")[0] in names or not name, f"no folder above {name}")
        entries = folder.get("files", [])
        inside = [entry["name"] for entry in entries]
        need(inside == sorted(set(inside), key=str.encode), "files that are not sorted, or one twice")
        for place, entry in enumerate(entries, 1):
            content = b""
            if entry.get("size"):
                need(waiting, f"no content of {entry['name']}")
                block = waiting.pop(0)
                need((word(block, 0), word(block, 4)) == (number, place), f"another file's content for {entry['name']}")
                content = block[8:]
            need(len(content) == entry.get("size", 0), f"the size of {entry['name']}")
            need(hashlib.sha256(content).digest() == entry["hash"], f"the hash of {entry['name']}")
            found[f"{name}/{entry['name']}" if name else entry["name"]] = (entry, content)
    need(not waiting, "content without a file")
    return found


def unique_id_holds(container: Container) -> bool:
    """Tell whether the id is the payload's own hash, with zeros in its place."""
    given = container.root["info"]["hashes"]
    at = container.payload.find(bytes([len(given)]) + given) + 1
    zeroed = container.payload[:at] + bytes(len(given)) + container.payload[at + len(given) :]
    return len(given) == 20 and hashlib.sha256(zeroed).digest()[:20] == given


def signed_by(container: Container, pem: bytes) -> bool:
    """Tell whether the one signature is of this public key."""
    key = serialization.load_pem_public_key(pem)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    if len(container.signatures) != 1:
        return False
    (body,) = container.signatures
    if body[:2] != b"\x00\x04" or body[2:18] != hashlib.sha512(point).digest()[:16]:
        return False
    message = container.schema + body[:18] + hashlib.sha512(container.payload).digest()
    try:
        key.verify(body[18:], message, ec.ECDSA(hashes.SHA512()))
    except InvalidSignature:
        return False
    return True
