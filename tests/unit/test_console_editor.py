"""The line editor without a terminal: keys, buffer, history, prompt line, editor."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from qpq.console import history as history_module
from qpq.console.buffer import MAX_LENGTH, EditBuffer
from qpq.console.editor import MAX_SHOWN, Completion, Editor, Line, Outcome, Signal
from qpq.console.history import History
from qpq.console.keys import (
    ESCAPE_PATIENCE,
    MAX_PASTE,
    PASTE_PATIENCE,
    Key,
    KeyDecoder,
    Pasted,
    Pressed,
    Stroke,
    Typed,
)
from qpq.console.plain import MAX_LINE, PlainLines
from qpq.console.screen import PromptLine

if TYPE_CHECKING:
    from pathlib import Path

UP, DOWN, RIGHT, LEFT = b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D"


def strokes(*chunks: bytes) -> list[Stroke]:
    decoder = KeyDecoder()
    return [stroke for chunk in chunks for stroke in decoder.feed(chunk)]


def press(*keys: Key) -> list[Stroke]:
    return [Pressed(key) for key in keys]


def editor(total: int = 40, *, dumb: bool = False, names: tuple[str, ...] = ()) -> Editor:
    def complete(text: str, cursor: int) -> Completion:
        start = text.rfind(" ", 0, cursor) + 1
        return Completion(start, tuple(name for name in names if name.startswith(text[start:cursor])))

    made = Editor(PromptLine(total, dumb=dumb), History(), complete)
    made.open()
    made.take_output()
    return made


def outcomes(made: Editor | PlainLines, data: bytes) -> list[Outcome]:
    made.feed(data)
    found = []
    while (outcome := made.next()) is not None:
        found.append(outcome)
        made.open()
    return found


class Screen:
    """A terminal of one page: understands exactly what PromptLine uses."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.lines = [""]
        self.column = 0

    def write(self, text: str) -> None:
        at = 0
        while at < len(text):
            if text.startswith("\x1b[H\x1b[2J", at):
                self.lines, self.column = [""], 0
                at += 7
            elif text.startswith("\x1b[K", at):
                self.lines[-1] = self.lines[-1][: self.column]
                at += 3
            elif text.startswith("\x1b[", at):
                end = text.index("C", at)
                self.column += int(text[at + 2 : end])
                at = end + 1
            else:
                self._char(text[at])
                at += 1

    def _char(self, char: str) -> None:
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self.lines.append("")
            self.column = 0
        elif char == "\b":
            self.column -= 1
        elif char != "\a":
            assert char.isprintable(), ascii(char)
            line = self.lines[-1].ljust(self.column)
            self.lines[-1] = line[: self.column] + char + line[self.column + 1 :]
            self.column += 1
            assert self.column < self.total + 1
        assert self.column >= 0


# --- keys ----------------------------------------------------------------------------------


def test_utf8_is_put_together_over_reads() -> None:
    assert strokes("ü世".encode()[:1], "ü世".encode()[1:4], "ü世".encode()[4:]) == [Typed("ü"), Typed("世")]


def test_invalid_utf8_and_invisible_characters_are_dropped() -> None:
    assert strokes(b"a\xff\xc3b", "\u202e\u0085".encode()) == [Typed("ab")]
    assert strokes(b"\xc3\x01\xbc") == press(Key.HOME)


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (b"\x01", Key.HOME), (b"\x05", Key.END), (b"\x0b", Key.KILL_END), (b"\x15", Key.KILL_START),
        (b"\x17", Key.KILL_WORD), (b"\x0c", Key.CLEAR), (b"\x03", Key.INTERRUPT), (b"\x04", Key.END_OF_INPUT),
        (b"\r", Key.ENTER), (b"\n", Key.ENTER), (b"\t", Key.COMPLETE),
        (b"\x7f", Key.BACKSPACE), (b"\x08", Key.BACKSPACE),
        (b"\x1b[A", Key.UP), (b"\x1bOB", Key.DOWN), (b"\x1b[H", Key.HOME), (b"\x1b[1~", Key.HOME), (b"\x1b[F", Key.END),
        (b"\x1b[4~", Key.END), (b"\x1b[3~", Key.DELETE), (b"\x1b[1;5C", Key.WORD_RIGHT), (b"\x1bb", Key.WORD_LEFT),
        (b"\x1b\x7f", Key.KILL_WORD), (b"\x19", Key.YANK),
    ],
)  # fmt: skip
def test_keys_are_known_whole_and_byte_by_byte(data: bytes, key: Key) -> None:
    assert strokes(data) == press(key)
    assert strokes(*(data[at : at + 1] for at in range(len(data)))) == press(key)


