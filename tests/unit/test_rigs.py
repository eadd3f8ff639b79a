"""The small tools of the rigs: gates that hold, figures that are right."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("bench", "rigs")]

import closing_line  # noqa: E402 (the rigs are no package)
import run_tests  # noqa: E402
from figures import Burst, Row, joined, percentile, table  # noqa: E402


def report(name: str, covered: int, missing: int) -> dict[str, dict[str, object]]:
    summary = {
        "covered_lines": covered,
        "missing_lines": missing,
        "num_statements": covered + missing,
        "covered_branches": 0,
        "missing_branches": 0,
        "num_branches": 0,
    }
    return {name: {"summary": summary, "missing_lines": list(range(missing)), "missing_branches": []}}


def judge(name: str, covered: int, missing: int, *, all_ran: bool = True) -> int:
    return run_tests.judge({"files": report(name, covered, missing)}, all_ran=all_ran)  # type: ignore[dict-item]


@pytest.mark.parametrize("room", ["crypto", "mesh", "wire"])
def test_one_line_that_no_test_runs_fails_a_room_of_the_core(room: str) -> None:
    assert judge(f"node/qpq/{room}/a.py", 999, 1) == 1
    assert judge(f"node/qpq/{room}/a.py", 1000, 0) == 0
    assert judge(f"node/qpq/{room}/a.py", 999, 1, all_ran=False) == 1


def test_the_other_rooms_need_ninety_percent() -> None:
    assert judge("node/qpq/store/a.py", 90, 10) == 0
    assert judge("node/qpq/store/a.py", 89, 11) == 1


def test_without_the_network_tests_the_other_rooms_are_not_judged() -> None:
    assert judge("node/qpq/daemon/a.py", 1, 99, all_ran=False) == 0


def test_files_beside_the_rooms_are_judged_too() -> None:
    assert judge("node/qpq/paths.py", 1, 99) == 1


@pytest.mark.parametrize(
    ("head", "line", "status"),
    [
        ('errors="0" failures="0" skipped="2" tests="9"', "7 passed, 0 failed, 2 skipped", 0),
        ('errors="1" failures="2" skipped="0" tests="9"', "6 passed, 3 failed, 0 skipped", 1),
        ('errors="0" failures="0" skipped="9" tests="9"', "0 passed, 0 failed, 9 skipped", 1),
    ],
)
def test_the_closing_line_counts_what_ran(
    head: str, line: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "tests.xml"
    path.write_text(f'<testsuites><testsuite name="pytest" {head} time="1.0"></testsuite></testsuites>')
    monkeypatch.setattr(sys, "argv", ["closing_line.py", str(path)])
    assert closing_line.main() == status
    assert capsys.readouterr().out == line + "\n"


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([3.0], 99) == 3


def test_several_bursts_together_count_their_stalls() -> None:
    quick = Burst([0.001] * 100, 0.1, 50.0, 1000, 0)
    stalled = Burst([0.001] * 100, 9.9, 50.0, 1000, 1)
    found = joined([quick, stalled]).summary()
    assert found["messages_per_s"] == 20
    assert found["cpu_ms_per_message"] == 0.5
    assert found["link_bytes_per_message"] == 10
    assert found["unfinished"] == 1


def test_bytes_that_were_not_measured_are_no_zero() -> None:
    assert joined([Burst([0.1], 0.1, 1.0, None, 0)]).summary()["link_bytes_per_message"] is None


def test_a_row_says_who_is_ahead_and_the_table_says_where_we_are_not() -> None:
    ahead, behind = Row("a", "s", "less", 1.0, 2.0), Row("b", "1/s", "more", 1.0, 2.0)
    alone = Row("c", "s", "less", 1.0, None)
    assert [row.ahead for row in (ahead, behind, alone)] == [True, False, None]
    lines = table([ahead, behind, alone]).splitlines()
    assert [line.endswith("behind") for line in lines] == [False, False, True, False]
