from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from qpq.wire import cbor
from qpq.wire.errors import (
    DuplicateKeyError,
    FieldError,
    IndefiniteLengthError,
    InvalidTextError,
    NotShortestError,
    TooDeepError,
    TooLongError,
    TooManyItemsError,
    TrailingBytesError,
    TruncatedError,
    UnsortedKeysError,
    UnsupportedItemError,
    WireError,
)

SHARED = Path(os.environ.get("QPQ_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
APPENDIX_A = SHARED / "vectors" / "cbor" / "appendix_a.json"

REFUSED = {
    UnsupportedItemError: (
        # big numbers, negative numbers, floats, null, undefined, simple values, tags, text keys
        "c249010000000000000000 c349010000000000000000 3bffffffffffffffff 20 29 3863 3903e7 f90000 f98000 f93c00"
        " fb3ff199999999999a f93e00 f97bff fa47c35000 fa7f7fffff fb7e37e43c8800759c f90001 f90400 f9c400"
        " fbc010666666666666 f97c00 f97e00 f9fc00 fa7f800000 fa7fc00000 faff800000 fb7ff0000000000000"
        " fb7ff8000000000000 fbfff0000000000000 f6 f7 f0 f818 f8ff c074323031332d30332d32315432303a30343a30305a"
        " c11a514b67b0 c1fb41d452d9ec200000 d74401020304 d818456449455446"
        " d82076687474703a2f2f7777772e6578616d706c652e636f6d a26161016162820203 826161a161626163"
        " a56161614161626142616361436164614461656145"
    ),
    IndefiniteLengthError: (
        "5f42010243030405ff 7f657374726561646d696e67ff 9fff 9f018202039f0405ffff 9f01820203820405ff"
        " 83018202039f0405ff 83019f0203ff820405 9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff"
        " bf61610161629f0203ffff 826161bf61626163ff bf6346756ef563416d7421ff"
    ),
}
REFUSALS = {text: error for error, texts in REFUSED.items() for text in texts.split()}


def appendix_a() -> list[dict[str, object]]:
    return json.loads(APPENDIX_A.read_text()) if APPENDIX_A.exists() else []


@pytest.mark.skipif(not APPENDIX_A.exists(), reason=f"the RFC's examples are not at {APPENDIX_A}")
def test_every_example_of_the_rfc_is_read_right_or_refused_for_its_named_reason() -> None:
    read = 0
    for example in appendix_a():
        data = bytes.fromhex(str(example["hex"]))
        if (error := REFUSALS.get(str(example["hex"]))) is not None:
            with pytest.raises(error):
                cbor.decode(data, cbor.Limits(items=64))
            continue
        value = cbor.decode(data)
        if "decoded" in example:
            expected = example["decoded"]
        else:
            expected = {"h''": b"", "h'01020304'": b"\1\2\3\4", "{1: 2, 3: 4}": {1: 2, 3: 4}}[
                str(example["diagnostic"])
            ]
        assert value == expected
        assert type(value) is type(expected)
        assert cbor.encode(value) == data
        read += 1
    assert read == 82 - len(REFUSALS)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (255, "18ff"),
        (256, "190100"),
        (65535, "19ffff"),
        (65536, "1a00010000"),
        (2**32 - 1, "1affffffff"),
        (2**32, "1b0000000100000000"),
        (2**64 - 1, "1bffffffffffffffff"),
        (b"", "40"),
        (b"x" * 23, "57" + "78" * 23),
        (b"x" * 24, "5818" + "78" * 24),
        (b"x" * 256, "590100" + "78" * 256),
        ("", "60"),
        ("grüße", "676772c3bcc39f65"),
        ([], "80"),
        ([1, [True, False], b"a"], "830182f5f44161"),
        ({}, "a0"),
        ({300: 1, 2: [], 24: b""}, "a30280181840" + "19012c01"),
    ],
)
def test_a_value_has_one_encoding(value: cbor.Value, encoded: str) -> None:
    assert cbor.encode(value).hex() == encoded
    decoded = cbor.decode(bytes.fromhex(encoded))
    assert decoded == value
    assert type(decoded) is type(value)


def test_a_tuple_is_written_as_an_array() -> None:
    assert cbor.encode((1, (2,))) == cbor.encode([1, [2]])


