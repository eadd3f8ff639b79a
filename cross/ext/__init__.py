"""The C extension _qpq_native: its sources, what it is built from, and its build for this machine."""
