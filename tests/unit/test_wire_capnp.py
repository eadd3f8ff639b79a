"""Cap'n Proto's encoding without a schema: framing, pointers, the check of a whole message, building and viewing."""

from __future__ import annotations

import pytest

from qpq.wire import capnp_build, capnp_segments, capnp_view
from qpq.wire.capnp_errors import (
    AmplificationError,
    CapnpError,
    FramingError,
    NestingError,
    OverlapError,
    PointerError,
)
from qpq.wire.capnp_layout import CAPABILITY, LIST, NULL, STRUCT, Message, check
from qpq.wire.capnp_segments import MessageSplitter, join, split
from rpc_kit import content_with, far_pointer, list_pointer, struct_pointer, words


def message(*segments: bytes) -> Message:
    return Message(list(segments))


# framing


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_segments_are_joined_and_split(count: int) -> None:
    segments = [words(*range(1 + number)) for number in range(count)]
    data = join(segments)
    assert split(data) == segments
    assert len(data) % 8 == 0


def test_the_table_is_as_the_standard_says() -> None:
    assert join([words(1)]) == bytes.fromhex("00000000 01000000 0100000000000000")
    table = "01000000 01000000 02000000 00000000"
    assert join([words(1), words(2, 3)]) == bytes.fromhex(table) + words(1, 2, 3)


def test_a_stream_is_cut_into_messages_wherever_its_pieces_end() -> None:
    messages = [join([words(0)]), join([words(1, 2), b"", words(3)]), join([words(4)] * 6)]
    data = b"".join(messages)
    for size in (1, 3, 8, 11, len(data)):
        splitter = MessageSplitter()
        found = [one for at in range(0, len(data), size) for one in splitter.feed(data[at : at + size])]
        assert found == messages
        assert splitter.pending == 0
    assert MessageSplitter().feed(data[:-1]) == messages[:2]


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"\x00\x02\x00\x00\x00\x00\x00\x00", "513 segments"),
        (b"\xff\xff\xff\xff\x00\x00\x00\x00", "4294967296 segments"),
        (b"\x00\x00\x00\x00\x00\x00\x00\x00", "no room for a root"),
        (b"\x00\x00\x00\x00\x00\x00\x10\x00", "8388616 bytes"),
        (b"\x00\x00\x00\x00\xff\xff\xff\xff", "at most 8388608"),
    ],
)
def test_a_table_that_asks_for_too_much_is_refused_at_once(head: bytes, reason: str) -> None:
    with pytest.raises(FramingError, match=reason):
        MessageSplitter().feed(head)
    with pytest.raises(FramingError, match=reason):
        split(head)


@pytest.mark.parametrize("data", [b"", b"1234567", join([words(0)])[:-1], join([words(0)]) + b"x", b"\2" + bytes(7)])
def test_what_is_not_one_message_is_refused(data: bytes) -> None:
    with pytest.raises(FramingError, match="are not one message"):
        split(data)


# pointers


def test_pointers_lead_where_the_standard_says() -> None:
    pointers = (struct_pointer(-1, 0, 0), list_pointer(3, 2, 9), 3 | 5 << 32, 0, list_pointer(2, 7, 2))
    text = message(words(struct_pointer(0, 1, 5), 7, *pointers) + b"12345678" + words(0x39, 2 << 2 | 1 << 32, 5, 6))
    assert text.follow(0, 0) == (STRUCT, 0, 1, 1, 5, 0, 0)
    assert text.follow(0, 2) == (STRUCT, 0, 2, 0, 0, 0, 0)
    assert text.follow(0, 3) == (LIST, 0, 7, 0, 0, 2, 9)
    assert text.follow(0, 4) == (CAPABILITY, 0, 0, 0, 0, 0, 5)
    assert text.follow(0, 5).kind == NULL
    assert text.follow(0, 6) == (LIST, 0, 10, 1, 0, 7, 2)


def test_far_pointers_lead_through_landing_pads() -> None:
    single = message(words(far_pointer(1, 1)), words(0, struct_pointer(0, 1, 0), 42))
    pads: list[tuple[int, int, int]] = []
    assert single.follow(0, 0, pads) == (STRUCT, 1, 2, 1, 0, 0, 0)
    assert pads == [(1, 1, 1)]
    check(single)
    double = message(words(far_pointer(2, 0, double=True)), words(42), words(far_pointer(1, 0), 1 << 32))
    assert double.follow(0, 0) == (STRUCT, 1, 0, 1, 0, 0, 0)
    check(double)
    null = message(words(far_pointer(1, 0)), words(0))
    assert null.follow(0, 0).kind == NULL


