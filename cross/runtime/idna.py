"""The codec ``idna`` for names in ASCII: the real one needs the Unicode database, which is larger than all of SQLite.

``socket.getaddrinfo`` encodes every host name with it. Names with other characters are refused; they can be given in
their ``xn--`` form.
"""

import codecs


def encode(text: str, _errors: str = "strict") -> tuple[bytes, int]:
    """Return the name in ASCII; raises UnicodeEncodeError for any other."""
    return codecs.ascii_encode(text, "strict")[0], len(text)


def decode(data: bytes, _errors: str = "strict") -> tuple[str, int]:
    """Return the name as text."""
    return codecs.ascii_decode(bytes(data), "strict")[0], len(data)


def getregentry() -> codecs.CodecInfo:
    """Describe the codec (the call that ``encodings`` makes)."""
    return codecs.CodecInfo(encode, decode, name="idna")  # type: ignore[arg-type]  # given bytes only
