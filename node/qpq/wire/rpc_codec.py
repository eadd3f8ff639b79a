"""The messages of Cap'n Proto RPC as bytes.

Where each field is follows from schemas/rpc.capnp as the Cap'n Proto compiler lays it out; a test compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpq.wire.capnp_build import EMPTY, Builder
from qpq.wire.capnp_view import root
from qpq.wire.rpc_errors import RpcProtocolError
from qpq.wire.rpc_messages import (
    RECEIVER_ANSWER,
    THIRD_PARTY,
    Abort,
    Bootstrap,
    Call,
    Descriptor,
    Disembargo,
    Failure,
    Finish,
    Foreign,
    ImportedCap,
    Payload,
    PromisedAnswer,
    Release,
    Resolve,
    Return,
    TakeFrom,
    Unimplemented,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpq.wire.capnp_view import View
    from qpq.wire.rpc_limits import RpcLimits
    from qpq.wire.rpc_messages import RpcMessage, Target

MAX_REASON: Final = 1024
"""Characters of an exception's text that are sent, and that are kept of one that came."""

_UNIMPLEMENTED, _ABORT, _CALL, _RETURN, _FINISH, _RESOLVE, _RELEASE = range(7)
_BOOTSTRAP, _DISEMBARGO = 8, 13
_KINDS: Final[dict[type, int]] = {
    Unimplemented: _UNIMPLEMENTED,
    Abort: _ABORT,
    Finish: _FINISH,
    Resolve: _RESOLVE,
    Release: _RELEASE,
    Bootstrap: _BOOTSTRAP,
    Disembargo: _DISEMBARGO,
}


def encode_message(message: RpcMessage) -> bytes:
    """Return the bytes of a message with its table of segments."""
    if isinstance(message, Foreign):
        return message.message
    if isinstance(message, Call):
        return _encode_call(message)
    if isinstance(message, Return):
        return _encode_return(message)
    kind, inner = _KINDS[type(message)], message.message if isinstance(message, Unimplemented) else EMPTY
    builder, at = _begin(kind, inner)
    match message:
        case Unimplemented():
            builder.inner(at)
        case Abort(failure):
            _put_failure(builder, at, failure)
        case Bootstrap(question):
            builder.put("I", builder.struct(at, 1, 1), 0, question)
        case Finish(question, release):
            start = builder.struct(at, 1, 0)
            builder.put("I", start, 0, question)
            # Both bits have the default true and are stored inverted; the second asks an old peer for a workaround
            # that only one which drops results it was not asked for needs.
            builder.put("B", start, 4, 2 | (not release))
        case Release(number, count):
            start = builder.struct(at, 1, 0)
            builder.put("I", start, 0, number)
            builder.put("I", start, 4, count)
        case _:
            _put_rare(builder, at, message)
    return builder.finish()


def _put_rare(builder: Builder, at: int, message: Resolve | Disembargo) -> None:
    start = builder.struct(at, 1, 1)
    if isinstance(message, Disembargo):
        builder.put("I", start, 0, message.embargo)
        builder.put("H", start, 4, message.reply)
        _put_target(builder, start + 1, message.target)
        return
    builder.put("I", start, 0, message.promise)
    if isinstance(message.outcome, Failure):
        builder.put("H", start, 4, 1)
        _put_failure(builder, start + 1, message.outcome)
    else:
        _put_descriptor(builder, builder.struct(start + 1, 1, 1), message.outcome)


def _begin(kind: int, inner: bytes = EMPTY) -> tuple[Builder, int]:
    """Return a builder and the word of the pointer to what the message says."""
    builder = Builder(inner)
    start = builder.struct(0, 1, 1)
    builder.put("H", start, 0, kind)
    return builder, start + 1


def _encode_call(call: Call) -> bytes:
    builder, at = _begin(_CALL, call.params.content)
    start = builder.struct(at, 3, 3)
    builder.put("I", start, 0, call.question)
    builder.put("H", start, 4, call.method)
    builder.put("H", start, 6, call.results_to)
    builder.put("Q", start, 8, call.interface)
    _put_target(builder, start + 3, call.target)
    _put_payload(builder, start + 4, call.params)
    return builder.finish()


def _encode_return(message: Return) -> bytes:
    outcome = message.outcome
    builder, at = _begin(_RETURN, outcome.content if isinstance(outcome, Payload) else EMPTY)
    start = builder.struct(at, 2, 1)
    builder.put("I", start, 0, message.answer)
    builder.put("B", start, 4, (not message.release_params) | message.no_finish << 1)
    match outcome:
        case Payload():
            _put_payload(builder, start + 2, outcome)
        case Failure():
            builder.put("H", start, 6, 1)
            _put_failure(builder, start + 2, outcome)
        case TakeFrom(question):
            builder.put("H", start, 6, 4)
            builder.put("I", start, 8, question)
        case _:
            builder.put("H", start, 6, outcome)
    return builder.finish()


def _put_target(builder: Builder, at: int, target: Target) -> None:
    start = builder.struct(at, 1, 1)
    if isinstance(target, ImportedCap):
        builder.put("I", start, 0, target.number)
    else:
        builder.put("H", start, 4, 1)
        _put_answer(builder, start + 1, target)


def _put_answer(builder: Builder, at: int, answer: PromisedAnswer) -> None:
    start = builder.struct(at, 1, 1)
    builder.put("I", start, 0, answer.question)
    if answer.path:
        first = builder.structs(start + 1, len(answer.path), 1, 0)
        for step, field in enumerate(answer.path):
            builder.put("H", first + step, 0, 1)
            builder.put("H", first + step, 2, field)


