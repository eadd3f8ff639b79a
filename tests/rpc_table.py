"""One of each message of RPC, and what the standard's schema says of it."""

from __future__ import annotations

from typing import Any

from qpq.wire.capnp_build import EMPTY
from qpq.wire.rpc_limits import RpcLimits
from qpq.wire.rpc_messages import (
    CANCELED,
    NONE,
    RECEIVER_ANSWER,
    RECEIVER_HOSTED,
    SENDER_HOSTED,
    SENDER_PROMISE,
    SENT_ELSEWHERE,
    YOURSELF,
    Abort,
    Bootstrap,
    Call,
    Descriptor,
    Disembargo,
    Failure,
    Finish,
    ImportedCap,
    Payload,
    PromisedAnswer,
    Release,
    Resolve,
    Return,
    RpcMessage,
    TakeFrom,
)

LIMITS = RpcLimits()
TABLE = (
    Descriptor(NONE),
    Descriptor(SENDER_HOSTED, 1),
    Descriptor(SENDER_PROMISE, 2),
    Descriptor(RECEIVER_HOSTED, 3),
    Descriptor(RECEIVER_ANSWER, answer=PromisedAnswer(4, (5, 6))),
)
FAILURE = Failure(1, "too much: ü")

# Each message and what the standard's schema has to say about it.
MESSAGES: list[tuple[RpcMessage, dict[str, Any]]] = [
    (Abort(FAILURE), {"abort": {"reason": "too much: ü", "type": "overloaded"}}),
    (Bootstrap(7), {"bootstrap": {"questionId": 7}}),
    (
        Call(1, ImportedCap(2), 3, 4, Payload()),
        {
            "call": {
                "questionId": 1,
                "target": {"importedCap": 2},
                "interfaceId": 3,
                "methodId": 4,
                "params": {},
                "sendResultsTo": {"caller": None},
            }
        },
    ),
    (
        Call(0xFFFFFFFF, PromisedAnswer(8, (1, 65535)), (1 << 64) - 1, 65535, Payload(EMPTY, TABLE), YOURSELF),
        {
            "call": {
                "questionId": 0xFFFFFFFF,
                "target": {
                    "promisedAnswer": {
                        "questionId": 8,
                        "transform": [{"getPointerField": 1}, {"getPointerField": 65535}],
                    }
                },
                "interfaceId": (1 << 64) - 1,
                "methodId": 65535,
                "params": {
                    "capTable": [
                        {"none": None},
                        {"senderHosted": 1},
                        {"senderPromise": 2},
                        {"receiverHosted": 3},
                        {
                            "receiverAnswer": {
                                "questionId": 4,
                                "transform": [{"getPointerField": 5}, {"getPointerField": 6}],
                            }
                        },
                    ]
                },
                "sendResultsTo": {"yourself": None},
            }
        },
    ),
    (Return(5, Payload()), {"return": {"answerId": 5, "results": {}}}),
    (
        Return(6, FAILURE, release_params=False, no_finish=True),
        {
            "return": {
                "answerId": 6,
                "exception": {"reason": "too much: ü", "type": "overloaded"},
                "releaseParamCaps": False,
                "noFinishNeeded": True,
            }
        },
    ),
    (Return(7, CANCELED), {"return": {"answerId": 7, "canceled": None}}),
    (Return(8, SENT_ELSEWHERE), {"return": {"answerId": 8, "resultsSentElsewhere": None}}),
    (Return(9, TakeFrom(10)), {"return": {"answerId": 9, "takeFromOtherQuestion": 10}}),
    (Finish(11), {"finish": {"questionId": 11, "requireEarlyCancellationWorkaround": False}}),
    (
        Finish(12, release_results=False),
        {"finish": {"questionId": 12, "releaseResultCaps": False, "requireEarlyCancellationWorkaround": False}},
    ),
    (Resolve(13, Descriptor(SENDER_HOSTED, 14)), {"resolve": {"promiseId": 13, "cap": {"senderHosted": 14}}}),
    (
        Resolve(15, FAILURE),
        {"resolve": {"promiseId": 15, "exception": {"reason": "too much: ü", "type": "overloaded"}}},
    ),
    (Release(16, 17), {"release": {"id": 16, "referenceCount": 17}}),
    (
        Disembargo(ImportedCap(18), 19, reply=False),
        {"disembargo": {"target": {"importedCap": 18}, "context": {"senderLoopback": 19}}},
    ),
    (
        Disembargo(PromisedAnswer(20), 21, reply=True),
        {"disembargo": {"target": {"promisedAnswer": {"questionId": 20}}, "context": {"receiverLoopback": 21}}},
    ),
]
IDS = [next(iter(told)) for _, told in MESSAGES]
