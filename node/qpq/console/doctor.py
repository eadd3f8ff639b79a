"""``qpq doctor``: what is wrong with this node and what to do about it.

The daemon tells facts that it sees without privileges (sockets, interfaces, clock, memory, storage); this
module looks at what belongs to the console (is the daemon there, who owns the data) and judges all of it.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from qpq.console import relative
from qpq.console.document import as_document, flag, number, rows, text
from qpq.console.errors import DONE, FAILED, ConsoleError
from qpq.console.safe import safe
from qpq.netaddress import DEFAULT_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpq.console.context import Context
    from qpq.console.document import Document

LITTLE_STORAGE = 1 << 20
IDENTITY_FILE = "identity.json"
_LAST_NUMBER = re.compile(r"([0-9]{1,5})$", re.ASCII)
_VOLATILE = frozenset({"tmpfs", "ramfs"})
_FOREIGN = stat.S_IRWXO | stat.S_IRGRP | stat.S_IWGRP


class Level(Enum):
    """How much a finding matters; only ``WRONG`` makes the exit status 1."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; ``advice`` is what to do, empty when there is nothing to do."""

    check: str
    level: Level
    text: str
    advice: str = ""


def doctor(context: Context, *, as_json: bool) -> int:
    """Look at everything, print it, and return 1 when something is wrong."""
    facts, reachable = _facts(context)
    findings = [reachable, *examine_directory(context.data_dir, os.geteuid()), *examine(facts)]
    if reachable.level is Level.WRONG:
        findings.append(examine_port(DEFAULT_PORT))
    wrong = any(finding.level is Level.WRONG for finding in findings)
    if as_json:
        context.show_document({"ok": not wrong, "checks": [_document(finding) for finding in findings], "facts": facts})
    else:
        context.show(_lines(findings))
        context.show(["", "something is wrong" if wrong else "nothing is wrong"])
    return FAILED if wrong else DONE


def examine(facts: Document) -> list[Finding]:
    """Judge the daemon's facts (``daemon.doctor_data``); what is missing in them is not judged."""
    judges = {
        "lock": _lock,
        "sockets": _sockets,
        "firewall": _firewall,
        "interfaces": _multicast,
        "clock": _clock,
        "memory": _memory,
        "storage": _storage,
        "udp_receive_errors": _buffers,
    }
    return [finding for key, judge in judges.items() if facts.get(key) is not None for finding in judge(facts)]


def examine_directory(path: str, uid: int) -> Iterator[Finding]:
    """Judge owner and mode of the data directory and of the identities in it."""
    for what, place, foreign in (
        ("data directory", path, _FOREIGN),
        ("identities", f"{path.rstrip('/')}/{IDENTITY_FILE}", _FOREIGN | stat.S_IXGRP),
    ):
        try:
            state = os.lstat(place)
        except FileNotFoundError:
            yield Finding(what, Level.NOTE, f"{place} is not there yet", "it is made when the node first starts")
            return
        except OSError as error:
            yield Finding(what, Level.NOTE, f"{place}: {error.strerror}", "look as root or as the node's own user")
            return
        if state.st_mode & foreign:
            mode = f"{stat.S_IMODE(state.st_mode):04o}"
            yield Finding(what, Level.WRONG, f"others may look into {place} (mode {mode})", f"chmod go= {place}")
        elif uid not in {0, state.st_uid}:
            yield Finding(what, Level.NOTE, f"{place} belongs to user {state.st_uid}, you are {uid}")
        else:
            yield Finding(what, Level.OK, place)


def examine_port(port: int) -> Finding:
    """See whether the node's UDP port could be bound; asked only when no daemon runs."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 (every address is what the node binds; closed at once)
        except OSError as error:
            return Finding(
                "port", Level.WRONG, f"UDP port {port}: {error.strerror}", "another program has it: see ss -ulpn"
            )
    return Finding("port", Level.OK, f"UDP port {port} is free")


def _facts(context: Context) -> tuple[Document, Finding]:
    """Return the daemon's facts, else the storage this process sees itself, and whether the daemon answers."""
    try:
        answer = as_document(context.request("doctor"))
    except ConsoleError as error:
        advice = "start it: /etc/init.d/qpq start, or qpq run; see its log"
        return {"storage": _own_storage(context.data_dir)}, Finding("daemon", Level.WRONG, str(error), advice)
    return answer, Finding("daemon", Level.OK, f"answers at {context.socket}")


def _own_storage(path: str) -> Document:
    """Return what statvfs(3) says of the nearest directory above ``path`` that exists."""
    while path not in {"", "/"} and not os.path.isdir(path):
        path = os.path.dirname(path)
    try:
        state = os.statvfs(path or "/")
    except OSError as error:
        return {"path": path, "error": error.strerror or str(error)}
    return {"path": path, "free": state.f_bavail * state.f_frsize, "writable": os.access(path, os.W_OK)}


