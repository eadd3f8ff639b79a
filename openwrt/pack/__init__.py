"""The package formats: bytes from a staged tree and its metadata; the same bytes from the same input."""
