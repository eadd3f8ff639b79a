"""Nothing a peer sent steers the terminal: safe.py, document.dump, width.py."""

from __future__ import annotations

import json
import unicodedata

import pytest

from qpq.console.document import as_document, dump, flag, number, parse, rows, text, texts
from qpq.console.safe import ELLIPSIS, MAX_LINES, MAX_MARKS, MAX_NAME, MAX_TEXT, encoder, safe, safe_lines, safe_name
from qpq.console.width import clip, columns, is_mark, width

ALL = [chr(code) for code in range(0x110000)]


def test_no_control_format_separator_or_surrogate_character_of_unicode_passes() -> None:
    dangerous = [char for char in ALL if unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp", "Cs"}]
    passed = [hex(ord(char)) for char in dangerous if char in safe(char)]
    assert passed == []
    assert len(dangerous) > 2000


def test_every_letter_and_number_of_unicode_passes_but_those_that_show_as_nothing() -> None:
    invisible = set("\u115f\u1160\u3164\uffa0")
    letters = [char for char in ALL if unicodedata.category(char)[0] in "LN" and char not in invisible]
    assert [char for char in letters if safe(char) != char] == []


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\rb", "a\\rb"),
        ("a\nb", "a\\nb"),
        ("a\tb", "a\\tb"),
        ("\x7f", "\\x7f"),
        ("\u202eevil", "\\u202eevil"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("pass\u200bword", "pass\\u200bword"),
        ("\u2028", "\\u2028"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("\u3164", "\\u3164"),
        ("Grüße, 世界 🙂", "Grüße, 世界 🙂"),
    ],
)
def test_what_is_dangerous_is_shown_as_an_escape(sent: str, shown: str) -> None:
    assert safe(sent) == shown


def test_a_long_text_is_cut_and_says_so() -> None:
    assert safe("x" * 2000, 100) == "x" * 97 + ELLIPSIS
    assert safe("x" * 100, 100) == "x" * 100
    assert len(safe_name("\x1b" * 1000)) == MAX_NAME
    assert safe("abcdef", 2) == ELLIPSIS


def test_a_tower_of_combining_marks_is_cut_down() -> None:
    assert safe("a" + "\u0301" * 50 + "b") == "a" + "\u0301" * MAX_MARKS + "b"


def test_a_message_keeps_its_lines_and_nothing_else() -> None:
    assert safe_lines("one\ntwo\x1b\r\nthree\rfour") == ["one", "two\\x1b", "three", "four"]
    assert safe_lines("") == [""]


def test_a_message_of_very_many_lines_is_cut() -> None:
    shown = safe_lines("\n" * 5000)
    assert len(shown) == MAX_LINES + 1
    assert shown[-1] == ELLIPSIS


def test_a_message_that_is_too_long_is_cut() -> None:
    shown = safe_lines("x" * (MAX_TEXT + 10))
    assert shown[-1] == ELLIPSIS


def test_a_terminal_without_utf8_gets_ascii_only() -> None:
    assert encoder("ascii")("Grüße 世") == b"Gr\\xfc\\xdfe \\u4e16"
    assert encoder("UTF-8")("ü\ud800") == b"\xc3\xbc\\ud800"


def test_json_output_is_ascii_without_control_characters() -> None:
    hostile = "".join(map(chr, range(0x300))) + "\u202e\ud800"
    shown = dump({"text": hostile})
    assert all(" " <= char < "\x7f" for char in shown)
    assert json.loads(shown) == {"text": hostile}
    assert dump({"a": 1}, indent=2) == '{\n  "a": 1\n}'


def test_a_line_that_is_no_document_is_refused() -> None:
    assert parse(b'{"id": 1}') == {"id": 1}
    for line in (b"[]", b"nonsense", b"\xff"):
        with pytest.raises(ValueError, match=r"."):
            parse(line)


def test_documents_are_read_without_trusting_their_types() -> None:
    row = as_document({"a": 1.5, "b": True, "c": None, "d": "x", "e": ["p", {"name": "q"}, 3], "f": 1e300, "g": "y"})
    assert [text(row, key) for key in "abcdz"] == ["1.5", "", "", "x", ""]
    assert [number(row, key) for key in "abcdf"] == [1.5, None, None, None, None]
    assert [flag(row, key) for key in "abz"] == [False, True, False]
    assert texts(row, "e", "name") == ["p", "q"]
    assert texts(row, "d") == []
    assert as_document([1]) == {}
    assert rows([{"a": 1}, 2]) == [{"a": 1}]
    assert rows({"peers": [{"a": 1}]}, "peers") == [{"a": 1}]
    assert rows({"peers": 3}, "peers") == []


def test_widths_agree_with_unicode_on_east_asian_wide_characters() -> None:
    assigned = [
        char for char in ALL if unicodedata.category(char) not in {"Cn", "Cc", "Cf", "Cs", "Co", "Mn", "Me", "Mc"}
    ]
    wide = [char for char in assigned if unicodedata.east_asian_width(char) in "WF"]
    narrow = [char for char in assigned if unicodedata.east_asian_width(char) not in "WF"]
    assert sum(width(char) != 2 for char in wide) <= len(wide) // 1000
    assert sum(width(char) != 1 for char in narrow) <= len(narrow) // 500


def test_marks_take_no_column() -> None:
    assert is_mark("\u0301")
    assert not is_mark("a")
    assert columns("e\u0301") == 1
    assert columns("世界") == 4
    assert columns("abc") == 3


def test_clipping_never_exceeds_the_columns() -> None:
    assert clip("世界", 3) == "世"
    assert clip("abc", 3) == "abc"
    assert clip("abcd", 3) == "abc"
