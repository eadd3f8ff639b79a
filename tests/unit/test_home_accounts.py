"""Accounts and access tokens: only hashes are kept, one name has one key, and a damaged file is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpq.crypto.identity import Identity, text_id
from qpq.daemon.client_port import LEAST_A_SOURCE, MAX_CONNECTIONS
from qpq.home.accounts import MAX_TOKENS, AccountError, Accounts
from qpq.home.limits import HomeLimits
from qpq.home.windows import Windows
from qpq.store.home import MAX_MESSAGES
from qpq.wire.delivery import MESSAGE_TAG, PROOF_TAG
from qpq.wire.rpc_limits import RpcLimits
from qpq.wire.rpc_services import NODE_SERVICE

ANNA, BERT = Identity(b"a" * 32), Identity(b"b" * 32)


def filled() -> tuple[Accounts, str]:
    accounts = Accounts()
    _, text = accounts.add("anna", ANNA, 1000, os.urandom)
    return accounts, text


def test_a_token_lets_in_whoever_has_its_text() -> None:
    accounts, text = filled()
    found = accounts.holder(text.encode())
    assert found is not None
    assert (found.name, found.identity, found.made) == ("anna", ANNA, 1000)
    assert accounts.is_valid(found)
    assert (accounts.key("anna"), accounts.name(ANNA)) == (ANNA, "anna")
    assert (accounts.key("bert"), accounts.name(BERT)) == (None, "")


def test_nothing_else_lets_in() -> None:
    accounts, text = filled()
    number = text.split("-")[1]
    wrong = [b"", b"-", text[:-1].encode(), text.upper().encode(), f"qpq-{number}-".encode(), number.encode()]
    wrong += [f"qpq-{number}-{'a' * 52}".encode(), b"\xff-\xff-\xff", text.encode() + b"\n", f"x-{text}".encode()]
    assert [each for each in wrong if accounts.holder(each) is not None] == []


@given(st.binary(max_size=80))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    accounts, _ = filled()
    assert accounts.holder(data) is None
    assert accounts.holder(b"qpq-" + data) is None


def test_the_file_has_hashes_only_and_is_read_back() -> None:
    accounts, text = filled()
    _, second = accounts.add("anna", ANNA, 1001, os.urandom)
    written = accounts.encode()
    assert text.rpartition("-")[2].encode() not in written
    again = Accounts.decode(written)
    assert again.tokens == accounts.tokens
    assert again.holder(second.encode()) == accounts.holder(second.encode()) is not None


def test_a_revoked_token_is_worth_nothing_and_its_account_goes_with_the_last() -> None:
    accounts, text = filled()
    token, second = accounts.add("anna", ANNA, 1001, os.urandom)
    accounts.revoke(accounts.tokens[0].number)
    assert accounts.holder(text.encode()) is None
    assert accounts.holder(second.encode()) == token
    assert accounts.key("anna") == ANNA
    accounts.revoke(token.number)
    assert not accounts.is_valid(token)
    assert (accounts.key("anna"), accounts.name(ANNA)) == (None, "")
    with pytest.raises(AccountError, match="client token list"):
        accounts.revoke(token.number)


def test_one_name_has_one_key_and_one_key_one_name() -> None:
    accounts, _ = filled()
    with pytest.raises(AccountError, match="tokens for another key"):
        accounts.add("anna", BERT, 0, os.urandom)
    with pytest.raises(AccountError, match="under the name anna"):
        accounts.add("bert", ANNA, 0, os.urandom)
    for name in ("", "-x", "Anna", "a" * 33, "ä"):
        with pytest.raises(AccountError, match="1 to 32 characters"):
            accounts.add(name, BERT, 0, os.urandom)


def test_two_tokens_never_have_one_number_and_there_is_an_end_of_them() -> None:
    accounts = Accounts()
    numbers = iter([bytes(5), bytes(32), bytes(5), b"\x01" * 5, bytes(32)])
    first, _ = accounts.add("anna", ANNA, 0, lambda _size: next(numbers))
    second, _ = accounts.add("anna", ANNA, 0, lambda _size: next(numbers))
    assert first.number != second.number
    for _ in range(MAX_TOKENS - 2):
        accounts.add("anna", ANNA, 0, os.urandom)
    with pytest.raises(AccountError, match="revoke one first"):
        accounts.add("anna", ANNA, 0, os.urandom)
    assert len(Accounts.decode(accounts.encode()).tokens) == MAX_TOKENS


def changed(**fields: Any) -> dict[str, Any]:
    (row,) = json.loads(filled()[0].encode())["tokens"]
    return {**row, **fields}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format": 2, "tokens": []}',
        b'{"format": 1, "tokens": 5}',
        b'{"format": 1, "tokens": [5]}',
        b'{"format": 1, "tokens": [{}]}',
        b"[" * 100_000,
        *[
            json.dumps({"format": 1, "tokens": rows}).encode()
            for rows in (
                [changed(name=5)],
                [changed(name="A")],
                [changed(key="short")],
                [changed(hash="00")],
                [changed(hash="xy")],
                [changed(made=True)],
                [changed(id="long" * 3)],
                [changed(id=["a"] * 8)],
                [changed(more=1)],
                [changed(id="a" * 8), changed(id="a" * 8)],
                [changed(id="a" * 8), changed(id="b" * 8, key=text_id(BERT))],
                [changed(id="a" * 8), changed(id="b" * 8, name="bert")],
            )
        ],
    ],
)
def test_a_file_that_is_none_is_refused(document: bytes) -> None:
    with pytest.raises(AccountError):
        Accounts.decode(document)


def test_so_many_in_any_minute_and_then_a_wait() -> None:
    windows = Windows(3)
    assert [windows.take("a", now) for now in (0.0, 10.0, 20.0)] == [0.0, 0.0, 0.0]
    assert windows.take("a", 30.0) == 30.0
    assert windows.take("b", 30.0) == 0.0
    assert windows.take("a", 60.0) == 0.0
    assert windows.take("a", 61.0) == 9.0
    windows.forget("a")
    windows.forget("a")
    assert windows.take("a", 61.0) == 0.0


def test_the_page_tells_implementers_the_limits_of_the_program() -> None:
    page = (
        (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8").partition("## 14. Clients")[2]
    )
    page = " ".join(page.split())
    limits, rpc = HomeLimits(), RpcLimits()
    for told in (
        f"at most {limits.stranger:,} bytes",
        f"{limits.payload >> 20} MiB, less on nodes with a small store",
        f"fit about {limits.reply >> 20} MiB",
        f"0 means {limits.ttl_s:,} (7 days), at most {limits.max_ttl_s:,}",
        f"(at most {int(limits.wait_s * 1000):,}; more counts as that)",
        f"{limits.waiting} calls of one token may wait",
        f"at most {limits.endpoint:,} bytes, whatever",
        f"take at least {limits.floor_s * 1000:.0f} ms",
        f"wait in one inbox | {MAX_MESSAGES:,}",
        f"on all its connections | {limits.enqueues} in any",
        f"publishing of one token | {limits.lookups} in any",
        f"{rpc.calls} calls may run at a time",
        f"interface id {NODE_SERVICE.number:#x}",
        f'H("{MESSAGE_TAG.decode()}"; recipientKey, seq in 8 bytes, payload)',
        f'H("{PROOF_TAG.decode()}"; message id, recipientKey, timestamp in 8 bytes)',
        f"at least {LEAST_A_SOURCE} | refused",
        f"at most {MAX_CONNECTIONS} | refused",
    ):
        assert told in page, told
    assert limits.bad_tokens == 5
    assert "After five calls with a wrong token" in page
