"""The Python half of the program: which modules it reaches, and how they are packed into the ELF."""
