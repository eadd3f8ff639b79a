"""The one face over libsodium: identities, sealing, passphrase exports."""
