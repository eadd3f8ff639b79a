"""The static binary: pinned sources, toolchains, CPython, the compiled program, its size and its bill of materials."""
