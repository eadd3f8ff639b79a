"""The part of ``cryptography`` that aioquic and this program use, over ``_qpq_native``."""

__version__ = "0+qpq"
