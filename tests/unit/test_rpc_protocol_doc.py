"""docs/protocol.md on RPC says what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qpq.wire import capnp_layout, capnp_segments
from qpq.wire.rpc_codec import MAX_REASON, encode_message
from qpq.wire.rpc_limits import RpcLimits
from qpq.wire.rpc_messages import Bootstrap
from qpq.wire.rpc_services import FEDERATION_SERVICE, NODE_SERVICE

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## 15. Cap'n Proto RPC")[2]
LIMITS = RpcLimits()


def test_the_example_is_what_the_program_sends() -> None:
    words = re.findall(r"^    ([0-9a-f]{8}) ?([0-9a-f]{8}) ", SECTION, re.MULTILINE)
    assert bytes.fromhex("".join(map("".join, words))) == encode_message(Bootstrap(0))


@pytest.mark.parametrize(
    ("sentence", "value"),
    [
        ("longer than the limit ({} MiB", LIMITS.message >> 20),
        ("has more than {} segments", capnp_segments.MAX_SEGMENTS),
        ("nested deeper than {} levels", capnp_layout.MAX_NESTING),
        ("nested deeper than {} levels", LIMITS.nesting),
        ("it has more than {} pointers", LIMITS.pointers),
        ("it has more than {} pointers", capnp_layout.MAX_POINTERS),
        ("`reason` is cut to {} characters", MAX_REASON),
        ("| calls that run or wait for another's result | {} |", LIMITS.calls),
        ("with capabilities not yet finished | {} MiB |", LIMITS.held >> 20),
        ("| answers that were not finished | {} |", LIMITS.answers),
        ("| capabilities the peer has sent | {};", LIMITS.imports),
        ("; {} in one message |", LIMITS.capabilities),
        ("| capabilities the peer holds | {} |", LIMITS.exports),
        ("a capability in an answer | {} |", LIMITS.path),
        ("values of one message passes | {} Mi |", LIMITS.traversal >> 20),
        ("`NodeService` {}", f"{NODE_SERVICE.number:#x}"),
        ("`FederationService` {}", f"{FEDERATION_SERVICE.number:#x}"),
    ],
)
def test_the_page_gives_the_numbers_of_the_program(sentence: str, value: int | str) -> None:
    shown = f"{value:,}" if isinstance(value, int) else value
    assert sentence.format(shown) in SECTION
