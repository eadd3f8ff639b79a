"""Vectors of what two people compare: safety numbers and the texts in their QR codes."""

from __future__ import annotations

from typing import Any

from vector_base import ANNA, BERT, NODE_A

from qpq.crypto.safety import groups, party_digits, safety_number, scan_text


def safety() -> dict[str, Any]:
    pairs = [("anna", ANNA, "bert", BERT), ("anna", ANNA, "node a", NODE_A)]
    return {
        "note": "safety numbers: 30 digits of each, the 60 that both see, what the first one's screen shows as code",
        "numbers": [
            {
                "own": own_name,
                "peer": peer_name,
                "own_digits": party_digits(own.identity, own.address),
                "peer_digits": party_digits(peer.identity, peer.address),
                "number": " ".join(groups(safety_number(own.address, peer.address))),
                "scan": scan_text(own.address, peer.address),
            }
            for own_name, own, peer_name, peer in pairs
        ],
    }
