"""The root of every error this program raises on purpose."""


class QpqError(Exception):
    """A fault with a name; the message says what the reader can do about it."""
