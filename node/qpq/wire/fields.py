"""The ranges and sizes of what stands in frames, for the classes that are frames."""

from __future__ import annotations

from typing import Final

from qpq.wire.errors import FieldError

U8: Final = 0xFF
U16: Final = 0xFFFF
U32: Final = 0xFFFF_FFFF
U64: Final = 0xFFFF_FFFF_FFFF_FFFF
KEY: Final = 32
"""Bytes of an identity or an address."""


def within(name: str, value: int, least: int, most: int) -> None:
    """Raise FieldError unless the value lies within both bounds, these included."""
    if not least <= value <= most:
        raise FieldError(f"{name} is {value}, it must be {least} to {most}")


def exactly(name: str, value: bytes, size: int) -> None:
    """Raise FieldError unless the value has ``size`` bytes."""
    if len(value) != size:
        raise FieldError(f"{name} has {len(value)} bytes, it must have {size}")
