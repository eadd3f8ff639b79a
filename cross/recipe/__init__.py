"""How each C part is built: one module a part, each a cached step."""
