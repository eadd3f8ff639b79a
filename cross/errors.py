"""What can go wrong in a build that its user can mend; ``python -m cross`` prints the message and exits with 1."""

from __future__ import annotations


class CrossError(Exception):
    """The build cannot go on; the message says why and what to do."""
