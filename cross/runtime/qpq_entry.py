"""The entry that Nuitka compiles: it hands the command line to the program and returns its exit status."""


def main() -> int:
    """Run the qpq command and return its exit status."""
    from qpq.__main__ import main as command  # noqa: PLC0415 (the import belongs to the run, not to the start)

    return command() or 0
