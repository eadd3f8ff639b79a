"""The vectors of bundles and sessions; make_vectors.py writes them."""

from __future__ import annotations

from vector_base import ANNA, BERT, Document, draw, refusal

from mlkem768 import Seeded
from qpq.crypto.prekeys import make_bundle, make_one_time, make_signed, open_bundle
from qpq.crypto.session_header import FORMAT_OPENING, read_header
from qpq.crypto.sessions import Session

LIFE = 1000
SIGNED = make_signed(Seeded(b"qpq vectors signed prekey"), draw("signed prekey", 32) + draw("x-wing", 32))
ONE_TIME = make_one_time(draw("one-time prekey", 32))


def bundles() -> Document:
    """Return bundles of Bert, and what is refused under his name."""
    plain, whole = make_bundle(BERT, SIGNED, None), make_bundle(BERT, SIGNED, ONE_TIME)
    foreign = make_bundle(ANNA, SIGNED, None)
    refused = (b"\x02" + plain[1:], plain[:-1], whole + b"\0", foreign, plain[:-1] + bytes([plain[-1] ^ 1]))
    found = open_bundle(whole, BERT.address)
    return {
        "note": "owner: bert. xwing_secret: X25519 secret, then the expanded ML-KEM-768 secret key",
        "owner": BERT.address.hex(),
        "x25519_secret": SIGNED.x25519_secret.hex(),
        "xwing_secret": SIGNED.xwing_secret.hex(),
        "one_time_secret": ONE_TIME.secret.hex(),
        "key_id": found.key_id.hex(),
        "one_time_id": found.one_time_id.hex(),
        "bundles": [{"hex": plain.hex()}, {"hex": whole.hex()}],
        "refused": [refusal(data.hex(), lambda data: open_bundle(data, BERT.address)) for data in refused],
    }


def sessions() -> Document:
    """Return a session of Anna with Bert from its first message to a plain one, and headers that are refused."""
    talk = _Talk()
    talk.say("anna", "Hallo Bert, hier ist Anna.")
    talk.say("anna", "Bist du da?")
    talk.say("bert", "Ja.")
    talk.say("anna", "Gut.")
    talk.say("bert", "Bis morgen.")
    talk.say("anna", "grüße")
    plain, first = talk.payloads[-1], talk.payloads[0]
    refused = (
        plain[:1],
        b"\x02\x04" + plain[2:],
        b"\x03\x08" + first[2:],
        b"\x04" + plain[1:],
        plain[:34] + b"\x40\x01" + plain[35:],
        plain[:67],
        first[:1200],
    )
    return {
        "note": "bert's prekeys are in bundle.json. entropy: what the sender draws for this message, kem: what ML-KEM"
        " draws meanwhile (d || z for a key, m for a ciphertext); root: the sender's root key behind it",
        "life": LIFE,
        "begin_entropy": talk.entropy.hex(),
        "begin_kem": talk.kem.hex(),
        "session_id": talk.sides["anna"].session_id.hex(),
        "binding": talk.sides["anna"]._binding.hex(),
        "steps": talk.steps,
        "refused": [refusal(data.hex(), read_header) for data in refused],
    }


class _Talk:
    """Two sides, and what each said."""

    def __init__(self) -> None:
        self.steps: list[Document] = []
        self.payloads: list[bytes] = []
        self._kem = Seeded(b"qpq vectors session")
        self.entropy = draw("ephemeral", 32) + draw("x-wing ephemeral", 32)
        bundle = open_bundle(make_bundle(BERT, SIGNED, ONE_TIME), BERT.address)
        anna = Session.initiate(ANNA, bundle, self._kem, self.entropy, life=LIFE)
        self.kem = self._kem.drawn[0]
        self.sides = {"anna": anna}

    def say(self, sender: str, text: str) -> None:
        """Let a message pass; the receipt of an opening message does not come in time, any other's does."""
        session, drawn = self.sides[sender], len(self._kem.drawn)
        entropy = draw(f"ratchet {len(self.steps)}", 32) + draw(f"message {len(self.steps)}", 32)
        payload, marker = session.seal(text.encode(), self._kem, entropy, life=LIFE)
        self.steps.append(
            {
                "from": sender,
                "entropy": entropy.hex(),
                "kem": [data.hex() for data in self._kem.drawn[drawn:]],
                "root": session._ratchet.root.hex(),
                "text": text,
                "payload": payload.hex(),
            }
        )
        self.payloads.append(payload)
        self._read("bert" if sender == "anna" else "anna", payload, text)
        if payload[0] != FORMAT_OPENING:
            session.proven(marker)

    def _read(self, reader: str, payload: bytes, text: str) -> None:
        aside = Seeded(b"qpq vectors, what a reader draws is of no account")
        if reader in self.sides:
            opened = self.sides[reader].open(payload, aside, life=LIFE)
        else:
            side = Session.respond(BERT, ANNA.address, payload, SIGNED, ONE_TIME, aside, life=LIFE)
            self.sides[reader], opened = side
        assert opened.plaintext == text.encode()
