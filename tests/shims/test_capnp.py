"""Cap'n Proto messages as pycapnp makes and reads them: known bytes, what is refused, lists of other versions."""

from __future__ import annotations

from struct import pack
from typing import Any

import capnp
import capnp_operations
import pytest

ENQUEUE = ("federation.capnp", "FederationService", "relayEnqueue", "param_type")
KEYS = ("federation.capnp", "FederationService", "relayBatchEnqueue", "param_type")
SEQS = ("federation.capnp", "FederationService", "relayBatchEnqueue", "result_type")
ENVELOPES = ("node.capnp", "NodeService", "fetch", "result_type")
FLAGS = ("node.capnp", "NodeService", "createChannel", "result_type")
NOTHING = ("node.capnp", "NodeService", "health", "param_type")
ONE = 1 << 2 | 1 << 32 | 1 << 48  # the tag of a list of one struct with a word of data and a pointer
ZEROS: dict[str, Any] = {"version": 0, "ttlSecs": 0, "hops": 0}


def words(*values: int) -> bytes:
    return b"".join(pack("<Q", value & (1 << 64) - 1) for value in values)


def struct(offset: int, data: int, pointers: int) -> int:
    return (offset & 0x3FFFFFFF) << 2 | data << 32 | pointers << 48


def listed(offset: int, size: int, count: int) -> int:
    return (offset & 0x3FFFFFFF) << 2 | 1 | size << 32 | count << 35


