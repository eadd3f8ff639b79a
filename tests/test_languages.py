"""Pages that are there in English and in German say the same: headings, blocks, rows, points, and what is typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GERMAN = sorted(
    path
    for folder in ("docs", "openwrt")
    for path in (ROOT / folder).rglob("*.de.md")
    if path.with_name(path.name.replace(".de.md", ".md")).exists()
)
_FENCE, _TYPED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL), re.compile(r"`([^`\n]+)`")


def shape(text: str) -> list[str]:
    """Return what a page is made of, in order: its blocks' marks, levels of headings, rows with their cells, points."""
    parts = []
    for block in re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL):
        if block.startswith("```"):
            parts.append(block.split("\n", 1)[0])
            continue
        for line in block.splitlines():
            if line.startswith("#"):
                parts.append(line.split()[0])
            elif line.startswith("|"):
                parts.append("|" * re.sub(r"\\\|", "", line).count("|"))
            elif re.match(r"- |\d+\. ", line):
                parts.append("point")
    return parts


def typed(text: str) -> set[str]:
    """Return the words in the text that are commands, options, files or values; FILE and DATEI are the same."""
    return {re.sub(r"\b[A-Z]{2,}\b", "WORD", words) for words in _TYPED.findall(_FENCE.sub("", text))}


def pair(german: Path) -> tuple[str, str]:
    return german.with_name(german.name.replace(".de.md", ".md")).read_text(), german.read_text()


def test_the_pages_for_people_are_there_in_german() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in GERMAN}
    assert found >= {f"docs/{name}.de.md" for name in ("openwrt", "options", "usage")}
    assert "openwrt/gluon/gluon-qpq/README.de.md" in found


@pytest.mark.parametrize("german", GERMAN, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_both_languages_are_built_alike(german: Path) -> None:
    english, other = pair(german)
    assert shape(english) == shape(other)


@pytest.mark.parametrize("german", GERMAN, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_both_languages_name_the_same_commands_files_and_options(german: Path) -> None:
    english, other = pair(german)
    assert typed(english) == typed(other)
