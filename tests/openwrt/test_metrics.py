"""The metrics file as a router's node exporter hands it out, and the example configuration of docs/openwrt*.md.

Prometheus' own promtool judges both; a strict reader of the format written here judges the file where it is missing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from node import Node, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("openwrt.md", "openwrt.de.md")
PORT = 17_190
LINE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*) (?P<value>[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)")
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)"
)


def promtool(*argv: str, text: str = "") -> None:
    done = subprocess.run(["promtool", *argv], input=text, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


def block(page: str, mark: str) -> str:
    (found,) = re.findall(rf"^```{mark}\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


def read(text: str) -> dict[str, tuple[str, str, float]]:
    """Read the text format strictly: each series with one HELP, one TYPE, one value; no labels. Name -> those."""
    assert text.endswith("\n")
    lines = text.splitlines()
    assert len(lines) % 3 == 0
    found: dict[str, tuple[str, str, float]] = {}
    for helped, typed, valued in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        value = LINE.fullmatch(valued)
        assert value, valued
        name = value["name"]
        assert name not in found
        assert helped.startswith(f"# HELP {name} "), helped
        kind = typed.removeprefix(f"# TYPE {name} ")
        assert kind in {"gauge", "counter"}, typed
        assert (kind == "counter") == name.endswith("_total")
        found[name] = (helped.removeprefix(f"# HELP {name} "), kind, float(value["value"]))
    return found


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give what is in the metrics file of a node that has a neighbour."""
    file = tmp_path_factory.mktemp("prometheus") / "qpq.prom"
    quiet = ("--no-mdns", "--no-beacon", "--no-group")
    told = ("--metrics-file", str(file), "--metrics-interval", "5s", "--peer", f"127.0.0.1:{PORT + 1}")
    node = Node("told", arguments=(*quiet, "--listen", f"127.0.0.1:{PORT}", *told))
    other = Node("other", arguments=(*quiet, "--listen", f"127.0.0.1:{PORT + 1}"))
    try:
        other.start()
        node.start()
        wait_for("the metrics tell of the link", lambda: "\nqpq_links 1\n" in file.read_text())
        yield file.read_text()
    finally:
        node.close()
        other.close()


def test_the_file_is_strictly_what_the_format_says_and_names_nobody(scraped: str) -> None:
    found = read(scraped)
    assert found["qpq_links"] == ("Links that are open.", "gauge", 1.0)
    assert {"qpq_uptime_seconds", "qpq_store_relayed", "qpq_memory_available_bytes"} <= set(found)
    assert "{" not in scraped
    assert not re.search(r"[a-z2-7]{52}", scraped)


@needs_promtool
def test_prometheus_itself_finds_no_fault_in_the_file(scraped: str) -> None:
    promtool("check", "metrics", text=scraped)


@pytest.mark.parametrize("page", PAGES)
def test_the_example_on_the_page_is_what_a_node_writes(page: str, scraped: str) -> None:
    real = read(scraped)
    for name, (text, kind, _value) in read(block(page, "text prometheus")).items():
        assert real[name][:2] == (text, kind)


@needs_promtool
@pytest.mark.parametrize("page", PAGES)
def test_prometheus_takes_the_configuration_and_the_alert_fires_when_it_should(page: str, tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(block(page, "yaml scrape"))
    promtool("check", "config", str(tmp_path / "prometheus.yml"))
    (tmp_path / "rules.yml").write_text(block(page, "yaml rules"))
    promtool("check", "rules", str(tmp_path / "rules.yml"))
    (summary,) = re.findall(r"summary: '(.*)'", block(page, "yaml rules"))
    series = 'qpq_links{instance="192.168.1.1:9100"}'
    told = summary.replace("{{ $labels.instance }}", "192.168.1.1:9100")
    (tmp_path / "test.yml").write_text(f"""
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: '{series}'
        values: '2x9 0x60 1x20'
    alert_rule_test:
      - {{ eval_time: 39m, alertname: QpqAlone, exp_alerts: [] }}
      - eval_time: 41m
        alertname: QpqAlone
        exp_alerts:
          - exp_labels: {{ severity: warning, instance: '192.168.1.1:9100' }}
            exp_annotations: {{ summary: '{told}' }}
      - {{ eval_time: 75m, alertname: QpqAlone, exp_alerts: [] }}
""")
    promtool("test", "rules", str(tmp_path / "test.yml"))
