"""Print what a test report (JUnit XML) counted, as one line: ``N passed, N failed, N skipped``.

usage: closing_line.py REPORT
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def main() -> int:
    """Print the line; return 1 when a test failed or none ran."""
    head = re.search(r"<testsuite [^>]*>", Path(sys.argv[1]).read_text())
    if head is None:
        print("0 passed, 0 failed")
        return 1
    count = {name: int(value) for name, value in re.findall(r'(tests|failures|errors|skipped)="(\d+)"', head[0])}
    failed = count["failures"] + count["errors"]
    passed = count["tests"] - failed - count["skipped"]
    print(f"{passed} passed, {failed} failed, {count['skipped']} skipped")
    return int(failed > 0 or passed == 0)


if __name__ == "__main__":
    sys.exit(main())
