"""The part of PyNaCl that this program uses, over ``_qpq_native``."""
