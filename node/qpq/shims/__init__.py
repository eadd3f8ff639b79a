"""Small stand-ins for modules that cannot go on a router, each under the import name of the real one.

The router's program is built with this directory (and ``stdlib`` in it) before all others on the import path; a PC
uses the real packages and nothing here. One suite, tests/shims, runs against both. What is missing raises an error
that says so.
"""
