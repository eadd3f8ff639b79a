"""Holds the modules below it."""
