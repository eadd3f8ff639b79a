"""Stand-ins for heavy modules of the standard library; a router's program has this directory on its import path."""