def test_unknown_sequences_are_swallowed_whole() -> None:
    assert strokes(b"\x1b[99~a\x1b[[Ab\x1b[?1;2cc\x1bxd\x00e") == [Typed(char) for char in "abcde"]


def test_a_sequence_that_never_ends_is_given_up() -> None:
    assert strokes(b"\x1b[" + b"1" * 40 + b"x") == [Typed("1111111x")]
    assert strokes(b"\x1b[1\x1b[A") == press(Key.UP)
    assert strokes(b"\x1b\x1b[A") == press(Key.UP)
    assert strokes(b"\x1b[1\x01") == []


def test_a_lone_escape_waits_and_is_dropped() -> None:
    decoder = KeyDecoder()
    assert decoder.patience is None
    assert decoder.feed(b"\x1b") == []
    assert decoder.patience == ESCAPE_PATIENCE
    assert decoder.flush() == []
    assert decoder.patience is None
    assert decoder.feed(b"A") == [Typed("A")]


def test_pasted_text_is_one_stroke_and_holds_no_keys() -> None:
    paste = b"\x1b[200~one\r\ntwo\rthree\x03\x1b[A\x04\tx\x1b[201~"
    assert strokes(paste) == [Pasted("one\ntwo\nthree[A x")]
    assert strokes(*(paste[at : at + 1] for at in range(len(paste)))) == [Pasted("one\ntwo\nthree[A x")]
    assert strokes(paste + b"\r") == [Pasted("one\ntwo\nthree[A x"), Pressed(Key.ENTER)]
    assert strokes(b"\x1b[200~\x1b[201~") == []


def test_a_paste_is_capped_and_its_end_still_found() -> None:
    found = strokes(b"\x1b[200~", *([b"x" * 5000] * 20), b"\x1b[20", b"1~y")
    assert found == [Pasted("x" * MAX_PASTE), Typed("y")]


def test_a_paste_without_an_end_ends_after_a_while() -> None:
    decoder = KeyDecoder()
    decoder.feed(b"\x1b[200~half")
    assert decoder.patience == PASTE_PATIENCE
    assert decoder.flush() == [Pasted("half")]
    assert decoder.feed(b"a") == [Typed("a")]


# --- buffer --------------------------------------------------------------------------------


def test_the_cursor_never_stops_inside_a_combined_character() -> None:
    buffer = EditBuffer()
    buffer.insert("ae\u0301b")
    buffer.left()
    buffer.left()
    assert buffer.cursor == 1
    buffer.delete()
    assert buffer.text == "ab"
    buffer.insert("e\u0301")
    buffer.backspace()
    assert (buffer.text, buffer.cursor) == ("ab", 1)
    buffer.home()
    buffer.right()
    assert buffer.cursor == 1


def test_words_are_cut_and_yanked() -> None:
    buffer = EditBuffer()
    buffer.insert("one two  three")
    buffer.kill_word()
    assert buffer.text == "one two  "
    buffer.kill_word()
    assert buffer.text == "one "
    buffer.yank()
    assert buffer.text == "one two  "
    buffer.home()
    buffer.kill_word_right()
    assert buffer.text == " two  "
    buffer.word_right()
    assert buffer.cursor == 4
    buffer.word_left()
    assert buffer.cursor == 1
    buffer.kill_end()
    assert buffer.text == " "
    buffer.kill_start()
    assert buffer.text == ""
    buffer.kill_start()
    buffer.yank()
    assert buffer.text == " "


def test_a_line_has_a_cap() -> None:
    buffer = EditBuffer()
    assert buffer.insert("x" * MAX_LENGTH)
    assert not buffer.insert("y")
    assert len(buffer.text) == MAX_LENGTH
    buffer.set("y" * (MAX_LENGTH + 5), 99999999)
    assert (len(buffer.text), buffer.cursor) == (MAX_LENGTH, MAX_LENGTH)


# --- history -------------------------------------------------------------------------------


def test_history_walks_up_and_down_and_keeps_what_was_typed() -> None:
    history = History()
    for line in ("one", "two", "two", "", " secret", "x" * 5000):
        history.add(line)
    assert history.lines == ["one", "two"]
    assert history.down() is None
    assert [history.up("typ"), history.up("two"), history.up("one")] == ["two", "one", None]
    assert [history.down(), history.down(), history.down()] == ["two", "typ", None]


