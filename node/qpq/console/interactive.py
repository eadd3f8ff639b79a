"""The interactive console: waits for keys and for the daemon, runs commands, shows what comes."""

from __future__ import annotations

import os
import select
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import qpq
from qpq.console import render
from qpq.console.commands import COMMANDS
from qpq.console.complete import Completer, Directory
from qpq.console.editor import Editor, Line, Outcome, Signal
from qpq.console.errors import DONE, ConnectionLostError, ConsoleError, UsageError
from qpq.console.handlers import execute
from qpq.console.history import History
from qpq.console.parser import Invocation, find, parse
from qpq.console.plain import PlainLines
from qpq.console.safe import safe, safe_name
from qpq.console.screen import PASTE_OFF, PASTE_ON, PromptLine
from qpq.console.terminal import TerminalGoneError
from qpq.console.words import split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpq.console.context import Context
    from qpq.console.document import Document

PROMPT = "qpq> "
RETRY_SECONDS = 5.0
_PARTNER_COLUMNS = 16
_HINT = "this text went nowhere: /to <peer> chooses who gets it, /mesh send <peer> <text> sends once, /help lists more"
_SEND = next(command for command in COMMANDS if command.words == ("mesh", "send"))


class Interactive:
    """One console on a terminal, or on a pipe, where it reads plain lines and shows no prompt."""

    def __init__(self, context: Context, history_path: str = "") -> None:
        self._context = context
        self._history_path = history_path
        self._history = History()
        self._partner = ""
        self._watching = False
        self._leaving = False
        self._status = DONE
        self._editor = self._make_editor()
        self._wake = -1

    def run(self) -> int:
        """Run until ^D, /quit or the end of input; raises NoDaemonError when there is no daemon to begin with.

        Returns 0, or of a pipe the status of the last command that failed.
        """
        self._load_history()
        self._watch()
        self._context.interactive = True
        with self._context.terminal.raw(), self._resizes():
            try:
                self._greet()
                while not self._leaving:
                    self.step()
            except TerminalGoneError:
                self._leaving = True
            finally:
                with suppress(TerminalGoneError):
                    self._part()
                self._context.interactive = False
                self._context.close()
                self._save_history()
        return self._status

    def step(self, longest: float | None = None) -> None:
        """Wait for one thing to happen, at most ``longest`` seconds (None: for ever), and do it."""
        self._watching = self._watching and self._context.connected is not None
        source = self._context.terminal.source
        patience = self._editor.patience
        retry = None if self._watching else RETRY_SECONDS
        limit = min((seconds for seconds in (longest, patience, retry) if seconds is not None), default=None)
        daemon = self._daemon()
        waited_for = [descriptor for descriptor in (source, daemon, self._wake) if descriptor >= 0]
        ready = select.select(waited_for, [], [], limit)[0]
        if self._wake in ready:
            self._resized()
        if daemon in ready:
            self._receive()
        if source in ready:
            self._typed()
        elif not ready and patience is not None:
            self._editor.flush()
            self._work()
        elif not ready and not self._watching:
            self._come_back()
        self._flush()

    # --- what happens -----------------------------------------------------------------------

    def _typed(self) -> None:
        data = self._context.terminal.read()
        if data:
            self._editor.feed(data)
        else:
            self._editor.end()
        self._work()

    def _work(self) -> None:
        while not self._leaving and (outcome := self._editor.next()) is not None:
            self._flush()
            self._do(outcome)
            self._show_events()
            if not self._leaving:
                self._editor.open()

    def _do(self, outcome: Outcome) -> None:
        if isinstance(outcome, Line):
            self._line(outcome.text.strip())
        elif outcome is Signal.END:
            self._leaving = True
        else:
            self._context.show(["/quit or ^D leaves"])

    def _receive(self) -> None:
        """Show what the daemon sent; only events come when no command runs."""
        try:
            self._print(self._context.client().receive())
            self._show_events()
        except ConnectionLostError as error:
            self._lost(error)

    def _lost(self, error: ConsoleError) -> None:
        self._watching = False
        self._context.close()
        self._editor.print_above([safe(f"{error}; waiting for it to come back")])

    def _come_back(self) -> None:
        with suppress(ConsoleError):
            self._watch()
            self._editor.print_above(["the daemon is back"])

    def _watch(self) -> None:
        self._context.request("watch")
        self._watching = True

    def _daemon(self) -> int:
        client = self._context.connected
        return client.fileno() if client is not None and self._watching else -1

    # --- commands ---------------------------------------------------------------------------

    def _line(self, line: str) -> None:
        if not line:
            return
        try:
            invocation = self._invocation(line)
            if invocation is None:
                return
            with self._context.terminal.breakable():
                status = execute(self._context, invocation)
        except ConsoleError as error:
            self._context.complain(str(error))
            status = error.status
        except KeyboardInterrupt:
            self._interrupted()
            return
        if status != DONE:
            self._status = DONE if self._context.terminal.is_input_tty else status

    def _invocation(self, line: str) -> Invocation | None:
        """Return the command of a line; None when the line asked something of this console itself."""
        if not line.startswith("/"):
            return self._plain_text(line)
        invocation = parse(line, split(line), restricted=self._context.restricted, interactive=True)
        if invocation.command.words == ("to",):
            self._partner = invocation.text("peer")
            self._editor.prompt = f"{safe_name(self._partner)[:_PARTNER_COLUMNS]}> " if self._partner else PROMPT
            return None
        if invocation.command.words == ("quit",):
            self._leaving = True
            return None
        return invocation

    def _plain_text(self, line: str) -> Invocation:
        if self._partner:
            return Invocation(_SEND, {"peer": self._partner, "text": line})
        try:
            command, _ = find(split(line))
        except UsageError:
            raise UsageError(_HINT) from None
        raise UsageError(f"commands begin with a slash: /{command.name}")

    def _interrupted(self) -> None:
        """What the daemon still answers belongs to nobody: begin again on a new connection."""
        self._context.show(["interrupted"])
        self._context.close()
        self._watching = False
        with suppress(ConsoleError):
            self._watch()

    # --- showing ----------------------------------------------------------------------------

    def _greet(self) -> None:
        if self._context.terminal.is_input_tty:
            self._context.show([f"qpq {qpq.__version__}: /help lists the commands, Tab completes, ^D leaves"])
            if not self._context.terminal.dumb:
                self._context.terminal.write(PASTE_ON)
        self._editor.open()
        self._flush()

    def _part(self) -> None:
        self._editor.close()
        self._flush()
        if self._context.terminal.is_input_tty and not self._context.terminal.dumb:
            self._context.terminal.write(PASTE_OFF)

    def _show_events(self) -> None:
        while (client := self._context.connected) is not None and (events := client.events()):
            self._print(events)

    def _print(self, events: list[Document]) -> None:
        for event in events:
            if not self._context.is_mine(event):
                continue
            if self._context.json:
                self._context.show_document(event)
            else:
                self._editor.print_above(render.event(event, self._context.wall()))

    def _flush(self) -> None:
        output = self._editor.take_output()
        if output:
            self._context.terminal.write(output)

    # --- the terminal -----------------------------------------------------------------------

    def _make_editor(self) -> Editor | PlainLines:
        terminal = self._context.terminal
        if not terminal.is_input_tty:
            return PlainLines()
        completer = Completer(Directory(self._context).names, restricted=self._context.restricted)
        return Editor(PromptLine(terminal.columns, dumb=terminal.dumb), self._history, completer, PROMPT)

    @contextmanager
    def _resizes(self) -> Iterator[None]:
        """Let SIGWINCH wake ``step``, SIGTERM and SIGHUP leave with the terminal put back."""
        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = read
        handlers = {signal.SIGWINCH: _nothing, signal.SIGTERM: _leave, signal.SIGHUP: _leave}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._wake = -1
            os.close(read)
            os.close(write)

    def _resized(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake, 256)
        self._editor.resize(self._context.terminal.columns)

    # --- history ----------------------------------------------------------------------------

    def _load_history(self) -> None:
        if self._history_path:
            try:
                self._history.load(self._history_path)
            except OSError as error:
                raise ConsoleError(f"{self._history_path}: {error.strerror}") from None

    def _save_history(self) -> None:
        if self._history_path:
            try:
                self._history.save(self._history_path)
            except OSError as error:
                self._context.complain(f"{self._history_path}: {error.strerror}")


def _nothing(_number: int, _frame: object) -> None:
    """Only the wake-up matters."""


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)
