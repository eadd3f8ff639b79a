"""The one face over libsodium and ML-KEM: identities, sealing, sessions, passphrase exports."""
