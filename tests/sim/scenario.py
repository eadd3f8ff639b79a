"""Scenario files: what a run is made of, read from TOML and refused where a word in them is not known."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from qpq.errors import QpqError

SCENARIOS = Path(__file__).parent / "scenarios"


class ScenarioError(QpqError):
    """A scenario file that cannot be run."""


@dataclass(slots=True)
class Scenario:
    """One run; times in seconds of virtual time, rates in bytes a second, parts from 0 to 1.

    The run: nodes start, spread over ``start_spread``; after ``settle`` nothing happens for ``rest``, when the bytes
    at rest are counted; then come traffic and whatever else is asked for, and the run ends ``duration`` later.
    """

    name: str = ""
    about: str = ""
    seeds: list[int] = field(default_factory=lambda: [1])
    ci: bool = False
    """Whether CI runs it (``make sim-ci``): all of these together are to take less than ten minutes on two cores."""
    transport: str = "model"
    """``model`` or ``quic`` (real aioquic; up to about 100 nodes)."""
    links: str = "dialled"
    """``dialled``: each edge is a kept address of one end; ``given``: up at the start without a handshake, and dialled
    when lost; ``discovered``: nodes hear of all their neighbours and choose."""
    start_spread: float = 1.0
    settle: float = 120.0
    rest: float = 0.0
    duration: float = 600.0
    topology: dict[str, Any] = field(default_factory=dict)
    link: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, Any] = field(default_factory=dict)
    sessions: bool = False
    """Whether users have sessions, and pad what they write. Without, a message is one envelope of its own size, as it
    is with the policies that it is compared with, and as it was when the figures of other versions were made."""
    traffic: list[dict[str, Any]] = field(default_factory=list)
    churn: list[dict[str, Any]] = field(default_factory=list)
    partition: list[dict[str, Any]] = field(default_factory=list)
    mobility: dict[str, Any] = field(default_factory=dict)
    liars: list[dict[str, Any]] = field(default_factory=list)
    policy: str = ""
    """Instead of the core: ``epidemic``, ``prophet``, ``spray``, ``direct`` (``policies``)."""
    compare: list[str] = field(default_factory=list)
    """Policies to run the same scenario with; figures ``against.<policy>``, and a table (``versus``)."""
    expect: dict[str, list[float]] = field(default_factory=dict)
    """Dotted names of figures, each with the least and the most it may be."""

    @property
    def traffic_at(self) -> float:
        """When traffic begins."""
        return self.start_spread + self.settle + self.rest

    @property
    def end(self) -> float:
        """When the run ends."""
        return self.traffic_at + self.duration


_KNOWN = {
    "topology": {"kind", "nodes", "width", "height", "degree", "graph", "cut"},
    "link": {"loss", "delay", "jitter", "rate", "queue"},
    "nodes": {
        "limits",
        "store_bytes",
        "buffer",
        "caps",
        "server_degree",
        "gateways",
        "no_clock",
        "wrong_clock",
        "wrong_by",
        "readers",
    },
    "traffic": {"kind", "count", "start", "over", "size", "ttl", "pairs"},
    "churn": {"kind", "part", "start", "stop", "on", "off"},
    "partition": {"start", "stop", "part"},
    "mobility": {"kind", "area", "reach", "speed", "pause", "step", "islands", "ferries", "per_island", "dwell"},
    "liars": {"kind", "part", "where"},
}


def load(path: Path | str) -> Scenario:
    """Read a scenario by path, or by name from ``scenarios``; raises ScenarioError."""
    path = Path(path)
    if not path.exists() and path.suffix != ".toml":
        path = SCENARIOS / f"{path}.toml"
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path}: {error}") from None
    document.setdefault("name", path.stem)
    return parse(document)


def parse(document: dict[str, Any]) -> Scenario:
    """Make a scenario of a document; raises ScenarioError for what it does not know."""
    known = {entry.name for entry in fields(Scenario)}
    unknown = set(document) - known
    if unknown:
        raise ScenarioError(f"not known in a scenario: {', '.join(sorted(unknown))}")
    for section, words in _KNOWN.items():
        entry = document.get(section, {})
        for part in entry if isinstance(entry, list) else [entry]:
            strange = set(part) - words
            if strange:
                raise ScenarioError(f"not known in {section}: {', '.join(sorted(strange))}")
    return Scenario(**document)