@pytest.mark.parametrize(
    ("encoded", "error"),
    [
        ("", TruncatedError),
        ("18", TruncatedError),
        ("1901", TruncatedError),
        ("1b00000001000000", TruncatedError),
        ("41", TruncatedError),
        ("5818" + "00" * 23, TruncatedError),
        ("6261", TruncatedError),
        ("81", TruncatedError),
        ("8200", TruncatedError),
        ("8158", TruncatedError),
        ("815818" + "00" * 23, TruncatedError),
        ("8143" + "00" * 2, TruncatedError),
        ("a1", TruncatedError),
        ("a100", TruncatedError),
        ("a20001", TruncatedError),
        ("0000", TrailingBytesError),
        ("80f6", TrailingBytesError),
        ("1817", NotShortestError),
        ("1900ff", NotShortestError),
        ("1a0000ffff", NotShortestError),
        ("1b00000000ffffffff", NotShortestError),
        ("5817" + "00" * 23, NotShortestError),
        ("815817" + "00" * 23, NotShortestError),
        ("780161", NotShortestError),
        ("980100", NotShortestError),
        ("b8010000", NotShortestError),
        ("a1180000", NotShortestError),
        ("5f4100ff", IndefiniteLengthError),
        ("bf0000ff", IndefiniteLengthError),
        ("ff", IndefiniteLengthError),
        ("81ff", IndefiniteLengthError),
        ("1c", UnsupportedItemError),
        ("5d", UnsupportedItemError),
        ("fc", UnsupportedItemError),
        ("f818", UnsupportedItemError),
        ("20", UnsupportedItemError),
        ("c000", UnsupportedItemError),
        ("f6", UnsupportedItemError),
        ("f93c00", UnsupportedItemError),
        ("a1410000", UnsupportedItemError),
        ("a1f500", UnsupportedItemError),
        ("62c328", InvalidTextError),
        ("63eda080", InvalidTextError),
        ("62c080", InvalidTextError),
        ("a200000000", DuplicateKeyError),
        ("a201000000", UnsortedKeysError),
        ("a31818000200190100" + "00", UnsortedKeysError),
    ],
)
def test_each_fault_is_refused_by_its_name(encoded: str, error: type[WireError]) -> None:
    with pytest.raises(error):
        cbor.decode(bytes.fromhex(encoded))


def test_nesting_ends_at_the_limit() -> None:
    assert cbor.decode(bytes.fromhex("818181a1" + "0000")) == [[[{0: 0}]]]
    with pytest.raises(TooDeepError):
        cbor.decode(bytes.fromhex("8181818180"))
    with pytest.raises(TooDeepError):
        cbor.decode(b"\x81" * 30_000 + b"\0")
    assert cbor.decode(b"\0", cbor.Limits(depth=0)) == 0


def test_items_are_counted_over_all_containers_and_a_map_counts_keys_and_values() -> None:
    limits = cbor.Limits(items=5)
    assert cbor.decode(bytes.fromhex("82820000" + "00"), limits) == [[0, 0], 0]
    with pytest.raises(TooManyItemsError):
        cbor.decode(bytes.fromhex("8282000082" + "0000"), limits)
    with pytest.raises(TooManyItemsError):
        cbor.decode(bytes.fromhex("a3000001000200"), limits)


def test_a_container_that_claims_more_than_the_bytes_hold_is_refused_before_anything_is_built() -> None:
    with pytest.raises(TooManyItemsError):
        cbor.decode(bytes.fromhex("9bffffffffffffffff"))
    with pytest.raises(TruncatedError):
        cbor.decode(bytes.fromhex("990300"))
    with pytest.raises(TruncatedError):
        cbor.decode(bytes.fromhex("5bffffffffffffffff"))


def test_more_bytes_than_the_limit_are_not_looked_at() -> None:
    assert cbor.decode(b"\x42ab", cbor.Limits(length=3)) == b"ab"
    with pytest.raises(TooLongError):
        cbor.decode(b"\x43abc", cbor.Limits(length=3))


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, FieldError),
        (2**64, FieldError),
        ([1, -5], FieldError),
        ("\ud800", InvalidTextError),
        (None, UnsupportedItemError),
        (1.5, UnsupportedItemError),
        ({"a": 1}, UnsupportedItemError),
        ({True: 1}, UnsupportedItemError),
        ({1: 2, "a": 1}, UnsupportedItemError),
        (bytearray(b"x"), UnsupportedItemError),
        ({-1: 0}, FieldError),
    ],
)
def test_what_the_wire_does_not_have_is_not_written(value: object, error: type[WireError]) -> None:
    with pytest.raises(error):
        cbor.encode(value)  # type: ignore[arg-type]


def test_the_small_writers_agree_with_encode() -> None:
    for number in (0, 23, 24, 1000, 2**40):
        assert cbor.uint(number) == cbor.encode(number)
    for size in (0, 23, 24, 300):
        assert cbor.byte_string(bytes(size)) == cbor.encode(bytes(size))
    with pytest.raises(FieldError):
        cbor.uint(-1)


def test_a_head_can_be_read_alone() -> None:
    assert cbor.read_head(bytes.fromhex("9818ff"), 0) == (4, 24, 2)
    assert cbor.read_head(bytes.fromhex("ff05"), 1) == (0, 5, 2)
    with pytest.raises(TruncatedError):
        cbor.read_head(b"", 0)


def test_the_front_item_is_read_with_where_it_ends() -> None:
    for value in (0, 500, b"bytes", "text", [1, [2]], {1: b"x"}):
        data = cbor.encode(value)
        for more in (b"", b"\0", b"\xff" * 9):
            assert cbor.decode_prefix(data + more) == (value, len(data))
    with pytest.raises(TooLongError):
        cbor.decode_prefix(bytes(9), cbor.Limits(length=8))
    with pytest.raises(TruncatedError):
        cbor.decode_prefix(b"\x82\x00")
