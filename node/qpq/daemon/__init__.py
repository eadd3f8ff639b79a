"""The daemon: configuration, lifecycle, control socket, metrics; the only room that knows all others."""
