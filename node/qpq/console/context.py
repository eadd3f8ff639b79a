"""What every command of a console needs: where the daemon is, for whom it acts, where text goes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qpq.console import document
from qpq.console.client import ANSWER_SECONDS, Client
from qpq.console.errors import ConnectionLostError, ConsoleError, UsageError
from qpq.console.safe import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qpq.console.document import Document, Json
    from qpq.console.terminal import Terminal

MAX_INPUT = 1 << 20
ASK_SECONDS = 3.0


@dataclass(slots=True)
class Context:
    """One console; ``restricted`` consoles speak for ``user`` alone, which the daemon enforces too."""

    terminal: Terminal
    errors: Terminal
    environ: Mapping[str, str]
    data_dir: str
    socket: str
    user: str = ""
    json: bool = False
    restricted: bool = False
    interactive: bool = False
    wall: Callable[[], float] = time.time
    _client: Client | None = field(default=None, repr=False)
    _acting: str = field(default="", repr=False)

    def show(self, lines: Sequence[str]) -> None:
        """Print harmless lines."""
        self.terminal.write("".join(line + "\n" for line in lines))

    def show_document(self, value: Json) -> None:
        """Print a control document as one line of ASCII JSON."""
        self.terminal.write(document.dump(value) + "\n")

    def complain(self, text: str) -> None:
        """Print an error on stderr, in the interactive console on the terminal."""
        lines = [safe(line) for line in text.split("\n")[:20]]
        target = self.terminal if self.interactive else self.errors
        target.write("".join(f"qpq: {line}\n" for line in lines))

    def client(self) -> Client:
        """Return the connection, opened at the first use; raises NoDaemonError or what ``become`` was refused with."""
        if self._client is None:
            client = Client.connect(self.socket, user="" if self.restricted else self.user)
            if self.restricted:
                try:
                    client.request("become", {"user": self.user})
                except BaseException:
                    client.close()
                    raise
            self._client = client
        return self._client

    @property
    def connected(self) -> Client | None:
        """The connection, when there is one."""
        return self._client

    def request(self, command: str, args: Document | None = None, *, timeout: float = ANSWER_SECONDS) -> Json:
        """Ask the daemon; a connection that is lost is given up, so that the next command makes a new one."""
        client = self.client()
        try:
            return client.request(command, args, timeout=timeout)
        except ConnectionLostError:
            self.close()
            raise

    def is_mine(self, event: Document) -> bool:
        """Whether an event concerns the acting user; an admin's connection is told those of all users.

        Without a user named the daemon is asked once who that is; when it does not say, everything concerns us.
        """
        user = document.text(event, "user")
        if not user or self.restricted:
            return True
        if not self._acting:
            self._acting = self.user or self._default_user()
        return user == (self._acting or user)

    def _default_user(self) -> str:
        try:
            return document.text(document.as_document(self.request("mesh.identity", timeout=ASK_SECONDS)), "user")
        except ConsoleError:
            return ""

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def read_input(self, limit: int = MAX_INPUT) -> bytes:
        """Read standard input to its end; raises UsageError beyond ``limit`` bytes."""
        data = bytearray()
        while chunk := self.terminal.read():
            data += chunk
            if len(data) > limit:
                raise UsageError(f"standard input has more than {limit} bytes")
        return bytes(data)