@pytest.mark.parametrize(
    ("segments", "reason"),
    [
        ([words(struct_pointer(0, 1, 0))], "not in the message"),
        ([words(struct_pointer(-2, 1, 0))], "not in the message"),
        ([words(struct_pointer(-2, 0, 0))], "not in the message"),
        ([words(list_pointer(0, 2, 9), 0)], "not in the message"),
        ([words(list_pointer(0, 6, 1))], "not in the message"),
        ([words(list_pointer(0, 7, 1), struct_pointer(0, 0, 0))], "not in the message"),
        ([words(list_pointer(0, 7, 0))], "not in the message"),
        ([words(list_pointer(0, 7, 1), 2 << 2 | 1 << 32, 0)], "tag and size do not fit"),
        ([words(list_pointer(0, 7, 1), 1 << 2 | 1 | 1 << 32, 0)], "tag and size do not fit"),
        ([words(far_pointer(1, 0))], "segment 1 is not in the message"),
        ([words(far_pointer(0, 9))], "not in the message"),
        ([words(far_pointer(0, 0))], "leads to another"),
        ([words(far_pointer(1, 0)), words(far_pointer(1, 0))], "leads to another"),
        ([words(far_pointer(1, 0, double=True)), words(struct_pointer(0, 0, 0), 0)], "two words that is none"),
        ([words(far_pointer(1, 0, double=True)), words(far_pointer(0, 0, double=True), 0)], "two words that is none"),
        ([words(far_pointer(1, 0, double=True)), words(far_pointer(0, 0), 4)], "two words that is none"),
        ([words(far_pointer(1, 0, double=True)), words(far_pointer(0, 0), 2)], "leads to another"),
        ([words(far_pointer(1, 0, double=True)), words(far_pointer(0, 0))], "not in the message"),
        ([words(far_pointer(1, 0, double=True)), words(far_pointer(7, 0), 1 << 32)], "not in the message"),
        ([words(7)], "unknown kind"),
    ],
)
def test_pointers_that_lead_nowhere_are_refused(segments: list[bytes], reason: str) -> None:
    with pytest.raises(PointerError, match=reason):
        check(message(*segments))


# the whole message


def test_a_tree_is_accepted() -> None:
    check(message(words(0)))
    check(message(words(struct_pointer(0, 0, 3), struct_pointer(-1, 0, 0), list_pointer(1, 3, 4), 3, 0x4000300020001)))
    lists = words(
        struct_pointer(0, 0, 2), list_pointer(1, 6, 2), list_pointer(4, 7, 4), list_pointer(1, 2, 3), 0, 0x636261
    )
    check(message(lists + words(0, 2 << 2 | 1 << 32 | 1 << 48, 5, 0, 6, struct_pointer(-1, 0, 0))))


@pytest.mark.parametrize(
    "segments",
    [
        [words(struct_pointer(-1, 0, 1))],  # a struct that is its own pointer
        [words(struct_pointer(0, 0, 1), struct_pointer(-2, 0, 1))],  # a circle
        [words(struct_pointer(0, 0, 2), struct_pointer(1, 1, 0), struct_pointer(0, 1, 0), 5)],  # shared
        [words(struct_pointer(0, 0, 2), list_pointer(1, 2, 8), list_pointer(0, 2, 8), 5)],  # shared bytes
        [words(struct_pointer(0, 0, 2), list_pointer(1, 7, 1), list_pointer(0, 7, 1), 1 << 2 | 1 << 32, 5)],
        [words(far_pointer(1, 0)), words(struct_pointer(-1, 1, 0))],  # content in its own landing pad
    ],
)
def test_words_that_are_used_twice_are_refused(segments: list[bytes]) -> None:
    with pytest.raises(OverlapError, match="used twice"):
        check(message(*segments))


def test_nesting_is_limited() -> None:
    deep = message(words(*[struct_pointer(0, 0, 1)] * 64, 0))
    check(deep, 64)
    with pytest.raises(NestingError, match="deeper than 63"):
        check(deep, 63)


@pytest.mark.parametrize(
    "segment",
    [
        words(list_pointer(0, 0, 1 << 28)),  # no bits each
        words(list_pointer(0, 7, 0), (1 << 28) << 2),  # structs without content
        words(struct_pointer(0, 0, 2), list_pointer(0, 0, 3), list_pointer(0, 0, 3)),  # a few, more than once
    ],
)
def test_lists_of_nothing_cannot_be_longer_than_the_message(segment: bytes) -> None:
    with pytest.raises(AmplificationError, match="without content"):
        check(message(segment))


