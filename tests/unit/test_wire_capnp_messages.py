"""Parameters and results of the methods: what their schemas say, by field name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qpq import paths
from qpq.wire.capnp_build import EMPTY
from qpq.wire.capnp_errors import ValuesError
from qpq.wire.capnp_messages import decode_params, decode_results, encode_params, encode_results
from qpq.wire.capnp_segments import join
from qpq.wire.rpc_limits import RpcLimits
from qpq.wire.rpc_services import FEDERATION_SERVICE, NODE_SERVICE
from rpc_kit import list_pointer, struct_pointer, words

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "schemas"
ENQUEUE = FEDERATION_SERVICE.method("relayEnqueue")
BATCH = FEDERATION_SERVICE.method("relayBatchEnqueue")
FETCH = NODE_SERVICE.method("fetch")
DELETE = NODE_SERVICE.method("deleteAccount")


def test_values_come_back_by_name() -> None:
    values = {"recipientKey": b"r" * 32, "version": 1, "auth": {"origin": "berlin.example"}, "ttlSecs": 60, "hops": 255}
    fields = decode_params(ENQUEUE, encode_params(ENQUEUE, values))
    assert fields.data("recipientKey") == b"r" * 32
    assert (fields.uint("version"), fields.uint("ttlSecs"), fields.uint("hops")) == (1, 60, 255)
    assert fields.struct("auth").text("origin") == "berlin.example"
    assert fields.data("payload") == b""


def test_lists_come_back_by_name() -> None:
    batch = decode_params(BATCH, encode_params(BATCH, {"recipientKeys": [b"1", b"22", b""]}))
    assert batch.datas("recipientKeys") == [b"1", b"22", b""]
    assert decode_results(BATCH, encode_results(BATCH, {"seqs": [1, 1 << 63]})).uints("seqs") == [1, 1 << 63]
    fetched = encode_results(FETCH, {"payloads": [{"seq": 5, "data": b"five"}, {}]})
    assert [(one.uint("seq"), one.data("data")) for one in decode_results(FETCH, fetched).structs("payloads")] == [
        (5, b"five"),
        (0, b""),
    ]
    assert decode_results(DELETE, encode_results(DELETE, {"success": True})).flag("success") is True


def test_what_is_not_there_has_its_default() -> None:
    fields = decode_params(ENQUEUE, EMPTY)
    assert (fields.uint("hops"), fields.data("payload"), fields.struct("auth").text("origin")) == (0, b"", "")
    results = decode_results(FETCH, EMPTY)
    assert results.structs("payloads") == []
    assert (decode_params(BATCH, EMPTY).datas("recipientKeys"), decode_results(BATCH, EMPTY).uints("seqs")) == ([], [])
    assert decode_results(DELETE, EMPTY).flag("success") is False


@pytest.mark.parametrize(
    "values",
    [
        {"unknown": 1},
        {"hops": 256},
        {"hops": -1},
        {"hops": "many"},
        {"payload": 5},
        {"auth": {"who": "x"}},
        {"auth": {"origin": "\ud800"}},
        {"auth": 5},
        {"payload": [b"x"]},
    ],
)
def test_values_that_the_schema_does_not_have_are_refused(values: Any) -> None:
    with pytest.raises(
        ValuesError, match=r"^FederationService.relayEnqueue: values that its schema does not have \(.+\)$"
    ):
        encode_params(ENQUEUE, values)


@pytest.mark.parametrize(
    "segment",
    [
        words(struct_pointer(0, 0, 1), struct_pointer(0, 1, 0), 0),  # a struct for a key
        words(struct_pointer(0, 0, 4), 0, 0, 0, struct_pointer(0, 0, 1), list_pointer(0, 2, 3), 0xFFFF),  # no end
        words(struct_pointer(0, 0, 4), 0, 0, 0, struct_pointer(0, 0, 1), list_pointer(0, 2, 2), 0xFF),  # not UTF-8
        words(struct_pointer(5, 0, 1)),
    ],
)
def test_bytes_that_do_not_fit_the_schema_are_refused(segment: bytes) -> None:
    with pytest.raises(ValuesError, match=r"^FederationService.relayEnqueue: bytes that do not fit its schema \(.+\)$"):
        decode_params(ENQUEUE, join([segment]))


def test_reading_is_limited() -> None:
    data = encode_params(ENQUEUE, {"payload": bytes(800), "auth": {"origin": "x"}})
    for limits in (RpcLimits(traversal=100), RpcLimits(nesting=1)):
        with pytest.raises(ValuesError):
            decode_params(ENQUEUE, data, limits)


# where they lie


def test_a_program_without_files_knows_a_schema_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(paths.schema_file("node.capnp")) == SCHEMAS / "node.capnp"
    monkeypatch.delattr(paths, "__file__")
    assert paths.schema_file("node.capnp") == "node.capnp"


def test_pycapnp_is_loaded_with_the_first_message_and_not_before() -> None:
    code = """
import sys
from qpq.wire import capnp_messages, rpc_services
assert "capnp" not in sys.modules and "asyncio" not in sys.modules
capnp_messages.encode_params(rpc_services.NODE_SERVICE.method("health"), {})
assert "capnp" in sys.modules
"""
    environment = {"PYTHONPATH": str(ROOT / "node")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)
