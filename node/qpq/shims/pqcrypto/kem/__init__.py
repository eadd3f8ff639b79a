"""Holds ``ml_kem_768``."""
