"""RPC's messages as bytes: what the standard's own schema, read by its own compiler, makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import capnp
import pytest

from qpq.wire.rpc_codec import decode_message, encode_message
from qpq.wire.rpc_messages import THIRD_PARTY, Call, Descriptor, PromisedAnswer, RpcMessage
from rpc_table import IDS, LIMITS, MESSAGES

PARSERS: list[Any] = []
ROOT = Path(__file__).parents[2]
STANDARD = Path(capnp.__file__).parent / "rpc.capnp"


@pytest.fixture(scope="module", params=[STANDARD, ROOT / "schemas" / "rpc.capnp"], ids=["standard", "ours"])
def message_struct(request: pytest.FixtureRequest) -> Any:
    # A parser for each: the two have the same ids, and one process-wide parser would take them for one file.
    parser = capnp.SchemaParser()
    PARSERS.append(parser)
    return parser.load(str(request.param), imports=[str(STANDARD.parents[1])]).Message


DEFAULTS = {
    "releaseParamCaps": True,
    "releaseResultCaps": True,
    "requireEarlyCancellationWorkaround": True,
    "attachedFd": 255,
}


def without_defaults(value: Any) -> Any:
    """Leave out what stands in a message without having been said."""
    if isinstance(value, list):
        return [without_defaults(one) for one in value]
    if isinstance(value, dict):
        said = {name: one for name, one in value.items() if one is not DEFAULTS.get(name, False)}
        return {name: without_defaults(one) for name, one in said.items() if not name.startswith("obsolete")}
    return value


@pytest.mark.parametrize(("message", "told"), MESSAGES, ids=IDS)
def test_the_standards_reader_understands_what_is_written(
    message_struct: Any, message: RpcMessage, told: dict[str, Any]
) -> None:
    with message_struct.from_bytes(encode_message(message)) as read:
        assert without_defaults(read.to_dict()) == told


@pytest.mark.parametrize(("message", "told"), MESSAGES, ids=IDS)
def test_what_the_standards_writer_makes_is_understood(
    message_struct: Any, message: RpcMessage, told: dict[str, Any]
) -> None:
    assert decode_message(message_struct.new_message(**told).to_bytes(), LIMITS) == message


def test_a_capability_of_a_third_party_is_its_vine(message_struct: Any) -> None:
    call = message_struct.new_message(call={"params": {"capTable": [{"thirdPartyHosted": {"vineId": 5}}]}})
    message = decode_message(call.to_bytes(), LIMITS)
    assert isinstance(message, Call)
    assert message.params.table == (Descriptor(THIRD_PARTY, 5),)


def test_steps_without_effect_are_no_part_of_a_path(message_struct: Any) -> None:
    steps = [{"noop": None}, {"getPointerField": 3}]
    call = message_struct.new_message(call={"target": {"promisedAnswer": {"questionId": 1, "transform": steps}}})
    message = decode_message(call.to_bytes(), LIMITS)
    assert isinstance(message, Call)
    assert message.target == PromisedAnswer(1, (3,))
