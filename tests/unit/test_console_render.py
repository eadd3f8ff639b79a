"""What people see: tables, times, sizes, messages; and where the daemon is looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from qpq.console import render
from qpq.console.relative import ago, duration, milliseconds, size
from qpq.console.whereabouts import locate
from qpq.paths import default_data_dir, default_socket

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (7200, "2 h"),
        (86400, "1 d"),
        (None, "-"),
        (-1, "-"),
    ],
)
def test_durations_have_one_unit(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_times_are_relative_and_a_wrong_clock_is_not_believed() -> None:
    assert ago(NOW - 180, NOW) == "3 min ago"
    assert ago(NOW, NOW) == "now"
    assert ago(NOW + 30, NOW) == "now"
    assert [ago(None, NOW), ago(0, NOW), ago(NOW + 3600, NOW)] == ["-", "-", "-"]


def test_round_trips_and_sizes() -> None:
    assert [milliseconds(value) for value in (None, -1, 0.42, 12.7)] == ["-", "-", "0.4 ms", "13 ms"]
    assert [size(value) for value in (None, -1, 0, 1023, 1536, 20 << 20, 5 << 40)] == [
        "-", "-", "0 B", "1023 B", "1.5 KiB", "20 MiB", "5120 GiB",
    ]  # fmt: skip


def test_columns_are_aligned_also_with_wide_characters() -> None:
    lines = render.table(("A", "B"), [("世界", "x"), ("abc", "y")])
    assert lines == ["A     B", "世界  x", "abc   y"]


def test_a_table_is_capped() -> None:
    lines = render.table(("A", "B"), [("x" * 100, "y")] * (render.MAX_ROWS + 5))
    assert lines[1] == "x" * 40 + "  y"
    assert lines[-1] == "... and 5 more"


def test_a_message_of_one_line_stands_behind_its_sender() -> None:
    row: dict[str, Any] = {"id": "abcdefghij", "from": "x" * 52, "text": "hi", "received": NOW - 60}
    assert render.message(row, NOW) == [f"abcdefgh  1 min ago  {'x' * 12}: hi"]
    assert render.message({**row, "urgent": True, "text": "a\nb", "from_name": "anna"}, NOW) == [
        f"! abcdefgh  1 min ago  anna ({'x' * 12}):",
        "    a",
        "    b",
    ]


def test_who_is_of_another_domain_is_marked_as_outside() -> None:
    row: dict[str, Any] = {
        "id": "abcdefghij",
        "from": "x" * 52,
        "text": "hi",
        "received": NOW - 60,
        "domain": "b.example",
    }
    short = "x" * 12
    assert render.message(row, NOW) == [f"abcdefgh  1 min ago  {short}@b.example (outside): hi"]
    named = {**row, "from_name": "anna", "from_trust": "verified"}
    assert render.message(named, NOW) == [f"abcdefgh  1 min ago  anna@b.example ({short}, verified, outside): hi"]


def test_a_refused_message_says_why() -> None:
    row: dict[str, Any] = {"id": "abcdefghij", "state": "refused", "reason": "no relay\nfor it"}
    assert render.sent(row, NOW) == ["abcdefgh  refused [no relay\\nfor it]"]


def test_what_nothing_is_in_says_so() -> None:
    assert render.inbox([], NOW) == ["no messages"]
    assert render.outbox([], NOW) == ["nothing was sent, or nothing is kept any more"]
    assert render.users([], NOW) == ["no users"]
    assert render.done({}, NOW) == ["done"]
    assert render.done(None, NOW) == ["done"]


def test_sent_messages_show_their_state() -> None:
    row: dict[str, Any] = {
        "id": "abcdefghij",
        "to": "x" * 52,
        "text": "one\ntwo",
        "sent": NOW - 60,
        "state": "relayed",
        "copies": 3,
    }
    head, line = render.outbox([row], NOW)
    assert head.split() == ["MESSAGE", "SENT", "STATE", "TO", "TEXT"]
    assert line == f"abcdefgh  1 min ago  relayed (3 copies)  {'x' * 12}  one"


def test_a_peer_without_a_link_says_why() -> None:
    rows: list[Any] = [{"id": None, "state": "waiting", "users": ["u" * 52], "reason": "refused"}]
    assert render.peers(rows, NOW)[1].split() == ["?", "-", "waiting", "-", "-", "-", "-", "u" * 12, "[refused]"]


def test_the_status_shows_everything() -> None:
    lines = render.status(
        {
            "version": "1", "id": "n", "uptime_s": 61, "peers": 2, "a_b": None, "ratio": 0.5, "on": True, "empty": {},
            "counters": {"link.half_open": 3}, "list": [1, {"a": "b"}], "deep": {"a": {"b": {"c": {"d": {"e": 1}}}}},
        },
        NOW,
    )  # fmt: skip
    assert lines == [
        "version: 1", "node: n", "up: 1 min", "peers: 2", "a b: -", "ratio: 0.5", "on: yes", "empty: -", "counters:",
        "  link.half_open: 3", "list:", "  1", "  a b", "deep:", "  a:", "    b:", "      c:", "        d: (1)",
    ]  # fmt: skip


def test_events_are_shown_by_kind() -> None:
    assert render.event({"event": "peer", "id": "abc", "up": False}, NOW) == ["peer abc is gone"]
    assert render.event({"event": "peer", "id": "abc", "state": "up", "address": "h:1"}, NOW) == [
        "peer abc is linked  h:1"
    ]
    assert render.event({"event": "message", "muted": True}, NOW) == []
    assert render.event({"event": "else"}, NOW) == []


# --- where the daemon is -------------------------------------------------------------------


def test_the_data_directory_follows_variables_machine_and_home(tmp_path: Path) -> None:
    none, mark = str(tmp_path / "none"), str(tmp_path)
    assert default_data_dir({"QPQ_DATA_DIR": "/x", "HOME": "/h"}) == "/x"
    assert default_data_dir({"HOME": "/h"}, uid=0, mark=mark) == "/etc/qpq"
    assert default_data_dir({"HOME": "/h"}, uid=1, mark=mark) == "/h/.local/share/qpq"
    assert default_data_dir({"HOME": "/h/"}, uid=0, mark=none) == "/h/.local/share/qpq"
    assert default_data_dir({"HOME": "/h", "XDG_DATA_HOME": "/x"}, uid=1, mark=none) == "/x/qpq"
    assert default_data_dir({"HOME": "/h", "XDG_DATA_HOME": "x"}, uid=1, mark=none) == "/h/.local/share/qpq"
    assert default_data_dir({}, uid=1, mark=none).endswith("/.local/share/qpq")
    assert default_data_dir({}).startswith("/")


def test_the_socket_lies_in_the_data_directory_unless_named() -> None:
    assert default_socket("/d/", {}) == "/d/qpq.sock"
    assert default_socket("/d", {"QPQ_SOCKET": "/s"}) == "/s"


def test_flags_go_over_variables_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("config qpq 'main'\n\toption data_dir '/file'\n\toption socket '/file.sock'\n\toption mdns '1'\n")
    config = {"QPQ_CONFIG": str(file)}
    assert locate({}, config) == ("/file", "/file.sock")
    assert locate({}, {**config, "QPQ_SOCKET": "/v"}) == ("/file", "/v")
    assert locate({"--socket": "/f", "--data-dir": "/g"}, {**config, "QPQ_SOCKET": "/v"}) == ("/g", "/f")
    assert locate({"--config": str(tmp_path / "none")}, {**config, "HOME": "/h", "QPQ_DATA_DIR": "/d"}) == (
        "/d",
        "/d/qpq.sock",
    )


def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("nonsense {")
    environ = {"QPQ_CONFIG": str(file), "QPQ_DATA_DIR": "/d"}
    assert locate({}, environ) == ("/d", "/d/qpq.sock")
    assert locate({"--config": str(tmp_path)}, environ) == ("/d", "/d/qpq.sock")
