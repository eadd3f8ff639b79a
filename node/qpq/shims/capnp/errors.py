"""The one exception of the stand-in."""


class KjException(Exception):
    """Bytes that are no message of the schema, or values that do not fit it."""
