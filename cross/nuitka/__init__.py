"""Nuitka as this build uses it: its own release, adapted while it runs."""
