"""RPC's messages to bytes and back; tests/unit/test_rpc_standard.py compares them with the standard."""

from __future__ import annotations

import pytest

from qpq.wire.capnp_build import EMPTY, Builder
from qpq.wire.capnp_errors import CapnpError
from qpq.wire.capnp_segments import join
from qpq.wire.rpc_codec import MAX_REASON, decode_message, encode_message
from qpq.wire.rpc_errors import RpcProtocolError
from qpq.wire.rpc_limits import RpcLimits
from qpq.wire.rpc_messages import (
    SENDER_HOSTED,
    Abort,
    Call,
    Descriptor,
    Disembargo,
    Failure,
    Foreign,
    ImportedCap,
    Payload,
    PromisedAnswer,
    Resolve,
    Return,
    RpcMessage,
    Unimplemented,
)
from rpc_kit import content_with, struct_pointer, words
from rpc_table import IDS, LIMITS, MESSAGES, TABLE


@pytest.mark.parametrize("message", [message for message, _ in MESSAGES], ids=IDS)
def test_messages_come_back_as_they_were(message: RpcMessage) -> None:
    assert decode_message(encode_message(message), LIMITS) == message


def test_content_travels_as_a_message_of_its_own() -> None:
    content = content_with(0, 1, data=77)
    for outcome in (content, join([words(2 | 1 << 32), words(struct_pointer(0, 1, 0), 77)])):
        call = decode_message(encode_message(Call(1, ImportedCap(0), 1, 1, Payload(outcome, TABLE))), LIMITS)
        assert isinstance(call, Call)
        again = decode_message(encode_message(Return(1, call.params)), LIMITS)
        assert isinstance(again, Return)
        assert isinstance(again.outcome, Payload)
        assert again.outcome.table == TABLE
        data = again.outcome.content
        assert words(77) in data


def test_an_unknown_message_is_kept_whole_and_its_refusal_names_it() -> None:
    for kind in (7, 9, 10, 11, 12, 14, 999):
        builder = Builder()
        builder.put("H", builder.struct(0, 1, 1), 0, kind)
        data = builder.finish()
        message = decode_message(data, LIMITS)
        assert message == Foreign(kind, data)
        assert encode_message(message) == data
        refusal = decode_message(encode_message(Unimplemented(data)), LIMITS)
        assert isinstance(refusal, Unimplemented)
        assert isinstance(inner := decode_message(refusal.message, LIMITS), Foreign)
        assert inner.kind == kind


def changed(message: RpcMessage, at: int, value: int) -> bytes:
    """Return a message with 16 bits at one of its bytes set."""
    data = bytearray(encode_message(message))
    data[at : at + 2] = value.to_bytes(2, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (changed(Resolve(1, Descriptor(SENDER_HOSTED, 2)), 36, 2), "resolved to something of kind 2"),
        (changed(Resolve(1, Descriptor(SENDER_HOSTED, 2)), 48, 6), "capability of kind 6"),
        (changed(Disembargo(ImportedCap(1), 2, reply=False), 36, 2), "disembargo of kind 2"),
        (changed(Disembargo(ImportedCap(1), 2, reply=False), 52, 2), "target of kind 2"),
        (changed(Disembargo(PromisedAnswer(1, (3,)), 2, reply=False), 88, 2), "step of kind 2"),
    ],
)
def test_what_no_level_knows_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RpcProtocolError, match=reason):
        decode_message(data, LIMITS)


def test_tables_and_paths_are_limited() -> None:
    small = RpcLimits(capabilities=2, path=3)
    call = Call(1, PromisedAnswer(1, (1, 2, 3)), 1, 1, Payload(EMPTY, TABLE[:2]))
    assert decode_message(encode_message(call), small) == call
    for more in (
        Call(1, PromisedAnswer(1, (1, 2, 3, 4)), 1, 1, Payload()),
        Call(1, ImportedCap(1), 1, 1, Payload(EMPTY, TABLE[:3])),
    ):
        with pytest.raises(CapnpError, match=r"at most . are allowed"):
            decode_message(encode_message(more), small)


def test_the_text_of_an_exception_is_cut() -> None:
    message = decode_message(encode_message(Abort(Failure(0, "x" * 5000))), LIMITS)
    assert message == Abort(Failure(0, "x" * MAX_REASON))
