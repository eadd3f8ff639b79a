"""A process on the stand-ins: reads pickled (operation, arguments) from stdin, answers on stdout.

Pickle, for both ends are this test's own processes.
"""

from __future__ import annotations

import pickle
import sys

import operations


def main() -> None:
    """Answer until stdin ends."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    pickle.dump(operations.x509.__file__, sink)
    sink.flush()
    while True:
        try:
            batch = pickle.load(source)  # noqa: S301 (our own process)
        except EOFError:
            return
        pickle.dump([operations.perform(*request) for request in batch], sink)
        sink.flush()


if __name__ == "__main__":
    main()
