"""The durable store: identities in a JSON file, messages in SQLite."""
