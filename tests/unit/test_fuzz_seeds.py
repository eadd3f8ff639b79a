from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "fuzz"
FUZZ = runpy.run_path(str(FOLDER / "fuzz.py"))
NAMES = sorted(FUZZ["TARGETS"])
SEEDS = FOLDER / "seeds"


@pytest.fixture(autouse=True)
def _keep_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.parametrize("name", NAMES)
def test_every_decoder_comes_back_from_its_seeds_and_from_every_beginning_of_them(name: str) -> None:
    target = FUZZ["load"](name)
    seeds = sorted(path for path in (SEEDS / name).iterdir())
    assert seeds
    target(b"")
    for path in seeds:
        data = path.read_bytes()
        target(data)
        for end in range(0, len(data), max(1, len(data) // 40)):
            target(data[:end])


def test_every_folder_of_seeds_belongs_to_a_target() -> None:
    assert sorted(folder.name for folder in SEEDS.iterdir()) == NAMES
