"""The bytes of wire version 1: strict codecs for everything that comes from a link or a datagram."""
