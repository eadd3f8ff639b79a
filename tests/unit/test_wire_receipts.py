from __future__ import annotations

from qpq.crypto.identity import SecretIdentity
from qpq.crypto.primitives import tagged_hash
from qpq.wire.envelope import envelope_hash, envelope_id, sign_envelope
from qpq.wire.receipts import commitment, receipt_id

ANNA = SecretIdentity(b"a" * 32)
SECRET = bytes(range(16))
ENVELOPE = sign_envelope(ANNA, recipient=b"r" * 32, payload=b"sealed", commitment=commitment(SECRET))


def test_a_receipt_gives_the_id_of_its_envelope_to_a_node_that_never_saw_it() -> None:
    assert receipt_id(SECRET, envelope_hash(ENVELOPE)) == envelope_id(ENVELOPE)


def test_a_receipt_without_the_secret_names_no_envelope() -> None:
    h = envelope_hash(ENVELOPE)
    assert receipt_id(bytes(16), h) != envelope_id(ENVELOPE)
    assert receipt_id(commitment(SECRET), h) != envelope_id(ENVELOPE)
    assert receipt_id(SECRET, bytes(32)) != envelope_id(ENVELOPE)


def test_the_commitment_is_the_first_half_of_a_tagged_hash() -> None:
    assert commitment(SECRET) == tagged_hash(b"qpq/1/receipt", SECRET)[:16]
