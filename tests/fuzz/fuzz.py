"""Coverage-guided fuzzing of every decoder: ``python tests/fuzz/fuzz.py [TARGET...] --seconds N``.

Without TARGET all of them, as many at a time as there are processors; ``--list`` names them. A target
takes bytes and must come back: what raises anything but the errors it names is a finding, and the bytes
are written to build/fuzz. Mend the fault and keep the bytes as a seed in tests/fuzz/seeds/TARGET, which
the tests replay.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SEEDS = HERE / "seeds"
OUTPUT = ROOT / "build" / "fuzz"

TARGETS = {
    # what comes from a link or a datagram
    "announce": "targets_wire",
    "beacon": "targets_wire",
    "body": "targets_wire",
    "cbor": "targets_wire",
    "codec": "targets_wire",
    "envelope": "targets_wire",
    "frame": "targets_wire",
    "length": "targets_wire",
    "probe": "targets_wire",
    "query": "targets_wire",
    "ranges": "targets_wire",
    "receipts": "targets_wire",
    "route": "targets_wire",
    "certificate": "targets_link",
    "datagram": "targets_link",
    "initial": "targets_link",
    "broadcast": "targets_crypto",
    "session": "targets_crypto",
    "bundle": "targets_sessions",
    "header": "targets_sessions",
    "opening": "targets_sessions",
    "ratchet": "targets_sessions",
    "mdns": "targets_discovery",
    "peer": "targets_mesh",
    "capnp": "targets_rpc",
    "capnp_framing": "targets_rpc",
    "capnp_values": "targets_rpc",
    "rpc": "targets_rpc",
    "rpc_message": "targets_rpc",
    "chain": "targets_federation",
    "outside": "targets_federation",
    "pem": "targets_federation",
    # what comes from the kernel, from files, from people
    "netlink": "targets_discovery",
    "netaddress": "targets_base",
    "identity": "targets_crypto",
    "export": "targets_crypto",
    "share": "targets_crypto",
    "safety": "targets_crypto",
    "prekey": "targets_sessions",
    "session_state": "targets_sessions",
    "keyring": "targets_store",
    "user": "targets_store",
    "vault": "targets_store",
    "accounts": "targets_home",
    "snapshot": "targets_store",
    "uci": "targets_daemon",
    "config": "targets_daemon",
    "control": "targets_daemon",
    "answer": "targets_console",
    "command": "targets_console",
    "keys": "targets_console",
    "safe": "targets_console",
}
"""Each target and the module beside this one that holds it; modules are imported when they are needed."""

MAX_LENGTH = 4096
"""Bytes of an input: every length field and limit below it, and fast."""
MEMORY_MIB = 1024
INPUT_SECONDS = 10
GRACE_SECONDS = 120
NOTEWORTHY = ("==", "SUMMARY", "ERROR", "ALARM", "artifact_prefix", "Base64", "Traceback", "ModuleNotFound")
"""What libFuzzer's lines about a finding begin with; the others tell of its progress."""


def load(name: str) -> Callable[[bytes], None]:
    """Import a target: a function that raises when it meets a fault."""
    for folder in (str(ROOT / "node"), str(HERE)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    target: Callable[[bytes], None] = importlib.import_module(TARGETS[name]).TARGETS[name]
    return target


def main(arguments: list[str]) -> int:
    """Fuzz what was asked for; return 0, 1 when something was found or cannot run."""
    parser = argparse.ArgumentParser(description="Fuzz the decoders.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all of them unless named")
    parser.add_argument("--seconds", type=int, default=30, help="for each target (default 30)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time (default: all cores)")
    parser.add_argument("--list", action="store_true", help="name the targets")
    given = parser.parse_args(arguments)
    if given.list:
        print("\n".join(TARGETS))
        return 0
    unknown = [name for name in given.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no target {unknown[0]}; --list names them")
    if importlib.util.find_spec("atheris") is None:
        print(
            "fuzz: atheris is missing (it has wheels for x86_64 only); `make test` replays the seeds", file=sys.stderr
        )
        return 1
    if len(given.targets) == 1:
        fuzz(given.targets[0], given.seconds)
    return all_of(given.targets or list(TARGETS), given.seconds, max(1, given.jobs))


def all_of(names: list[str], seconds: int, jobs: int) -> int:
    """Fuzz each target in a process of its own, which is how libFuzzer ends; ``jobs`` at a time."""
    failed = []
    with ThreadPoolExecutor(jobs) as pool:
        for name, done in zip(names, pool.map(lambda name: one_of(name, seconds), names), strict=True):
            runs = [line for line in done.stderr.splitlines() if line.startswith("Done")]
            print(f"{name:12} {runs[-1] if runs else f'exit status {done.returncode}'}", flush=True)
            if done.returncode:
                failed.append(name)
                told = [line for line in done.stderr.splitlines() if line.startswith(NOTEWORTHY)]
                print("\n".join([done.stdout.strip(), *told]), flush=True)
    if failed:
        print(f"fuzz: findings in {', '.join(failed)}; the inputs are in {OUTPUT}", file=sys.stderr)
    return 1 if failed else 0


def one_of(name: str, seconds: int) -> subprocess.CompletedProcess[str]:
    """Run this program for one target."""
    command = [sys.executable, str(HERE / "fuzz.py"), name, "--seconds", str(seconds)]
    return subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS
    )


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process; libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["qpq"]):
        target = load(name)
    corpus = OUTPUT / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_LENGTH}",
        f"-rss_limit_mb={MEMORY_MIB}",
        f"-timeout={INPUT_SECONDS}",
        f"-artifact_prefix={OUTPUT}/{name}-",
    ]
    folders = [str(corpus), *(str(folder) for folder in [SEEDS / name] if folder.is_dir())]
    atheris.Setup([sys.argv[0], *options, *folders], target)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
