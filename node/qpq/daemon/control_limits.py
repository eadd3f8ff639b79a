"""The caps of the control socket: what one connection, and all of them together, may cost."""

from __future__ import annotations

MAX_CONNECTIONS = 32
"""Connections at a time; more are told ``busy`` and closed."""
RESERVED = 4
"""Of those, how many only an admin gets."""
MAX_IN_FLIGHT = 8
"""Requests of one connection being carried out; reading pauses above it."""
MAX_TASKS = 64
"""Requests of all connections being carried out, also those whose connection is gone; more are told ``busy``."""
MAX_QUEUE = 256
"""Events that wait for one reader; one more and the connection is dropped."""
MAX_QUEUE_BYTES = 256 * 1024
"""Bytes of those events, likewise."""
MAX_ANSWER = 8 * 1024 * 1024
"""Bytes of an answer; the console takes no longer line either."""
HANDLER_SECONDS = 60.0
"""How long one request may be carried out."""
WRITE_SECONDS = 30.0
"""How long a reader may leave a full buffer as it is before it is dropped."""
LINE_SECONDS = 30.0
"""How long a begun line may stay unfinished."""
IDLE_SECONDS = 600.0
"""How long a connection that does not watch may be silent."""
LINGER_SECONDS = 2.0
"""How long a connection that was refused may go on sending, unread, before it is cut off."""
MAX_LINGERING = 32
"""Refused connections that wait for that; more are cut off at once."""
STOP_SECONDS = 1.0
"""How long a stop waits for requests being carried out."""