def test_history_keeps_the_newest_500_lines() -> None:
    history = History()
    for number in range(600):
        history.add(str(number))
    assert (len(history.lines), history.lines[0]) == (500, "100")


def test_history_is_written_privately_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "history"
    history = History()
    history.load(str(path))
    history.add("grüße")
    history.add("two\nlines")
    history.save(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = History()
    again.load(str(path))
    assert again.lines == ["grüße", "two lines"]
    assert list(tmp_path.iterdir()) == [path]


def test_history_read_from_a_file_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_bytes(b"a\x1b[2Jb\n\xff\n")
    history = History()
    history.load(str(path))
    assert history.lines == ["a[2Jb"]


def test_history_does_not_follow_links_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"):
        History().load(str(tmp_path / "link"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(history_module.os, "replace", full)
    with pytest.raises(OSError, match="space"):
        History().save(str(tmp_path / "new"))
    assert os.listdir(tmp_path) == ["link"]


# --- the prompt line -----------------------------------------------------------------------


@pytest.mark.parametrize("dumb", [False, True])
def test_a_long_line_scrolls_and_never_wraps(*, dumb: bool) -> None:
    line = PromptLine(20, dumb=dumb)
    screen = Screen(20)
    text = "abcdefghijklmnopqrstuvwxyz0123456789"
    for cursor in [*range(len(text) + 1), *range(len(text), -1, -1), 30, 5, 36]:
        screen.write(line.draw("> ", text, cursor))
        shown = screen.lines[-1].rstrip()
        assert len(shown) <= 19
        assert shown[2:] in text
        first = text.index(shown[2])
        assert screen.column == 2 + cursor - first


def test_a_dumb_terminal_gets_no_escape_sequence() -> None:
    line = PromptLine(40, dumb=True)
    written = (
        line.draw("> ", "hello", 2) + line.draw("> ", "h", 1) + line.erase() + line.clear() + line.finish("> ", "x")
    )
    assert "\x1b" not in written
    screen = Screen(40)
    screen.write(line.draw("> ", "hello", 5) + line.draw("> ", "h", 1))
    assert (screen.lines, screen.column) == (["> h    "], 3)
    screen.write(line.erase())
    assert screen.lines == ["       "]


def test_wide_characters_and_line_ends_are_measured() -> None:
    line = PromptLine(20)
    assert line.draw("> ", "世界\nx", 2).endswith("\r\x1b[6C")
    assert "世界 x" in line.draw("> ", "世界\nx", 2)
    narrow = PromptLine(8)
    assert "世界世\x1b[K" in narrow.draw("", "世界世界世界", 0)


def test_a_prompt_too_wide_for_the_terminal_is_left_out() -> None:
    assert "prompt" not in PromptLine(10).draw("long prompt> ", "x", 1)
    assert PromptLine(10).draw("long prompt> ", "", 0) == "\r\x1b[K\r"


# --- the editor ----------------------------------------------------------------------------


def test_a_line_is_typed_edited_and_entered() -> None:
    made = editor()
    assert outcomes(made, b"helo" + LEFT + b"l\x05!\r") == [Line("hello!")]
    assert made.text == ""


def test_lines_come_one_by_one_so_that_answers_stand_between() -> None:
    made = editor()
    made.feed(b"one\rtwo\rthr")
    assert made.next() == Line("one")
    assert made.text == ""
    assert made.next() == Line("two")
    assert made.next() is None
    assert made.text == "thr"


def test_what_others_print_stands_above_and_leaves_the_typed_text() -> None:
    made = editor()
    screen = Screen(40)
    made.open()
    made.feed(b"half a sen" + LEFT)
    assert made.next() is None
    screen.write(made.take_output())
    made.print_above(["anna: hello", "bert: hi"])
    screen.write(made.take_output())
    assert screen.lines == ["anna: hello", "bert: hi", "> half a sen"]
    assert screen.column == 11
    assert outcomes(made, b"X\r") == [Line("half a seXn")]


def test_a_closed_editor_prints_plainly_and_comes_back_with_its_text() -> None:
    made = editor()
    made.feed(b"typed")
    made.next()
    made.take_output()
    made.close()
    assert made.take_output() == "\r\x1b[K"
    made.print_above(["line"])
    made.resize(30)
    made.close()
    assert made.take_output() == "line\n"
    made.open()
    assert "> typed" in made.take_output()


def test_ctrl_c_gives_up_the_line_and_ctrl_d_ends() -> None:
    made = editor()
    assert outcomes(made, b"abc\x03") == [Signal.INTERRUPT]
    assert made.text == ""
    assert "abc^C\x1b[K" in made.take_output()
    assert outcomes(made, b"ab\x01\x04\x04\x04") == [Signal.END]
    made.feed(b"x")
    made.end()
    assert made.next() == Signal.END


def test_arrows_walk_the_history() -> None:
    made = editor()
    outcomes(made, b"one\rtwo\r")
    assert outcomes(made, b"thr" + UP + UP + UP + b"\r") == [Line("one")]
    assert outcomes(made, b"new" + UP + DOWN + DOWN + b"\r") == [Line("new")]


def test_tab_completes_what_is_common_then_lists() -> None:
    made = editor(names=("peers ", "petnames ", "send "))
    made.feed(b"s\t")
    made.next()
    assert made.text == "send "
    made.feed(b"\x15p\t")
    made.next()
    assert made.text == "pe"
    made.take_output()
    made.feed(b"\t")
    made.next()
    assert made.take_output().startswith("\a")
    made.feed(b"\t")
    made.next()
    assert "peers     petnames\n" in made.take_output()
    assert made.text == "pe"
    made.feed(b"\x15x\t")
    made.next()
    assert "\a" in made.take_output()


def test_tab_twice_means_twice_in_a_row() -> None:
    made = editor(names=("ab", "ac"))
    made.feed(b"a\t" + LEFT + RIGHT + b"\t")
    made.next()
    assert "ab" not in made.take_output()


def test_very_many_candidates_are_not_all_listed() -> None:
    made = editor(names=tuple(f"n{number:03}" for number in range(300)))
    made.feed(b"n\t\t")
    made.next()
    assert f"... and {300 - MAX_SHOWN} more" in made.take_output()


def test_completing_in_the_middle_keeps_what_follows() -> None:
    made = editor(names=("peers ",))
    made.feed(b"pe tail" + LEFT * 5 + b"\t")
    made.next()
    assert (made.text, made.cursor) == ("peers  tail", 6)


def test_nothing_completes_without_a_completer() -> None:
    made = Editor(PromptLine(40), History())
    made.feed(b"x\t")
    made.next()
    assert made.text == "x"


def test_clearing_resizing_and_word_keys_redraw() -> None:
    made = editor()
    made.feed(b"one two\x1bb\x0c")
    made.next()
    assert "\x1b[H\x1b[2J" in made.take_output()
    assert made.cursor == 4
    made.resize(12)
    assert "> one two" in made.take_output()


def test_a_line_beyond_the_cap_rings() -> None:
    made = editor()
    for _ in range(2):
        made.feed(b"\x1b[200~" + b"x" * 20000 + b"\x1b[201~")
        made.next()
    assert len(made.text) == 20000
    assert "\a" in made.take_output()


def test_a_pasted_text_keeps_its_lines_but_is_not_entered() -> None:
    made = editor()
    assert outcomes(made, b"\x1b[200~one\ntwo\n\x1b[201~") == []
    assert outcomes(made, b"\r") == [Line("one\ntwo")]


def test_an_escape_is_flushed() -> None:
    made = editor()
    made.feed(b"\x1b")
    assert made.patience is not None
    made.flush()
    assert made.next() is None
    assert made.patience is None


# --- a pipe --------------------------------------------------------------------------------


def test_a_pipe_gives_lines_and_the_last_without_an_end_too() -> None:
    plain = PlainLines()
    plain.open()
    plain.close()
    plain.resize(3)
    plain.flush()
    assert outcomes(plain, b"one\r\ntw") == [Line("one")]
    plain.feed(b"o\n\xffx")
    plain.end()
    assert [plain.next() for _ in range(4)] == [Line("two"), Line("\ufffdx"), Signal.END, None]
    plain.end()
    assert plain.next() == Signal.END


def test_a_pipes_line_is_cut_at_its_cap() -> None:
    plain = PlainLines()
    for _ in range(3):
        plain.feed(b"x" * MAX_LINE)
    assert outcomes(plain, b"\n") == [Line("x" * MAX_LINE)]
    plain.print_above(["a"])
    assert plain.take_output() == "a\n"
