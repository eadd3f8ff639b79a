"""The log: one safe line an event, repeats counted away."""

from __future__ import annotations

import io
import logging
import re
from typing import TYPE_CHECKING

import pytest

from qpq.daemon import logs

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class _Rig:
    def __init__(self, *, terminal: bool = False, journal: bool = False) -> None:
        self.stream = io.StringIO()
        self.clock = _Clock()
        self.handler = logs.LineHandler(self.stream, terminal=terminal, journal=journal, clock=self.clock)
        self.log = logging.Logger("qpq")  # noqa: LOG001 (apart from the program's own)
        self.log.addHandler(self.handler)

    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger(logs.NAME)
    before = (list(root.handlers), root.level, own.level, logging.raiseExceptions)
    yield
    root.handlers[:], root.level, own.level, logging.raiseExceptions = before  # type: ignore[assignment]
    own.manager._clear_cache()  # type: ignore[attr-defined]


def test_what_a_peer_sent_cannot_steer_the_terminal_or_forge_a_line() -> None:
    rig = _Rig()
    rig.log.warning("refused: %s", "\x1b[2J\r\nerror: forged\u202e\x00\udc80é")
    assert rig.lines() == ["warning: refused: \\x1b[2J\\r\\nerror: forged\\u202e\\x00\\udc80é"]


def test_a_line_begins_with_its_level() -> None:
    rig = _Rig()
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        rig.log.log(level, "event %d", level)
    assert [line.partition(":")[0] for line in rig.lines()] == ["debug", "info", "warning", "error", "error"]


def test_the_journal_gets_the_levels_of_syslog() -> None:
    rig = _Rig(journal=True)
    rig.log.warning("low memory")
    assert rig.lines() == ["<4>low memory"]


def test_only_a_terminal_sees_the_time() -> None:
    rig = _Rig(terminal=True)
    rig.log.info("ready")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d info: ready", rig.lines()[0])


def test_repeats_are_counted_and_told_with_the_next_line_of_their_kind() -> None:
    rig = _Rig()
    for number in range(1000):
        rig.log.warning("link refused: no certificate from %d", number)
    assert len(rig.lines()) == logs.PER_WINDOW
    rig.clock.now += logs.WINDOW
    rig.log.warning("link refused: again")
    assert rig.lines()[-1] == "warning: link refused: again (and 995 more of this kind)"


def test_one_kind_does_not_silence_another() -> None:
    rig = _Rig()
    for _ in range(100):
        rig.log.warning("link refused: x")
    rig.log.warning("store full: y")
    rig.log.error("link refused: as an error")
    assert [line.partition(" ")[2] for line in rig.lines()[-2:]] == ["store full: y", "link refused: as an error"]


def test_a_flood_of_all_kinds_is_capped_but_errors_pass() -> None:
    rig = _Rig()
    for number in range(1000):
        rig.log.info("kind %d: x", number)
    rig.log.error("disk full: y")
    assert len(rig.lines()) == logs.ALL_PER_WINDOW + 1
    assert len(rig.handler._seen) <= logs.MAX_KINDS


def test_the_end_tells_what_was_kept_back() -> None:
    rig = _Rig()
    for _ in range(7):
        rig.log.info("peer lost: x")
    rig.handler.finish()
    assert rig.lines()[-1] == "info: peer lost (and 2 more of this kind)"
    rig.handler.finish()
    assert len(rig.lines()) == logs.PER_WINDOW + 1


def test_a_traceback_stays_on_its_line() -> None:
    rig = _Rig()
    try:
        {}["lost\nthread"]
    except KeyError:
        rig.log.exception("fault")
    (line,) = rig.lines()
    assert line.startswith("error: fault | Traceback")
    assert "KeyError: 'lost\\nthread'" in line


def test_long_lines_are_cut() -> None:
    rig = _Rig()
    rig.log.info("%s", "x" * 100_000)
    rig.log.info("%s", "\x1b" * 100_000)
    assert all(len(line) < logs.MAX_LINE + 20 for line in rig.lines())


def test_a_record_with_wrong_arguments_is_still_a_line() -> None:
    rig = _Rig()
    rig.log.info("%d peers", "many")
    assert rig.lines() == ["info: %d peers ('many',)"]


def test_other_libraries_are_named() -> None:
    rig = _Rig()
    rig.handler.handle(logging.LogRecord("asyncio", logging.ERROR, "", 0, "slow callback", (), None))
    assert rig.lines() == ["error: asyncio: slow callback"]


def test_a_log_that_cannot_be_written_does_not_stop_the_node() -> None:
    rig = _Rig()
    rig.stream.close()
    rig.log.error("nobody reads this")


def test_setup_replaces_itself_and_keeps_libraries_quiet() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.setup("debug", first, {})
    log = logs.setup("info", second, {"JOURNAL_STREAM": "8:1"})
    log.debug("unheard")
    log.info("heard")
    logging.getLogger("quic").info("unheard")
    logging.getLogger("quic").warning("heard")
    assert first.getvalue() == ""
    assert second.getvalue().splitlines() == ["<6>heard", "<4>quic: heard"]
    logs.set_level("error")
    log.warning("unheard")
    for _ in range(logs.PER_WINDOW + 2):
        log.error("again")
    logs.close()
    assert second.getvalue().splitlines()[-1] == "<3>again (and 2 more of this kind)"


def test_setup_writes_to_stderr_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("info").info("ready")
    assert "ready" in capsys.readouterr().err
