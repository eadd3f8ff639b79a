"""The console's machines under any input: editor, safe text, words, QR codes, lines of the control protocol."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import segno
import segno.encoder
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from qpq.console.buffer import EditBuffer
from qpq.console.client import LineBuffer
from qpq.console.editor import Completion, Editor, Line
from qpq.console.errors import ConsoleError
from qpq.console.history import History
from qpq.console.keys import KeyDecoder, Pasted, Stroke, Typed
from qpq.console.parser import parse
from qpq.console.qr import encode
from qpq.console.qr_tables import ALPHANUMERIC
from qpq.console.safe import ELLIPSIS, safe, safe_lines, safe_name
from qpq.console.screen import PromptLine
from qpq.console.width import clip, columns, is_mark
from qpq.console.words import from_arguments, quote, split

if TYPE_CHECKING:
    from collections.abc import Iterator

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=200)
DANGEROUS = {"Cc", "Cf", "Zl", "Zp", "Cs"}


# --- safe ----------------------------------------------------------------------------------


@given(ANY_TEXT, st.integers(0, 300))
def test_safe_text_holds_nothing_dangerous_and_keeps_its_cap(text: str, limit: int) -> None:
    shown = safe(text, limit)
    assert not any(unicodedata.category(char) in DANGEROUS for char in shown)
    assert len(shown) <= max(limit, len(ELLIPSIS))
    assert safe(shown, 10_000) == shown


@given(ANY_TEXT)
def test_safe_lines_and_names_hold_nothing_dangerous(text: str) -> None:
    for line in [*safe_lines(text), safe_name(text)]:
        assert not any(unicodedata.category(char) in DANGEROUS for char in line)


@given(
    st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="\u115f\u1160\u3164\uffa0\u2800"))
)
def test_harmless_text_is_not_changed(text: str) -> None:
    assert safe(text, 10_000) == text


@given(st.text(), st.integers(0, 50))
def test_clipped_text_fits_and_is_the_longest_that_does(text: str, limit: int) -> None:
    kept = clip(text, limit)
    assert text.startswith(kept)
    assert columns(kept) <= limit
    assert kept == text or columns(text[: len(kept) + 1]) > limit


# --- words and parser ----------------------------------------------------------------------


@given(st.lists(st.text(max_size=20), max_size=10))
def test_quoted_words_come_back(values: list[str]) -> None:
    assert [word.value for word in split(" ".join(map(quote, values)))] == values


@given(st.text(max_size=200))
def test_words_lie_in_order_and_cover_all_but_blanks(line: str) -> None:
    words = split(line)
    at = 0
    for word in words:
        assert at <= word.start < word.end
        assert not line[at : word.start].strip(" \t\r\n")
        at = word.end
        if not word.quoted:
            assert line[word.start : word.end] == word.value
    assert not line[at:].strip(" \t\r\n")


@given(st.lists(st.text(max_size=20), max_size=6))
def test_arguments_of_a_process_are_taken_as_they_are(values: list[str]) -> None:
    line, words = from_arguments(values)
    assert [line[word.start : word.end] for word in words] == values


COMMAND_PIECES = st.sampled_from(
    [
        "mesh",
        "/mesh",
        "send",
        "peers",
        "user",
        "add",
        "anna",
        "--ttl",
        "7d",
        "--urgent",
        "--",
        "'",
        '"a b"',
        "-",
        "\x1b",
        "--file=x",
    ]
)


@given(st.lists(COMMAND_PIECES | st.text(max_size=5), max_size=8), st.booleans())
def test_a_line_is_a_command_or_an_error_never_a_fault(pieces: list[str], restricted: bool) -> None:
    line = " ".join(pieces)
    with suppress(ConsoleError):
        found = parse(line, split(line), restricted=restricted, interactive=True)
        assert found.command.restricted or not restricted
        assert not (restricted and "--file" in found.options)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60))
def test_a_message_text_reaches_the_daemon_as_it_was_typed(text: str) -> None:
    assume(text.strip(" ") == text and text[0] not in "'\"" and not any(w.startswith("--") for w in text.split()))
    line = f"/mesh send anna {text}"
    assert parse(line, split(line)).values["text"] == text


# --- keys and editor -----------------------------------------------------------------------

CHUNKS = st.lists(
    st.binary(max_size=12)
    | st.sampled_from(
        [b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D", b"\x1b[200~", b"\x1b[201~", b"\t", b"\r", b"\x7f", b"\x17"]
    )
    | st.text(max_size=5).map(lambda text: text.encode("utf-8", "ignore")),
    max_size=30,
)


def typed(strokes: list[Stroke]) -> str:
    return "".join(stroke.text for stroke in strokes if isinstance(stroke, (Typed, Pasted)))


@given(CHUNKS)
def test_keys_are_the_same_however_the_bytes_arrive(chunks: list[bytes]) -> None:
    whole, pieces = KeyDecoder(), KeyDecoder()
    at_once = whole.feed(b"".join(chunks)) + whole.flush()
    one_by_one = [
        stroke for chunk in chunks for byte in chunk for stroke in pieces.feed(bytes([byte]))
    ] + pieces.flush()
    assert typed(at_once) == typed(one_by_one)
    assert [s for s in at_once if not isinstance(s, Typed)] == [s for s in one_by_one if not isinstance(s, Typed)]


@given(CHUNKS)
def test_typed_text_never_holds_control_characters(chunks: list[bytes]) -> None:
    decoder = KeyDecoder()
    text = typed([stroke for chunk in chunks for stroke in decoder.feed(chunk)] + decoder.flush())
    assert all(char.isprintable() or char in "\n\u200c\u200d" for char in text)


def visible(output: str, total: int, *, dumb: bool) -> None:
    """Check that the output holds only what a vt100 (or a dumb terminal) knows and never passes the right edge."""
    column = at = 0
    while at < len(output):
        if output.startswith("\x1b", at):
            assert not dumb
            if output.startswith(("\x1b[K", "\x1b[H"), at):
                at += 3
            elif output.startswith("\x1b[2J", at):
                at += 4
            else:
                end = output.index("C", at)
                column += int(output[at + 2 : end])
                at = end + 1
            continue
        char = output[at]
        at += 1
        if char in "\r\n":
            column = 0
        elif char == "\b":
            column -= 1
        elif char != "\a":
            assert char.isprintable() or char in "\u200c\u200d"
            column += columns(char)
        assert 0 <= column < total or char == "#"


class EditorMachine(RuleBasedStateMachine):
    """Any keys, lines from others, new widths: the text is what a plain buffer says, the screen is never left."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 40
        self.lines: list[str] = []
        names = ("peers ", "petnames ", "世界 ")
        self.editor = Editor(PromptLine(40), History(), lambda text, at: Completion(at, names if text else ()))
        self.editor.open()

    @rule(data=CHUNKS)
    def type(self, data: list[bytes]) -> None:
        for chunk in data:
            self.editor.feed(chunk)
            while (outcome := self.editor.next()) is not None:
                if isinstance(outcome, Line):
                    self.lines.append(outcome.text)
                self.editor.open()

    @rule()
    def wait(self) -> None:
        self.editor.flush()
        while self.editor.next() is not None:
            self.editor.open()

    @rule(lines=st.lists(st.text(st.characters(categories=["L", "N"]), max_size=8), max_size=3))
    def arrive(self, lines: list[str]) -> None:
        before = (self.editor.text, self.editor.cursor)
        self.editor.print_above(lines)
        assert (self.editor.text, self.editor.cursor) == before

    @rule(total=st.integers(0, 100))
    def resize(self, total: int) -> None:
        visible(self.editor.take_output(), max(self.total, 21), dumb=False)
        self.total = max(total, 8)
        self.editor.resize(total)

    @rule()
    def come_and_go(self) -> None:
        self.editor.close()
        self.editor.open()

    @invariant()
    def the_cursor_is_in_the_text(self) -> None:
        assert 0 <= self.editor.cursor <= len(self.editor.text)

    @invariant()
    def the_screen_is_kept(self) -> None:
        # listed names may be wider than a very narrow terminal; the prompt never is
        visible(self.editor.take_output(), max(self.total, 21), dumb=False)


EditorMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)
TestEditor = EditorMachine.TestCase


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=120),
    st.integers(0, 120),
    st.integers(8, 60),
    st.booleans(),
)
def test_the_prompt_line_never_passes_the_right_edge(text: str, cursor: int, total: int, dumb: bool) -> None:
    line = PromptLine(total, dumb=dumb)
    for at in (len(text), min(cursor, len(text)), 0):
        visible(line.draw("> ", text, at), total, dumb=dumb)


MOVES = st.sampled_from([
    "left", "right", "home", "end", "word_left", "word_right", "backspace", "delete", "kill_end", "kill_start",
    "kill_word", "kill_word_right", "yank",
])  # fmt: skip


@given(st.lists(MOVES | st.text(max_size=4).map(lambda text: "+" + text), max_size=40))
def test_a_buffers_cursor_stands_before_whole_characters(steps: list[str]) -> None:
    buffer = EditBuffer()
    for step in steps:
        if step[0] == "+":
            buffer.insert(step[1:])
        else:
            getattr(buffer, step)()
        assert 0 <= buffer.cursor <= len(buffer.text)
        if step in {"left", "right"} and 0 < buffer.cursor < len(buffer.text):
            assert not is_mark(buffer.text[buffer.cursor])


# --- QR codes ------------------------------------------------------------------------------


@pytest.fixture(autouse=True, scope="module")
def _segno_pads_by_the_standard() -> Iterator[None]:
    """Segno 1.6.6 adds eight bits of padding where ISO/IEC 18004, 7.4.10 wants none (readers ignore them)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            segno.encoder, "write_padding_bits", lambda bits, _version, length: bits.extend([0] * (-length % 8))
        )
        yield


@settings(max_examples=40)
@given(
    st.text(ALPHANUMERIC, min_size=1, max_size=150) | st.text(min_size=1, max_size=40),
    st.sampled_from("LM"),
    st.integers(0, 7),
)
def test_a_code_is_module_for_module_segnos(text: str, level: str, mask: int) -> None:
    mode = "alphanumeric" if set(text) <= set(ALPHANUMERIC) else "byte"
    code = segno.make(text, error=level, mask=mask, micro=False, boost_error=False, mode=mode, encoding="utf-8")
    assert encode(text, level=level, mask=mask) == tuple(bytes(row) for row in code.matrix)


# --- lines of the control protocol ---------------------------------------------------------


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line and line != b"")), st.integers(1, 7))
def test_lines_are_the_same_however_the_bytes_arrive(lines: list[bytes], step: int) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    buffer = LineBuffer()
    assert [line for at in range(0, len(stream), step) for line in buffer.feed(stream[at : at + step])] == lines