def message(*segments: bytes) -> bytes:
    table = pack(f"<{1 + len(segments)}I", len(segments) - 1, *[len(one) // 8 for one in segments])
    return table + bytes(-len(table) % 8) + b"".join(segments)


@pytest.mark.parametrize(
    ("kind", "values", "segment"),
    [
        (NOTHING, {}, words(struct(-1, 0, 0))),
        (FLAGS, {"wasNew": True, "channelId": b""}, words(struct(0, 1, 1), 1, listed(0, 2, 0))),
        (
            ENQUEUE,
            {"version": 1, "hops": 2, "ttlSecs": 3, "auth": {"origin": "ü"}, "payload": b"12345678"},
            words(
                struct(0, 1, 6),
                3 << 32 | 2 << 16 | 1,
                0,
                listed(6, 2, 8),
                0,
                struct(2, 0, 1),
                0,
                0,
                listed(0, 2, 3),
                0xBCC3,
            )
            + b"12345678",
        ),
        (SEQS, {"seqs": [1, 1 << 63]}, words(struct(0, 0, 1), listed(0, 5, 2), 1, 1 << 63)),
        (
            KEYS,
            {"recipientKeys": [b"1", b""]},
            words(struct(0, 1, 6), 0, listed(5, 6, 2), *[0] * 5, listed(1, 2, 1), listed(1, 2, 0), 0x31),
        ),
        (
            ENVELOPES,
            {"payloads": [{"seq": 7, "data": b"x"}, {}]},
            words(struct(0, 0, 1), listed(0, 7, 4), 2 << 2 | 1 << 32 | 1 << 48, 7, listed(2, 2, 1), 0, 0, 0x78),
        ),
        (ENVELOPES, {"payloads": []}, words(struct(0, 0, 1), listed(0, 7, 0), 1 << 32 | 1 << 48)),
    ],
)
def test_values_have_known_bytes(kind: tuple[str, str, str, str], values: dict[str, Any], segment: bytes) -> None:
    assert capnp_operations.made(*kind, values) == message(segment)
    assert capnp_operations.read(*kind, message(segment)) == with_defaults(kind, values)


def with_defaults(kind: tuple[str, str, str, str], values: dict[str, Any]) -> dict[str, Any]:
    if kind in (ENQUEUE, KEYS):
        return {**ZEROS, **values}
    if kind == ENVELOPES:
        return {"payloads": [{"seq": 0, **one} for one in values["payloads"]]}
    return values


@pytest.mark.parametrize(
    "values",
    [
        {"unknown": 1},
        {"hops": 256},
        {"hops": -1},
        {"hops": None},
        {"hops": b"x"},
        {"payload": 5},
        {"payload": [b"x"]},
        {"auth": {"unknown": 1}},
        {"auth": b"x"},
        {"auth": {"origin": 5}},
    ],
)
def test_values_that_do_not_fit_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises((capnp.KjException, AttributeError, TypeError, ValueError)):
        capnp_operations.made(*ENQUEUE, values)


def test_text_must_be_unicode_on_both_ways() -> None:
    with pytest.raises(UnicodeEncodeError):
        capnp_operations.made(*ENQUEUE, {"auth": {"origin": "\ud800"}})
    segment = words(struct(0, 0, 4), 0, 0, 0, struct(0, 0, 1), listed(0, 2, 2), 0xFF)
    with pytest.raises(UnicodeDecodeError):
        capnp_operations.read(*ENQUEUE, message(segment))


@pytest.mark.parametrize(
    ("segments", "values"),
    [
        ([words(0)], ZEROS),  # a null root
        ([words(struct(0, 0, 0))], ZEROS),
        ([words(struct(0, 2, 0), 7, 99)], {**ZEROS, "version": 7}),  # more data than this version has
        ([words(2 | 1 << 32), words(struct(0, 1, 0), 9)], {**ZEROS, "version": 9}),  # in another segment
        ([words(6 | 2 << 32), words(9), words(2 | 1 << 32, 1 << 32)], {**ZEROS, "version": 9}),  # through two words
    ],
)
def test_roots_of_all_kinds_are_read(segments: list[bytes], values: dict[str, Any]) -> None:
    assert capnp_operations.read(*ENQUEUE, message(*segments)) == values


@pytest.mark.parametrize(
    "segments",
    [
        [],
        [b""],
        [words(struct(0, 1, 0))],
        [words(struct(-5, 1, 0), 0)],
        [words(listed(0, 2, 0))],
        [words(3)],
        [words(2 | 1 << 32)],
        [words(2 | 9 << 3)],
        [words(6 | 1 << 32), words(0, 0)],
        [words(struct(0, 0, 2), struct(1, 1, 0), 0, 5)],  # a struct for a key
        [words(struct(0, 0, 1), listed(0, 3, 1), 5)],  # a list of other elements
        [words(struct(0, 0, 1), listed(0, 2, 9), 5)],  # too long
        [words(struct(0, 0, 4), 0, 0, 0, listed(0, 2, 0))],  # a list for a struct
        [words(struct(0, 0, 4), 0, 0, 0, struct(0, 0, 1), listed(0, 2, 3), 0x616161)],  # text without an end
        [words(struct(0, 0, 4), 0, 0, 0, struct(0, 0, 1), listed(0, 2, 0))],
    ],
)
def test_bytes_that_lie_are_refused(segments: list[bytes]) -> None:
    data = message(*segments) if segments else b""
    with pytest.raises(capnp.KjException):
        capnp_operations.read(*ENQUEUE, data)


@pytest.mark.parametrize("data", [b"1234567", b"\xff" * 8, b"\0\0\0\0\1\0\0\0", b"\2" + bytes(7)])
def test_bytes_that_are_cut_off_are_refused(data: bytes) -> None:
    with pytest.raises((capnp.KjException, ValueError)):
        capnp_operations.read(*ENQUEUE, data)


@pytest.mark.parametrize(
    ("kind", "segment", "values"),
    [
        # integers that have become structs, and structs that were integers or pointers
        (SEQS, words(struct(0, 0, 1), listed(0, 7, 4), 2 << 2 | 1 << 32 | 1 << 48, 5, 0, 6, 0), {"seqs": [5, 6]}),
        (ENVELOPES, words(struct(0, 0, 1), listed(0, 5, 2), 5, 6), {"payloads": [{"seq": 5}, {"seq": 6}]}),
        (ENVELOPES, words(struct(0, 0, 1), listed(0, 3, 2), 5), {"payloads": [{"seq": 0}, {"seq": 0}]}),
        (ENVELOPES, words(struct(0, 0, 1), listed(0, 6, 1), 0), {"payloads": [{"seq": 0}]}),
        (ENVELOPES, words(struct(0, 0, 1), listed(0, 0, 2)), {"payloads": [{"seq": 0}] * 2}),
        (
            KEYS,
            words(struct(0, 0, 1), listed(0, 7, 2), 1 << 2 | 1 << 32 | 1 << 48, 5, listed(0, 2, 1), 0x61),
            {**ZEROS, "recipientKeys": [b"a"]},
        ),
        (KEYS, words(struct(0, 0, 1), listed(0, 6, 1), 0), {**ZEROS, "recipientKeys": [b""]}),
        (SEQS, words(struct(0, 0, 1), listed(0, 1, 2), 5), None),
        (SEQS, words(struct(0, 0, 1), listed(0, 2, 2), 5), None),
        (SEQS, words(struct(0, 0, 1), listed(0, 6, 1), 0), None),
        (SEQS, words(struct(0, 0, 1), listed(0, 7, 1), 1 << 2 | 1 << 48, 0), None),
        (KEYS, words(struct(0, 0, 1), listed(0, 5, 1), 0), None),
        (ENVELOPES, words(struct(0, 0, 1), listed(0, 1, 1), 0), None),
        (ENVELOPES, words(struct(0, 0, 1), struct(0, 1, 0), 0), None),
        (ENVELOPES, words(struct(0, 0, 1), listed(0, 7, 1), 2 << 2 | 1 << 32, 0), None),
        (ENVELOPES, words(struct(0, 0, 1), listed(0, 7, 1), 1 << 2 | 1 | 1 << 32, 0), None),
    ],
)
def test_lists_of_other_versions_are_read_where_they_fit(
    kind: tuple[str, str, str, str], segment: bytes, values: dict[str, Any] | None
) -> None:
    if values is None:
        with pytest.raises(capnp.KjException):
            capnp_operations.read(*kind, message(segment))
    else:
        assert capnp_operations.read(*kind, message(segment)) == values


def test_reading_is_counted_and_nesting_limited() -> None:
    data = capnp_operations.made(*ENQUEUE, {"payload": bytes(800), "auth": {"origin": "x"}})
    assert capnp_operations.read(*ENQUEUE, data, 200, 2)["auth"] == {"origin": "x"}
    for limits in ((90, 64), (200, 1)):
        with pytest.raises(capnp.KjException):
            capnp_operations.read(*ENQUEUE, data, *limits)
    bomb = message(words(struct(0, 0, 1), listed(0, 7, 0), (1 << 28) << 2))
    with pytest.raises(capnp.KjException):
        capnp_operations.read(*ENVELOPES, bomb, 1000)


def test_limits_need_not_be_given() -> None:
    module = capnp_operations.struct(*FLAGS)
    with module.from_bytes(module.new_message(wasNew=True).to_bytes()) as read:
        assert read.to_dict() == {"wasNew": True}


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises((capnp.KjException, OSError)):
        capnp.load("/nonexistent/other.capnp")
