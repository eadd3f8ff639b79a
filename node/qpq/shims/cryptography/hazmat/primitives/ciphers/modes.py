"""The mode in which a block cipher gives one block at a time."""


class ECB:
    """Each block by itself."""

    __slots__ = ()

    name = "ECB"
