"""Delivery proofs: their bytes, and that nothing else passes for one."""

from __future__ import annotations

import hashlib

import pytest

from qpq.crypto.identity import SecretIdentity
from qpq.wire.delivery import PROOF_BYTES, check_proof, make_proof, message_id

NODE = SecretIdentity(bytes(range(32)))
BERT = b"b" * 32


def field(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def test_the_id_of_a_message_is_a_hash_of_its_recipient_number_and_payload() -> None:
    tag = b"qpq home message v1"
    written = bytes([len(tag)]) + tag + field(BERT) + field((7).to_bytes(8, "big")) + field(b"hello")
    assert message_id(BERT, 7, b"hello") == hashlib.sha256(written).digest()


def test_a_proof_is_the_hash_that_the_documents_tell_and_the_nodes_signature_of_it() -> None:
    message, tag = message_id(BERT, 7, b"hello"), b"qpq delivery proof v1"
    proof = make_proof(NODE, message, BERT, 1_700_000_000)
    written = bytes([len(tag)]) + tag + field(message) + field(BERT) + field((1_700_000_000).to_bytes(8, "big"))
    assert len(proof) == PROOF_BYTES
    assert proof[:32] == hashlib.sha256(written).digest()
    assert proof[32:] == NODE.sign(proof[:32])
    assert check_proof(NODE.identity, proof, message, BERT, 1_700_000_000)


@pytest.mark.parametrize("at", [0, 31, 32, 95])
def test_a_changed_byte_makes_it_worthless(at: int) -> None:
    message = message_id(BERT, 7, b"hello")
    proof = bytearray(make_proof(NODE, message, BERT, 5))
    proof[at] ^= 1
    assert not check_proof(NODE.identity, bytes(proof), message, BERT, 5)


def test_a_proof_is_of_one_message_one_recipient_one_time_and_one_node() -> None:
    message = message_id(BERT, 7, b"hello")
    proof = make_proof(NODE, message, BERT, 5)
    other = SecretIdentity(bytes(32)).identity
    assert not check_proof(NODE.identity, proof, message_id(BERT, 8, b"hello"), BERT, 5)
    assert not check_proof(NODE.identity, proof, message, b"c" * 32, 5)
    assert not check_proof(NODE.identity, proof, message, BERT, 6)
    assert not check_proof(other, proof, message, BERT, 5)
    assert not check_proof(NODE.identity, proof + b"x", message, BERT, 5)
    assert not check_proof(NODE.identity, b"", message, BERT, 5)
