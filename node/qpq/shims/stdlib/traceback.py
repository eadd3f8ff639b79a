"""Tracebacks as text, for logging and asyncio: where and what, without source lines, carets and suggestions.

A router has no sources to quote.
"""

from __future__ import annotations

import itertools
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType, TracebackType
    from typing import Self, TextIO

_MISSING = object()
MAX_CHAIN = 16
"""Exceptions told of one chain of causes."""
_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


class FrameSummary(NamedTuple):
    """One frame."""

    filename: str
    lineno: int | None
    name: str

    @property
    def line(self) -> str:
        """Return the source line, which is not known."""
        return ""


class StackSummary(list[FrameSummary]):
    """Frames, the outermost first."""

    @classmethod
    def extract(
        cls,
        frame_gen: Iterable[tuple[FrameType, int | None]],
        *,
        limit: int | None = None,
        lookup_lines: bool = True,  # noqa: ARG003 (theirs)
        capture_locals: bool = False,
    ) -> Self:
        """Return a summary; ``limit`` keeps the first frames, a negative one the last."""
        if capture_locals:
            raise NotImplementedError("local variables in tracebacks are not built in")
        frames = [FrameSummary(f.f_code.co_filename, line, f.f_code.co_name) for f, line in frame_gen]
        if limit is not None:
            frames = frames[:limit] if limit >= 0 else frames[limit:]
        return cls(frames)

    @classmethod
    def from_list(cls, a_list: Iterable[tuple[Any, ...]]) -> Self:
        """Return a summary of (file name, line, name, ...)."""
        return cls(FrameSummary(*row[:3]) for row in a_list)

    def format(self) -> list[str]:
        """Return a line for each frame."""
        return format_list(self)


def format_list(extracted_list: Iterable[FrameSummary | tuple[Any, ...]]) -> list[str]:
    """Return a line for each frame."""
    return [f'  File "{row[0]}", line {row[1]}, in {row[2]}\n' for row in extracted_list]


def print_list(extracted_list: Iterable[FrameSummary | tuple[Any, ...]], file: TextIO | None = None) -> None:
    """Print a line for each frame."""
    print("".join(format_list(extracted_list)), end="", file=file or sys.stderr)


def walk_stack(f: FrameType | None) -> Iterator[tuple[FrameType, int | None]]:
    """Yield a frame and those that called it."""
    if f is None:
        f = sys._getframe(1)
    while f is not None:
        yield f, f.f_lineno
        f = f.f_back


def walk_tb(tb: TracebackType | None) -> Iterator[tuple[FrameType, int | None]]:
    """Yield the frames of a traceback, the outermost first."""
    while tb is not None:
        yield tb.tb_frame, tb.tb_lineno
        tb = tb.tb_next


def extract_stack(f: FrameType | None = None, limit: int | None = None) -> StackSummary:
    """Return the frames that led here, the outermost first; ``limit`` keeps the innermost."""
    frame = sys._getframe(1) if f is None else f
    rows = list(walk_stack(frame))
    stack = StackSummary.extract(rows if limit is None else itertools.islice(rows, limit))
    stack.reverse()
    return stack


def extract_tb(tb: TracebackType | None, limit: int | None = None) -> StackSummary:
    """Return the frames of a traceback, the outermost first."""
    return StackSummary.extract(walk_tb(tb), limit=limit)


def format_tb(tb: TracebackType | None, limit: int | None = None) -> list[str]:
    """Return a line for each frame of a traceback."""
    return extract_tb(tb, limit).format()


def format_stack(f: FrameType | None = None, limit: int | None = None) -> list[str]:
    """Return a line for each frame that led here."""
    return extract_stack(sys._getframe(1) if f is None else f, limit).format()


def format_exception_only(exc: Any, /, value: Any = _MISSING, **_: object) -> list[str]:
    """Return kind, text and notes of an exception."""
    fault = exc if value is _MISSING else value
    kind = type(fault)
    name = (
        kind.__qualname__ if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        text = str(fault)
    except Exception:  # noqa: BLE001 (whatever a foreign __str__ raises, the fault must be told)
        text = "<exception str() failed>"
    notes = getattr(fault, "__notes__", None) or ()
    return [f"{name}: {text}\n" if text else f"{name}\n", *(f"{note}\n" for note in notes)]


def format_exception(
    exc: Any, /, value: Any = _MISSING, tb: Any = _MISSING, limit: int | None = None, chain: bool = True, **_: object
) -> list[str]:
    """Return the lines of an exception, of its causes first, and of what a group holds last."""
    fault = exc if value is _MISSING else value
    return _format(fault, fault.__traceback__ if tb is _MISSING and fault is not None else tb, limit, chain, 0)


def _format(fault: BaseException | None, tb: Any, limit: int | None, chain: bool, depth: int) -> list[str]:
    if fault is None:
        return ["NoneType: None\n"]
    lines: list[str] = []
    cause = fault.__cause__
    context = None if fault.__suppress_context__ else fault.__context__
    earlier = cause if cause is not None else context
    if chain and earlier is not None and depth < MAX_CHAIN:
        lines += _format(earlier, earlier.__traceback__, limit, chain, depth + 1)
        lines.append(_CAUSE if cause is not None else _CONTEXT)
    if tb is not None and tb is not _MISSING:
        lines += ["Traceback (most recent call last):\n", *format_tb(tb, limit)]
    lines += format_exception_only(fault)
    if isinstance(fault, BaseExceptionGroup) and depth < MAX_CHAIN:
        for member in fault.exceptions:
            lines += ["  | " + line for line in _format(member, member.__traceback__, limit, chain, depth + 1)]
    return lines


def print_exception(  # noqa: PLR0917 (theirs)
    exc: Any,
    /,
    value: Any = _MISSING,
    tb: Any = _MISSING,
    limit: int | None = None,
    file: TextIO | None = None,
    chain: bool = True,
    **_: object,
) -> None:
    """Print the lines of an exception."""
    print("".join(format_exception(exc, value, tb, limit, chain)), end="", file=file or sys.stderr)


def _print_exception_bltin(exc: BaseException, /) -> None:
    """Print what nobody caught: the interpreter calls it by this name (3.13)."""
    print_exception(exc)


def format_exc(limit: int | None = None, chain: bool = True) -> str:
    """Return the exception being handled as text."""
    return "".join(format_exception(sys.exception(), limit=limit, chain=chain))


def print_exc(limit: int | None = None, file: TextIO | None = None, chain: bool = True) -> None:
    """Print the exception being handled."""
    print_exception(sys.exception(), limit=limit, file=file, chain=chain)


def print_stack(f: FrameType | None = None, limit: int | None = None, file: TextIO | None = None) -> None:
    """Print how this place was reached."""
    print_list(extract_stack(sys._getframe(1) if f is None else f, limit), file=file)


def print_tb(tb: TracebackType | None, limit: int | None = None, file: TextIO | None = None) -> None:
    """Print the frames of a traceback."""
    print_list(extract_tb(tb, limit), file=file)


def clear_frames(tb: TracebackType | None) -> None:
    """Drop the local variables of a traceback's frames."""
    while tb is not None:
        with suppress(RuntimeError):  # it still runs
            tb.tb_frame.clear()
        tb = tb.tb_next
