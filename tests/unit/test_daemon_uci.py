"""The UCI parser reads what libuci reads, and says where a file is wrong."""

from __future__ import annotations

import pytest

from qpq.daemon import uci


def _options(text: str) -> dict[str, list[str]]:
    (section,) = uci.parse(text.encode()).sections
    return {name: [item.text for item in option.items] for name, option in section.options.items()}


def _error(text: str | bytes) -> tuple[int, str]:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(uci.UciError) as caught:
        uci.parse(data)
    return caught.value.line, str(caught.value)


def test_an_empty_file_has_no_sections() -> None:
    assert uci.parse(b"") == uci.UciFile()
    assert uci.parse(b"\n # only a comment\n;\n") == uci.UciFile()


def test_sections_keep_type_name_and_line() -> None:
    file = uci.parse(b"package qpq\n\nconfig qpq 'main'\nconfig peer\nconfig peer ''\n")
    assert file.package == "qpq"
    assert [(section.type, section.name, section.line) for section in file.sections] == [
        ("qpq", "main", 3),
        ("peer", None, 4),
        ("peer", None, 5),
    ]


def test_the_last_option_of_a_name_holds_and_lists_grow() -> None:
    text = "config a b\n\toption x 1\n\toption x 2\n\tlist y 1\n\tlist y 2\n"
    assert _options(text) == {"x": ["2"], "y": ["1", "2"]}


def test_a_list_takes_over_an_option_and_an_option_replaces_a_list() -> None:
    assert _options("config a b\noption x 1\nlist x 2\n") == {"x": ["1", "2"]}
    assert _options("config a b\nlist x 1\nlist x 2\noption x 3\n") == {"x": ["3"]}


def test_a_section_named_again_goes_on() -> None:
    file = uci.parse(b"config a x\noption p 1\nconfig a y\noption q 2\nconfig a x\noption r 3\n")
    assert {section.name: sorted(section.options) for section in file.sections} == {"y": ["q"], "x": ["p", "r"]}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("bare", "bare"),
        ("'two words'", "two words"),
        ('"two words"', "two words"),
        ("''", ""),
        ("'a'\"b\"c", "abc"),
        (r"a\ b", "a b"),
        (r"\'", "'"),
        (r'"say \"hi\""', 'say "hi"'),
        (r"'back\slash'", "back\\slash"),
        (r"'it'\''s'", "it's"),
        ("'#no comment'", "#no comment"),
        ('"semi;colon"', "semi;colon"),
        ("bare#comment", "bare"),
        ("'two\nlines'", "two\nlines"),
        ('"two\nlines"', "two\nlines"),
        ("con\\\ntinued", "continued"),
        ('"con\\\ntinued"', "continued"),
        ("\\\n next", "next"),
        ("con\\\r\ntinued", "continued"),
        ("value \r", "value"),
        ("'grün'", "grün"),
    ],
)
def test_words_are_quoted_escaped_and_continued_as_libuci_does(written: str, meant: str) -> None:
    assert _options(f"config a b\n\toption x {written}\n\toption y 1\n") == {"x": [meant], "y": ["1"]}


def test_commands_may_be_shortened_and_share_a_line() -> None:
    assert _options("c a b; o x 1; l y 2 # done") == {"x": ["1"], "y": ["2"]}


def test_lines_are_counted_through_quotes_and_continuations() -> None:
    text = "config a b\noption x 'one\ntwo'\noption y \\\nz\noption bad-name 1\n"
    assert _error(text) == (6, "'bad-name' cannot be an option's name")


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("option x 1\n", 1, "before the first config"),
        ("config a b\nlisten x 1\n", 2, "is no command"),
        ("configure a\n", 1, "is no command"),
        ("config\n", 1, "takes 1 or 2 words"),
        ("config a b c\n", 1, "takes 1 or 2 words"),
        ("config a b\noption x\n", 2, "takes 2 words, not 1"),
        ("config a b\noption x 1 2\n", 2, "takes 2 words, not 3"),
        ("package\n", 1, "takes 1 words"),
        ("config a b\n\npackage late\n", 3, "before the first section"),
        ("package one\npackage two\n", 2, "must stand once"),
        ("package not/that\n", 1, "a package's name"),
        ("config 'two words'\n", 1, "a section's type"),
        ("config a b-c\n", 1, "a section's name"),
        ("config a b\nconfig c b\n", 2, "has the type a in line 1"),
        ("config a b\noption x 'open\n\n", 2, "the quote ' is never closed"),
        ('config a b\noption x "open\n', 2, 'the quote " is never closed'),
        ("config a b\noption x end\\", 2, "a backslash at the end of the file"),
        ("config a b\noption x 'a\x00b'\n", 2, "a control character"),
        ("config a b\noption x '\x1b[31m'\n", 2, "a control character"),
        ("config a b\noption x '\u202e'\n", 2, "a control character"),
        ("config a b\noption x " + "y" * (uci.MAX_WORD + 1), 2, "longer than 4096"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, part: str) -> None:
    found, message = _error(text)
    assert found == line
    assert part in message


def test_bytes_that_are_no_text_are_told_with_their_line() -> None:
    assert _error(b"config a b\n\toption x '\xff'\n") == (2, "not UTF-8")


def test_sizes_are_capped() -> None:
    assert "longer than" in _error(b"#" * (uci.MAX_FILE + 1))[1]
    assert "sections" in _error("config a\n" * (uci.MAX_SECTIONS + 1))[1]
    assert "items" in _error("config a\n" + "list x 1\n" * (uci.MAX_ITEMS + 1))[1]
    assert "options" in _error("config a\n" + "".join(f"option o{n} 1\n" for n in range(uci.MAX_OPTIONS + 1)))[1]


def test_an_error_shows_no_control_characters() -> None:
    assert "\x1b" not in _error("\x1b[2Jx y\n")[1]
    assert "\u202e" not in _error("config a b\noption \u202ex y\n")[1]