def test_the_check_of_a_large_message_of_pointers_takes_little_memory_and_time() -> None:
    count = 65_535
    check(message(words(list_pointer(0, 6, count)) + bytes(8 * count)))
    with pytest.raises(AmplificationError, match="more pointers than are allowed"):
        check(message(words(list_pointer(0, 6, count + 1)) + bytes(8 * count + 8)))


# building and viewing


def test_what_is_built_around_a_message_is_read_again() -> None:
    inner = content_with(data=9)
    for wrapped in (inner, join([words(far_pointer(1, 0)), words(struct_pointer(0, 1, 0), 9)])):
        builder = capnp_build.Builder(wrapped)
        start = builder.struct(0, 1, 4)
        builder.put("H", start, 2, 513)
        builder.text(start + 1, "grüße")
        first = builder.structs(start + 2, 2, 1, 1)
        builder.put("Q", first, 0, 1)
        builder.put("Q", first + 2, 0, 2)
        builder.inner(start + 3)
        view = capnp_view.root(builder.finish(), 1000, 64)
        assert (view.uint(2, 2), view.uint(0, 4), view.uint(8, 1)) == (513, 513 << 16, 0)
        assert view.text(0) == "grüße"
        assert [one.uint(0, 8) for one in view.structs(1, 2)] == [1, 2]
        assert view.struct(2).uint(0, 8) == 9
        tree = capnp_view.root(view.tree(2), 1000, 64)
        assert tree.uint(0, 8) == 9
        assert (view.text(3), view.structs(3, 0), view.struct(3).uint(0, 8)) == ("", [], 0)
        assert (view.text(4), view.structs(4, 0), view.struct(4).text(0), view.tree(4)) == (
            "",
            [],
            "",
            capnp_build.EMPTY,
        )
        assert capnp_view.root(view.tree(3), 1000, 64).text(0) == ""


def test_a_tree_in_another_segment_is_a_message_of_its_own() -> None:
    whole = join(
        [
            words(far_pointer(1, 0)),
            words(struct_pointer(0, 0, 2), far_pointer(2, 0), struct_pointer(0, 1, 0), 8),
            words(struct_pointer(0, 1, 0), 9),
        ]
    )
    view = capnp_view.root(whole, 1000, 64)
    for number, expected in ((0, 9), (1, 8)):
        assert capnp_view.root(view.tree(number), 1000, 64).uint(0, 8) == expected


@pytest.mark.parametrize(
    ("read", "pointer"),
    [
        (lambda view: view.struct(0), list_pointer(0, 2, 1)),
        (lambda view: view.text(0), struct_pointer(0, 1, 0)),
        (lambda view: view.text(0), list_pointer(0, 3, 1)),
        (lambda view: view.text(0), list_pointer(0, 2, 1)),
        (lambda view: view.structs(0, 9), struct_pointer(0, 1, 0)),
        (lambda view: view.structs(0, 9), list_pointer(0, 2, 1)),
        (lambda view: view.structs(0, 0), list_pointer(0, 7, 1)),
    ],
)
def test_a_view_refuses_what_is_not_expected(read: object, pointer: int) -> None:
    view = capnp_view.root(join([words(struct_pointer(0, 0, 1), pointer, 1 << 2 | 1 << 32, 0)]), 1000, 64)
    with pytest.raises(PointerError, match=r"expected|allowed"):
        read(view)  # type: ignore[operator]


def test_text_that_is_not_utf8_is_shown_with_a_mark() -> None:
    view = capnp_view.root(join([words(struct_pointer(0, 0, 1), list_pointer(0, 2, 2), 0xFF)]), 1000, 64)
    assert view.text(0) == "\ufffd"


def test_a_capability_is_found_at_the_end_of_a_path() -> None:
    assert capnp_view.capability_at(capnp_build.CAPABILITY_ROOT, ()) == 0
    assert capnp_view.capability_at(content_with(4, 2), (1,)) == 2
    nested = join([words(struct_pointer(0, 0, 1), struct_pointer(0, 0, 1), 3 | 6 << 32)])
    assert capnp_view.capability_at(nested, (0, 0)) == 6
    for path in ((), (0,), (0, 1), (0, 0, 0), (5,)):
        assert capnp_view.capability_at(nested, path) is None


def test_a_root_that_is_no_struct_is_refused() -> None:
    with pytest.raises(CapnpError):
        capnp_view.root(join([words(list_pointer(0, 2, 0))]), 1000, 64)
    assert capnp_segments.MAX_SEGMENTS == 512
