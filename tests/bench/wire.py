"""Measure the wire's hot paths: ``python tests/bench/wire.py`` prints microseconds a call."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "node"))

from qpq.crypto.identity import SecretIdentity
from qpq.wire.codec import FrameDecoder, FrameEncoder
from qpq.wire.envelope import (
    decode_envelope,
    encode_envelope,
    envelope_id,
    sign_envelope,
    verify_envelope,
)
from qpq.wire.frames import Receipt, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable

PAYLOAD_BYTES = 300
CALLS = 2_000
ROUNDS = 5


def main() -> None:
    """Print the best of a few rounds for each call."""
    anna, bert = SecretIdentity(b"a" * 32), SecretIdentity(b"b" * 32)
    envelope = sign_envelope(anna, recipient=bert.address, payload=bytes(PAYLOAD_BYTES), commitment=bytes(16))
    encoder = FrameEncoder(anna.identity, bert.identity)
    decoder = FrameDecoder(bert.identity, anna.identity)
    transfer = Transfer(0, 8, 300, envelope)
    receipt = Receipt(((bytes(16), bytes(32)),))
    stored = encode_envelope(envelope)
    transfer_bytes, receipt_bytes = encoder.encode(transfer), encoder.encode(receipt)
    calls: dict[str, Callable[[], object]] = {
        "encode TRANSFER": lambda: encoder.encode(transfer),
        "decode TRANSFER": lambda: decoder.feed(transfer_bytes),
        "encode RECEIPT": lambda: encoder.encode(receipt),
        "decode RECEIPT": lambda: decoder.feed(receipt_bytes),
        "encode envelope": lambda: encode_envelope(envelope),
        "decode envelope": lambda: decode_envelope(stored),
        "envelope id": lambda: envelope_id(envelope),
        "verify envelope": lambda: verify_envelope(envelope),
    }
    print(f"TRANSFER of {PAYLOAD_BYTES} bytes: {len(transfer_bytes)} bytes; RECEIPT: {len(receipt_bytes)} bytes")
    for name, call in calls.items():
        print(f"{name:16} {best(call) * 1e6:6.1f} us")


def best(call: Callable[[], object]) -> float:
    """Return the seconds of one call in the fastest round."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        rounds.append((time.perf_counter() - start) / CALLS)
    return min(rounds)


if __name__ == "__main__":
    main()
