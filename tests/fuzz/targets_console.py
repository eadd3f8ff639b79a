"""What people type, what the daemon answers, and what of it reaches the terminal."""

from __future__ import annotations

import contextlib
import unicodedata
from typing import TYPE_CHECKING

from qpq.console import document, parser
from qpq.console.errors import ConsoleError
from qpq.console.keys import KeyDecoder, Pasted, Typed
from qpq.console.safe import MAX_NAME, safe, safe_lines, safe_name
from qpq.console.words import quote, split

if TYPE_CHECKING:
    from collections.abc import Callable

HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def command(data: bytes) -> None:
    line = data.decode(errors="replace")
    words = split(line)
    assert [word.value for word in split(" ".join(quote(word.value) for word in words if word.value))] == [
        word.value for word in words if word.value
    ]
    for restricted in (False, True):
        with contextlib.suppress(ConsoleError):
            parser.parse(line, words, restricted=restricted, interactive=True)


def keys(data: bytes) -> None:
    """Type the bytes at once and one by one: the text must be the same."""
    assert _typed([data]) == _typed([data[at : at + 1] for at in range(len(data))])


def _typed(chunks: list[bytes]) -> str:
    decoder = KeyDecoder()
    strokes = [stroke for chunk in chunks for stroke in decoder.feed(chunk)]
    strokes += decoder.flush()
    return "".join([stroke.text if isinstance(stroke, (Typed, Pasted)) else "" for stroke in strokes])


def shown(data: bytes) -> None:
    """Nothing harmful is left of any text, lone surrogates included."""
    text = data.decode(errors="surrogateescape")
    assert len(safe_name(text)) <= MAX_NAME
    for line in [safe(text), safe_name(text), *safe_lines(text)]:
        assert not any(unicodedata.category(character) in HARMFUL for character in line)


def answer(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        document.dump(document.parse(data))


TARGETS: dict[str, Callable[[bytes], None]] = {"answer": answer, "command": command, "keys": keys, "safe": shown}