def _lock(facts: Document) -> Iterator[Finding]:
    row = as_document(facts.get("lock"))
    protection = text(row, "protection", "none")
    if text(row, "state") == "locked":
        problem = f" ({text(row, 'problem')})" if text(row, "problem") else ""
        advice = "until then this node does nothing else"
        yield Finding("lock", Level.WRONG, f"locked: it waits for {text(row, 'waits_for')}{problem}", advice)
    elif protection == "none":
        yield Finding("lock", Level.OK, "keys and messages on disk are readable for whoever takes it (qpq lock set)")
    else:
        yield Finding("lock", Level.OK, f"keys and messages on disk are under a {protection.replace('-', ' ')}")


def _sockets(facts: Document) -> Iterator[Finding]:
    for row in rows(facts, "sockets"):
        what, address = text(row, "what", "socket"), text(row, "address")
        if flag(row, "ok"):
            yield Finding("port", Level.OK, f"{what}: {address}")
            continue
        level = Level.NOTE if "mdns" in what.lower() else Level.WRONG
        advice = "another program has the port, or the interface is gone: see ss -ulpn, or choose another with --listen"
        yield Finding("port", level, f"{what}: {address}: {text(row, 'error', 'not open')}", advice)


def _firewall(facts: Document) -> Iterator[Finding]:
    port = str(_port(facts))
    found = rows(facts, "firewall")
    for row in found:
        hint = text(row, "hint").replace("PORT", port)
        yield Finding("firewall", Level.NOTE, f"{text(row, 'what')} is here", hint)
    if not found:
        yield Finding("firewall", Level.OK, f"none seen; UDP {port} must be reachable")


def _port(facts: Document) -> int:
    """Return the node's port: the number that the first socket's address ends with."""
    for row in rows(facts, "sockets"):
        found = _LAST_NUMBER.search(text(row, "address"))
        if found:
            return int(found[1])
    return DEFAULT_PORT


def _multicast(facts: Document) -> Iterator[Finding]:
    up = [row for row in rows(facts, "interfaces") if flag(row, "up") and not flag(row, "loopback")]
    able = [text(row, "name") for row in up if flag(row, "multicast")]
    if able:
        yield Finding("multicast", Level.OK, ", ".join(able))
        return
    reason = "no interface that is up can do multicast" if up else "no interface is up"
    yield Finding(
        "multicast", Level.WRONG, reason, "peers are not found by themselves: name some with --peer HOST:PORT"
    )


def _clock(facts: Document) -> Iterator[Finding]:
    row = as_document(facts.get("clock"))
    if flag(row, "trusted"):
        yield Finding("clock", Level.OK, text(row, "reason", "trusted"))
        return
    advice = "messages show no time until it is set: NTP (/etc/init.d/sysntpd enable) or date"
    yield Finding("clock", Level.NOTE, f"not trusted: {text(row, 'reason', 'no reason given')}", advice)


def _memory(facts: Document) -> Iterator[Finding]:
    row = as_document(facts.get("memory"))
    available = number(row, "available")
    shown = f"{relative.size(available)} available of {relative.size(number(row, 'total'))}"
    if flag(row, "leaf"):
        advice = "the node carries no messages for others (leaf); stop other programs to change that"
        yield Finding("memory", Level.NOTE, shown, advice)
    elif not available:
        yield Finding("memory", Level.NOTE, "the kernel does not tell")
    else:
        yield Finding("memory", Level.OK, shown)


def _storage(facts: Document) -> Iterator[Finding]:
    row = as_document(facts.get("storage"))
    path, free = text(row, "path"), number(row, "free")
    on = f" on {text(row, 'filesystem')}" if text(row, "filesystem") else ""
    if text(row, "error"):
        yield Finding("storage", Level.WRONG, f"{path}: {text(row, 'error')}", "mount it, or name another: --data-dir")
        return
    shown = f"{path}: {relative.size(free)} free{on}"
    if not flag(row, "writable"):
        yield Finding("storage", Level.WRONG, f"{shown}, not writable", "remount it read-write, or name another")
    elif free is not None and free < LITTLE_STORAGE:
        yield Finding(
            "storage", Level.WRONG, shown, "nearly full: remove packages or files, or name another: --data-dir"
        )
    elif text(row, "filesystem") in _VOLATILE:
        yield Finding(
            "storage", Level.NOTE, shown, "identities are lost when the machine stops: name another: --data-dir"
        )
    else:
        yield Finding("storage", Level.OK, shown)


def _buffers(facts: Document) -> Iterator[Finding]:
    lost = number(facts, "udp_receive_errors") or 0
    if lost:
        advice = "after much traffic that is normal; else: sysctl -w net.core.rmem_max=1048576"
        yield Finding("buffers", Level.NOTE, f"{lost:.0f} datagrams found a full buffer since boot", advice)


def _lines(findings: list[Finding]) -> list[str]:
    lines = []
    for finding in findings:
        lines.append(f"{finding.level.value:<6} {finding.check}: {safe(finding.text)}")
        if finding.advice:
            lines.append(f"       -> {safe(finding.advice)}")
    return lines


def _document(finding: Finding) -> Document:
    return {
        "check": finding.check,
        "level": finding.level.value,
        "text": finding.text,
        "advice": finding.advice,
    }
