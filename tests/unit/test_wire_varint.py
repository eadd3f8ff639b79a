from __future__ import annotations

import pytest

from qpq.wire.errors import FieldError, NotShortestError
from qpq.wire.varint import MAX_VARINT, decode_varint, encode_varint


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        # RFC 9000 appendix A.1
        (151_288_809_941_952_652, "c2197c5eff14e88c"),
        (494_878_333, "9d7f3e7d"),
        (15_293, "7bbd"),
        (37, "25"),
        # the edges of each width
        (0, "00"),
        (63, "3f"),
        (64, "4040"),
        (16_383, "7fff"),
        (16_384, "80004000"),
        (2**30 - 1, "bfffffff"),
        (2**30, "c000000040000000"),
        (MAX_VARINT, "ffffffffffffffff"),
    ],
)
def test_a_length_has_one_form(value: int, encoded: str) -> None:
    data = bytes.fromhex(encoded)
    assert encode_varint(value) == data
    assert decode_varint(b"\xaa" + data, 1) == (value, 1 + len(data))
    for cut in range(len(data)):
        assert decode_varint(data[:cut], 0) is None


@pytest.mark.parametrize("encoded", ["4025", "403f", "80003fff", "c00000003fffffff"])
def test_a_length_in_more_bytes_than_it_needs_is_refused(encoded: str) -> None:
    with pytest.raises(NotShortestError):
        decode_varint(bytes.fromhex(encoded), 0)


@pytest.mark.parametrize("value", [-1, MAX_VARINT + 1])
def test_what_is_no_length_is_not_written(value: int) -> None:
    with pytest.raises(FieldError):
        encode_varint(value)
