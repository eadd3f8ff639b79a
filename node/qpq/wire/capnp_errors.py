"""What can be wrong with Cap'n Proto bytes and values."""

from __future__ import annotations

from qpq.errors import QpqError


class CapnpError(QpqError):
    """Bytes that are no Cap'n Proto message within the limits, or values that do not fit the schema."""


class FramingError(CapnpError):
    """The table in front of a message asks for no segments, for too many, or for more bytes than the limit."""


class PointerError(CapnpError):
    """A pointer leads out of its segment, to a segment that is not there, or to what does not belong there."""


class OverlapError(CapnpError):
    """Two pointers lead to the same words: a message is a tree, and each word is read once."""


class NestingError(CapnpError):
    """Pointers are nested deeper than the limit."""


class AmplificationError(CapnpError):
    """A list has more elements without content than its message has words, or the message has too many pointers."""


class ValuesError(CapnpError):
    """Values and schema do not fit: an unknown field, a wrong type, a number out of range, text that is not UTF-8."""
