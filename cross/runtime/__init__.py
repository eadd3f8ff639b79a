"""What the program runs before its own code: C and a few lines of Python, built into the binary."""
