"""The thin shell around a terminal: modes by termios, size, reading and writing bytes."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qpq.console.errors import ConsoleError
from qpq.console.safe import encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

DEFAULT_COLUMNS = 80
MAX_COLUMNS = 1000
WRITE_SECONDS = 10.0
MAX_SECRET = 1024
_CHUNK = 4096
_DUMB = frozenset({"", "dumb", "unknown", "emacs"})
_LOCALE = ("LC_ALL", "LC_CTYPE", "LANG")


class TerminalGoneError(ConsoleError):
    """The terminal was closed, or takes no output for 10 s."""


def charset(environ: Mapping[str, str]) -> str:
    """Return ``utf-8`` or ``ascii`` by the locale variables (POSIX 8.2); a router sets none: UTF-8."""
    chosen = next((environ[name] for name in _LOCALE if environ.get(name)), "")
    return "utf-8" if not chosen or "utf8" in chosen.lower().replace("-", "") else "ascii"


def is_dumb(environ: Mapping[str, str]) -> bool:
    """Whether the terminal understands no cursor sequences."""
    return environ.get("TERM", "") in _DUMB


class Terminal:
    """Two descriptors; ``raw`` and ``quiet`` set modes and put back what was."""

    def __init__(self, source: int, sink: int, environ: Mapping[str, str]) -> None:
        self.source = source
        self.charset = charset(environ)
        self.is_input_tty = os.isatty(source)
        self.is_output_tty = os.isatty(sink)
        self.dumb = is_dumb(environ) or not self.is_output_tty
        self._sink = sink
        self._encode = encoder(self.charset)

    @property
    def is_utf8(self) -> bool:
        """Whether the terminal shows UTF-8."""
        return self.charset == "utf-8"

    @property
    def columns(self) -> int:
        """Return the width in columns; 80 when nobody knows."""
        try:
            packed = fcntl.ioctl(self._sink, termios.TIOCGWINSZ, bytes(8))
        except OSError:
            return DEFAULT_COLUMNS
        found = struct.unpack("HHHH", packed)[1]
        return min(found, MAX_COLUMNS) if found else DEFAULT_COLUMNS

    def read(self) -> bytes:
        """Wait for what is typed and return it; empty at the end of input."""
        try:
            return os.read(self.source, _CHUNK)
        except BlockingIOError:  # whoever started us left the descriptor so
            select.select([self.source], [], [])
            return self.read()
        except OSError:
            return b""  # the terminal hung up (EIO)

    def write(self, text: str) -> None:
        """Write all of ``text``; raises TerminalGoneError."""
        left = memoryview(self._encode(text))
        while left:
            try:
                left = left[os.write(self._sink, left) :]
            except BlockingIOError:
                self._wait_writable()
            except OSError as error:
                raise TerminalGoneError(f"the terminal is gone: {error.strerror}") from None

    @contextmanager
    def raw(self) -> Iterator[None]:
        """Keys come one by one, unechoed, and ^C is a key; output stays as it was."""
        with self._changed(_make_raw):
            yield

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Within ``raw``: ^C interrupts what runs."""
        with self._changed(_make_breakable):
            yield

    def ask_secret(self, prompt: str) -> str:
        """Ask for a line that is not shown; raises ConsoleError at the end of input or for invalid UTF-8."""
        self.write(prompt)
        try:
            with self._changed(_make_secret):
                line = self._read_line("passphrase")
        finally:
            self.write("\n")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            raise ConsoleError("the passphrase is not valid UTF-8") from None

    def ask_line(self, prompt: str) -> str:
        """Ask for a line that is shown; raises ConsoleError at the end of input."""
        self.write(prompt)
        with self._changed(_make_line):
            return self._read_line("answer").decode("utf-8", "replace").strip()

    def _read_line(self, what: str) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            data = self.read()
            if not data or len(line) > MAX_SECRET:
                raise ConsoleError(f"no {what} was given")
            line += data
        return line.rstrip(b"\r\n")

    def _wait_writable(self) -> None:
        if not select.select([], [self._sink], [], WRITE_SECONDS)[1]:
            raise TerminalGoneError("the terminal takes no output")

    @contextmanager
    def _changed(self, change: Callable[[list[Any]], None]) -> Iterator[None]:
        if not self.is_input_tty:
            yield
            return
        before = termios.tcgetattr(self.source)
        mode = termios.tcgetattr(self.source)
        change(mode)
        termios.tcsetattr(self.source, termios.TCSADRAIN, mode)
        try:
            yield
        finally:
            _restore(self.source, before)


# Attributes of POSIX tcgetattr: iflag, oflag, cflag, lflag, ispeed, ospeed, control characters.
_IFLAG, _LFLAG, _CHARS = 0, 3, 6


def _make_raw(mode: list[Any]) -> None:
    mode[_IFLAG] &= ~(termios.IXON | termios.ICRNL | termios.INLCR | termios.ISTRIP)
    mode[_LFLAG] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
    mode[_CHARS][termios.VMIN] = 1
    mode[_CHARS][termios.VTIME] = 0


def _make_breakable(mode: list[Any]) -> None:
    mode[_LFLAG] |= termios.ISIG


def _make_secret(mode: list[Any]) -> None:
    mode[_IFLAG] |= termios.ICRNL
    mode[_LFLAG] = (mode[_LFLAG] | termios.ICANON | termios.ISIG) & ~termios.ECHO


def _make_line(mode: list[Any]) -> None:
    mode[_IFLAG] |= termios.ICRNL
    mode[_LFLAG] |= termios.ICANON | termios.ISIG | termios.ECHO


def _restore(descriptor: int, mode: list[Any]) -> None:
    try:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, mode)
    except termios.error:
        return  # the terminal is gone, and its modes with it
