"""What all vectors share: the four key pairs, what would be random, and values as JSON has them."""

from __future__ import annotations

import dataclasses
import sys
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "node"), str(ROOT / "tests")]

from qpq.crypto.identity import SecretIdentity  # noqa: E402
from qpq.crypto.primitives import sha256  # noqa: E402
from qpq.errors import QpqError  # noqa: E402
from qpq.wire import cbor  # noqa: E402
from qpq.wire.frames import Skipped  # noqa: E402
from qpq.wire.varint import encode_varint  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.wire.codec import FrameEncoder
    from qpq.wire.frames import Frame

Document = dict[str, Any]

OUTPUT = ROOT / "schemas" / "vectors"
NAMES = ("node a", "node b", "anna", "bert")


def seed(name: str) -> bytes:
    """Return the seed of one of the four key pairs of all vectors."""
    return sha256(b"qpq vectors " + name.encode())


NODE_A, NODE_B, ANNA, BERT = (SecretIdentity(seed(name)) for name in NAMES)


def draw(name: str, size: int) -> bytes:
    """Return what a sender would draw at random."""
    return sha256(b"qpq vectors drawn " + name.encode())[:size]


def plain(value: object) -> Any:
    """Return ``value`` as JSON has it: byte strings as hex, enumerations as numbers, frames as what is compared."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, IntEnum):
        return value.value
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.compare}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in sorted(value.items())}
    return value


def described(frame: Frame) -> Document:
    """Return a frame as the vectors tell it."""
    return {"frame": type(frame).__name__.upper(), **plain(frame)}


def refusal(text: str, read: Callable[[bytes], object]) -> Document:
    """Return bytes that must not be read and the error this program names."""
    try:
        read(bytes.fromhex(text))
    except QpqError as fault:
        return {"hex": text, "error": type(fault).__name__}
    raise AssertionError(f"{text} was accepted")


def frame_bytes(encoder: FrameEncoder, frame: Frame) -> bytes:
    """Encode a frame; one of a later version, which this one skips, is written by hand."""
    if isinstance(frame, Skipped):
        body = cbor.encode([frame.type, "of a later version"])
        return encode_varint(len(body)) + body
    return encoder.encode(frame)
