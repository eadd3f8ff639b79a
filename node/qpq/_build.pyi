# What the static binary was built from; the module itself is made by the build and is not there on a PC.

VERSION: str
COMMIT: str
TARGET: str