def _put_payload(builder: Builder, at: int, payload: Payload) -> None:
    start = builder.struct(at, 0, 2)
    builder.inner(start)
    if payload.table:
        first = builder.structs(start + 1, len(payload.table), 1, 1)
        for number, descriptor in enumerate(payload.table):
            _put_descriptor(builder, first + 2 * number, descriptor)


def _put_descriptor(builder: Builder, start: int, descriptor: Descriptor) -> None:
    builder.put("H", start, 0, descriptor.kind)
    if descriptor.answer is not None:
        _put_answer(builder, start + 1, descriptor.answer)
    else:
        builder.put("I", start, 4, descriptor.number)


def _put_failure(builder: Builder, at: int, failure: Failure) -> None:
    start = builder.struct(at, 1, 2)
    builder.put("H", start, 4, failure.kind)
    builder.text(start + 1, failure.reason[:MAX_REASON])


def decode_message(data: bytes, limits: RpcLimits) -> RpcMessage:
    """Return the message; raises CapnpError for bytes that are none, RpcProtocolError for one that makes no sense."""
    message = root(data, limits.message, limits.nesting, limits.pointers)
    kind = message.uint(0, 2)
    if kind in _DECODERS:
        return _DECODERS[kind](message.struct(0), limits)
    return Unimplemented(message.tree(0)) if kind == _UNIMPLEMENTED else Foreign(kind, data)


def _abort(view: View, _limits: RpcLimits) -> Abort:
    return Abort(_failure(view))


def _bootstrap(view: View, _limits: RpcLimits) -> Bootstrap:
    return Bootstrap(view.uint(0, 4))


def _call(view: View, limits: RpcLimits) -> Call:
    return Call(
        view.uint(0, 4),
        _target(view.struct(0), limits),
        view.uint(8, 8),
        view.uint(4, 2),
        _payload(view.struct(1), limits),
        view.uint(6, 2),
    )


def _return(view: View, limits: RpcLimits) -> Return:
    kind = view.uint(6, 2)
    bits = view.uint(4, 1)
    outcome: Payload | Failure | TakeFrom | int = kind
    if kind == 0:
        outcome = _payload(view.struct(0), limits)
    elif kind == 1:
        outcome = _failure(view.struct(0))
    elif kind == 4:  # noqa: PLR2004 (numbers of the union, as above)
        outcome = TakeFrom(view.uint(8, 4))
    return Return(view.uint(0, 4), outcome, not bits & 1, bool(bits & 2))


def _finish(view: View, _limits: RpcLimits) -> Finish:
    return Finish(view.uint(0, 4), not view.uint(4, 1) & 1)


def _resolve(view: View, limits: RpcLimits) -> Resolve:
    kind = view.uint(4, 2)
    if kind > 1:
        raise RpcProtocolError(f"a promise resolved to something of kind {kind}")
    outcome = _failure(view.struct(0)) if kind else _descriptor(view.struct(0), limits)
    return Resolve(view.uint(0, 4), outcome)


def _release(view: View, _limits: RpcLimits) -> Release:
    return Release(view.uint(0, 4), view.uint(4, 4))


def _disembargo(view: View, limits: RpcLimits) -> RpcMessage:
    kind = view.uint(4, 2)
    if kind > 1:
        raise RpcProtocolError(f"a disembargo of kind {kind}, which belongs to level 3")
    return Disembargo(_target(view.struct(0), limits), view.uint(0, 4), bool(kind))


_DECODERS: Final[dict[int, Callable[[View, RpcLimits], RpcMessage]]] = {
    _ABORT: _abort,
    _BOOTSTRAP: _bootstrap,
    _CALL: _call,
    _RETURN: _return,
    _FINISH: _finish,
    _RESOLVE: _resolve,
    _RELEASE: _release,
    _DISEMBARGO: _disembargo,
}


def _target(view: View, limits: RpcLimits) -> Target:
    kind = view.uint(4, 2)
    if kind > 1:
        raise RpcProtocolError(f"a target of kind {kind}")
    return _answer(view.struct(0), limits) if kind else ImportedCap(view.uint(0, 4))


def _answer(view: View, limits: RpcLimits) -> PromisedAnswer:
    path = []
    for op in view.structs(0, limits.path):
        kind = op.uint(0, 2)
        if kind > 1:
            raise RpcProtocolError(f"a step of kind {kind} on the way to a capability")
        if kind:
            path.append(op.uint(2, 2))
    return PromisedAnswer(view.uint(0, 4), tuple(path))


def _payload(view: View, limits: RpcLimits) -> Payload:
    table = view.structs(1, limits.capabilities)
    return Payload(view.tree(0), tuple([_descriptor(entry, limits) for entry in table]))


def _descriptor(view: View, limits: RpcLimits) -> Descriptor:
    kind = view.uint(0, 2)
    if kind == RECEIVER_ANSWER:
        return Descriptor(kind, answer=_answer(view.struct(0), limits))
    if kind == THIRD_PARTY:
        return Descriptor(kind, view.struct(0).uint(0, 4))
    if kind > THIRD_PARTY:
        raise RpcProtocolError(f"a capability of kind {kind}")
    return Descriptor(kind, view.uint(4, 4))


def _failure(view: View) -> Failure:
    return Failure(view.uint(4, 2), view.text(0)[:MAX_REASON])
