"""The entry of the one command: ``qpq``, ``python -m qpq``, and the router's binary."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Carry out the command line (default: this process's) and return its exit status."""
    from qpq.console.program import run  # noqa: PLC0415 (importing this module must cost nothing)

    return run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
