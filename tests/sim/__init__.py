"""The simulator: the core that ships, in virtual time, from 3 to 5,000 nodes in one process (DESIGN section 9)."""
