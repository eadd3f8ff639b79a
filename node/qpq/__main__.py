"""The entry of the one command: ``qpq``, ``python -m qpq``, and the router's binary."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Carry out the command line (default: this process's) and return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["daemon"]:  # no option of the console before it: the daemon needs nothing of the console
        import gc  # noqa: PLC0415 (importing this module must cost nothing)

        gc.disable()  # until the node is ready, which qpq.daemon.main says: what comes until then, it keeps
        import qpq.daemon.lean  # noqa: F401, PLC0415 (before all others)
        from qpq.daemon.main import run as run_daemon  # noqa: PLC0415

        return run_daemon(words[1:])
    if words == ["selftest"]:
        from qpq.daemon.selftest import run as run_selftest  # noqa: PLC0415 (likewise)

        return run_selftest()
    from qpq.console.program import run  # noqa: PLC0415

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
