"""Write the test vectors of wire version 1 into schemas/vectors: ``python tests/vectors/make_vectors.py``.

Everything follows from the fixed seeds below, so a second run gives identical files. A change of
a file here is a change of the wire: nodes in the field would no longer understand each other.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

import home_vectors
import mesh_vectors
import people_vectors
import session_vectors
from vector_base import (
    ANNA,
    BERT,
    NAMES,
    NODE_A,
    NODE_B,
    OUTPUT,
    Document,
    described,
    draw,
    frame_bytes,
    plain,
    refusal,
    seed,
)

from qpq.crypto.identity import SecretIdentity, text_id
from qpq.crypto.sealing import seal
from qpq.link.certificates import make_certificate
from qpq.wire import cbor
from qpq.wire.announce import announce_hash, sign_announce
from qpq.wire.beacon import Beacon, decode_beacon, encode_beacon
from qpq.wire.body import PADDING_STEP, Body, Keys, KeysWanted, Turn, decode_body, encode_body
from qpq.wire.codec import FrameDecoder, FrameEncoder
from qpq.wire.crossing import (
    Crossing,
    FoundBody,
    InwardBody,
    LookupBody,
    MarkBody,
    OutwardBody,
    ProofBody,
    RefusalBody,
)
from qpq.wire.envelope import (
    MAX_TIME,
    MAX_TTL,
    Envelope,
    Mode,
    decode_envelope,
    encode_envelope,
    envelope_hash,
    envelope_id,
    sign_envelope,
)
from qpq.wire.frames import (
    LEANING,
    SHORT_RECEIPTS,
    Bye,
    CloseCode,
    Custody,
    CustodyCode,
    Frame,
    Hello,
    Receipt,
    Role,
    Skipped,
    Transfer,
)
from qpq.wire.receipts import commitment
from qpq.wire.varint import encode_varint

if TYPE_CHECKING:
    from qpq.wire.frames_mesh import Announce


def build() -> dict[str, Document]:
    """Return every file's name and content."""
    return {
        "keys.json": identity(),
        "certificate.json": certificates(),
        "cbor.json": cbor_items(),
        "length.json": lengths(),
        "envelope.json": envelopes(),
        "receipt.json": receipts(),
        "body.json": bodies(),
        "seal.json": seals(),
        "bundle.json": session_vectors.bundles(),
        "session.json": session_vectors.sessions(),
        "announce.json": announces(),
        "beacon.json": beacons(),
        "frames.json": frames(),
        "query.json": mesh_vectors.queries(),
        "reconcile.json": mesh_vectors.reconciliations(),
        "channel.json": mesh_vectors.channels(),
        "safety.json": people_vectors.safety(),
        "delivery.json": home_vectors.deliveries(),
        "link.json": link(),
        "link_short.json": mesh_vectors.short_link(
            _hello(3, features=SHORT_RECEIPTS | LEANING),
            _hello(300, features=SHORT_RECEIPTS | LEANING),
            {"first": _unicast(), "second": _unicast("second", "Kommst du heute?")},
        ),
        "link_mesh.json": mesh_vectors.link(_hello(4), _hello(301, links=5)),
    }


def identity() -> Document:
    return {
        "note": "Ed25519 key pairs of all files here: seed, identity (public key), its text form, its X25519 form",
        "identities": [
            {
                "name": name,
                "seed": seed(name).hex(),
                "identity": secret.identity.hex(),
                "text": text_id(secret.identity),
                "x25519_public": secret.x25519_public.hex(),
            }
            for name, secret in zip(NAMES, (NODE_A, NODE_B, ANNA, BERT), strict=True)
        ],
    }


def certificates() -> Document:
    return {
        "note": "the certificate a node shows, DER",
        "certificates": [
            {"name": name, "identity": secret.identity.hex(), "hex": make_certificate(secret).hex()}
            for name, secret in (("node a", NODE_A), ("node b", NODE_B))
        ],
    }


def cbor_items() -> Document:
    values: list[Any] = [0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1, False, True]
    values += [b"", b"\x01\x02", bytes(24), "", "qpq", "grüße", [], [1, [b"\x02"]], {}, {0: 1, 24: b"\x01", 256: "x"}]
    refused = (
        "1817 1900ff 1a0000ffff 1b00000000ffffffff 780161 980100 5f4100ff 9fff bf0000ff ff 20 c000 f6 f7 f93c00"
        " f818 1c 62c328 63eda080 a1616100 a200000000 a201000000 8181818180 18 42aa 8200 0000"
    )
    return {
        "note": "items: the one encoding of each value (bytes as {bytes}, maps as {map}); refused: what is not read",
        "items": [{"value": _tagged(value), "hex": cbor.encode(value).hex()} for value in values],
        "refused": [refusal(text, cbor.decode) for text in refused.split()],
    }


def _tagged(value: object) -> Any:
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    if isinstance(value, dict):
        return {"map": [[key, _tagged(item)] for key, item in value.items()]}
    return value


def lengths() -> Document:
    values = [0, 63, 64, 16_383, 16_384, 2**30 - 1, 2**30, 2**62 - 1]
    return {
        "note": "the length in front of a frame",
        "lengths": [{"value": value, "hex": encode_varint(value).hex()} for value in values],
        "refused": [{"hex": text, "error": "NotShortestError"} for text in ("4025", "80003fff", "c00000003fffffff")],
    }


def _unicast(name: str = "first", text: str = "Hallo Bert, hier ist Anna.") -> Envelope:
    return _message(ANNA, BERT, name, text)


def _message(sender: SecretIdentity, recipient: SecretIdentity, name: str, text: str) -> Envelope:
    secret = draw(name, 16)
    body = encode_body(Body(secret, text, secret))
    payload = seal(body, sender=sender.address, recipient=recipient.address, entropy=draw(name + " entropy", 32))
    return sign_envelope(
        sender,
        recipient=recipient.address,
        payload=payload,
        commitment=commitment(secret),
        ttl=604_800,
        max_hops=32,
        timestamp=1_767_225_600,
    )


def envelopes() -> Document:
    channel = sign_envelope(
        ANNA, recipient=draw("tag", 16), payload=b"\x01\x02\x03", commitment=draw("c", 16), mode=Mode.CHANNEL, ttl=3600
    )
    largest = sign_envelope(
        ANNA,
        recipient=BERT.address,
        payload=b"",
        commitment=draw("c", 16),
        ttl=MAX_TTL,
        max_hops=255,
        timestamp=MAX_TIME,
        mode=Mode.SEALED_SENDER,
        urgent=True,
    )
    cases = {"unicast": _unicast(), "channel without a clock": channel, "urgent, every field at its end": largest}
    good = encode_envelope(largest).hex()
    refused = [
        good[:2] + "07" + good[4:],
        good[:2] + "10" + good[4:],
        good[:2] + "0b" + good[4:],
        good + "00",
        good[:-2],
    ]
    return {
        "note": "signer: anna. h: hash of the signed fields without the commitment; id follows from commitment and h",
        "envelopes": [
            {
                "name": name,
                **plain(envelope),
                "element0": envelope.element0,
                "h": envelope_hash(envelope).hex(),
                "id": envelope_id(envelope).hex(),
                "hex": encode_envelope(envelope).hex(),
            }
            for name, envelope in cases.items()
        ],
        "refused": [refusal(text, decode_envelope) for text in refused],
    }


def receipts() -> Document:
    envelope = _unicast()
    return {
        "note": "of the first envelope in envelope.json: (s, h) is the receipt",
        "s": draw("first", 16).hex(),
        "h": envelope_hash(envelope).hex(),
        "commitment": envelope.commitment.hex(),
        "id": envelope_id(envelope).hex(),
    }


def bodies() -> Document:
    secret, message_id = draw("first", 16), draw("message", 16)
    cases = [
        Body(secret, "Hallo Bert, hier ist Anna.", secret),
        Body(secret, "noch einmal: grüße", message_id),
        Body(secret, "", secret),
    ]
    words = [KeysWanted(secret), Keys(secret, draw("not really a bundle", 20), draw("envelope id", 32)), Turn(secret)]
    refused = [[0, secret, "x", secret], [1, secret, "x"], [0, secret, b"x"], [0, secret[1:], "x"], [0, secret]]
    crossing = crossings(secret)
    refused += [[11, secret, "x"], [2, secret, b"", bytes(32)], [2, secret, b"x", bytes(31)], [3, secret[1:]]]
    refused += [
        [4, secret, "Berlin.example", b"x"],
        [5, secret, "berlin.example", b""],
        [7, secret, "a@b", "berlin.example"],
    ]
    refused += [
        [6, secret, "berlin.example", bytes(31), secret, bytes(32)],
        [8, secret, secret, b"x", "", ""],
        [9, secret, b"", ""],
        [10, secret, "potsdam.example", bytes(32), bytes(15)],
    ]
    padded, short = encode_body(cases[0], PADDING_STEP), encode_body(cases[0])
    falsely = [padded + bytes(PADDING_STEP), padded[:-1], short + b"\x80", short + bytes(PADDING_STEP - len(short))]
    return {
        "note": "the plaintext inside the seal; padded is the first body, padded; keys: 1 to 3, crossing: 4 to 10",
        "bodies": [{**plain(body), "hex": encode_body(body).hex()} for body in cases],
        "padded": padded.hex(),
        "keys": [{**plain(word), "hex": encode_body(word).hex()} for word in words],
        "crossing": [{**plain(body), "hex": encode_body(body).hex()} for body in crossing],
        "refused": [refusal(data.hex(), decode_body) for data in [*map(cbor.encode, refused), *falsely]],
    }


def crossings(secret: bytes) -> list[Crossing]:
    inner = encode_envelope(_unicast())
    proof, digest = draw("first", 16), envelope_hash(_unicast())
    return [
        OutwardBody(secret, "berlin.example", inner),
        InwardBody(secret, "potsdam.example", inner),
        ProofBody(secret, "potsdam.example", ANNA.address, proof, digest),
        LookupBody(secret, "anna", "potsdam.example"),
        FoundBody(secret, draw("token", 16), ANNA.address, "potsdam.example", ""),
        FoundBody(secret, draw("token", 16), b"", "potsdam.example", "no such user"),
        RefusalBody(secret, draw("envelope id", 32), "no relay of this mesh carries anything to berlin.example"),
        RefusalBody(secret, draw("envelope id", 32), ""),
        MarkBody(secret, "potsdam.example", ANNA.address, draw("message id", 16)),
    ]


def seals() -> Document:
    plaintext = bytes.fromhex(bodies()["bodies"][0]["hex"])
    return {
        "note": "seal format 1; entropy is what the sender draws, the ephemeral secret is derived from it",
        "sender": ANNA.address.hex(),
        "recipient": BERT.address.hex(),
        "recipient_seed": seed("bert").hex(),
        "entropy": draw("first entropy", 32).hex(),
        "plaintext": plaintext.hex(),
        "sealed": _unicast().payload.hex(),
    }


def _announces() -> list[Announce]:
    return [
        sign_announce(ANNA, node=NODE_A.identity, boot=3, counter=1),
        sign_announce(BERT, node=NODE_B.identity, boot=300, counter=70_000, capabilities=1, kem_hash=draw("kem", 12)),
    ]


def announces() -> Document:
    return {
        "note": "signers: anna, bert; signed is the hash, hops is not part of it",
        "announces": [{**plain(announce), "hash": announce_hash(announce).hex()} for announce in _announces()],
    }


def beacons() -> Document:
    cases = [Beacon(NODE_A.identity, 7000, 3), Beacon(NODE_B.identity, 65_535, 2**32 - 1)]
    good = encode_beacon(cases[0]).hex()
    refused = [good[:10] + "02" + good[12:], good.replace("43717071", "43717072"), good + "00", good[:-2], "80"]
    return {
        "note": "the datagram of discovery",
        "beacons": [{**plain(beacon), "hex": encode_beacon(beacon).hex()} for beacon in cases],
        "refused": [refusal(text, decode_beacon) for text in refused],
    }


def _hello(boot: int, **changes: Any) -> Hello:
    hello = Hello(1, 1, 0, boot, 1_767_225_600, True, 0, 2, Role.RELAY, 33_024, 2048)
    return dataclasses.replace(hello, **changes)


def frames() -> Document:
    cases: list[Frame] = [
        _hello(3),
        _hello(9, time=0, time_trusted=False, role=Role.LEAF, features=5, extensions={1: b"\x01", 300: b""}),
        Transfer(0, 8, 0, _unicast()),
        Receipt(((draw("first", 16), envelope_hash(_unicast())),)),
        Custody(((envelope_id(_unicast()), CustodyCode.QUOTA),)),
        *_announces(),
        Bye(CloseCode.SHUTDOWN, 30, "restarting"),
        *mesh_vectors.frames(),
        Custody(((envelope_id(_unicast()), CustodyCode.LATER),)),
    ]
    refused = (
        "00 0180 0181 0100 02810e 03820e00 02810f 40028105 028120 06840500006000 0584050000f6 c000000040000000 03811805"
        " 03980105 058405000040 0402185000 03821280"
        " 028106 028107 03820702 028109 03820a00 03820af5 03820b00 03820c40 0f860d0000f448000000000000000002"
        " 0f860d0300f448000000000000000000 10870d0000f44800000000000000000002"
    )
    return {
        "note": "each frame as the first from node a on its own link to node b, length in front",
        "frames": [
            {**described(frame), "hex": FrameEncoder(NODE_A.identity, NODE_B.identity).encode(frame).hex()}
            for frame in cases
        ],
        "refused": [refusal(text, FrameDecoder(NODE_B.identity, NODE_A.identity).feed) for text in refused.split()],
    }


def link() -> Document:
    first, second = _unicast(), _unicast("second", "Kommst du heute?")
    reply = _message(BERT, ANNA, "reply", "Ja, um acht.")
    steps: list[tuple[str, Frame]] = [
        ("a", _hello(3)),
        ("b", _hello(300, links=0, role=Role.LEAF)),
        ("a", _announces()[0]),
        ("b", _announces()[1]),
        ("a", Transfer(0, 8, 0, first)),
        ("a", Transfer(0, 8, 2, second)),
        ("b", Receipt(((draw("first", 16), envelope_hash(first)), (draw("second", 16), envelope_hash(second))))),
        ("b", Transfer(0, 8, 0, reply)),
        ("a", Custody(((envelope_id(reply), CustodyCode.ACCEPTED),))),
        ("a", Receipt(((draw("reply", 16), envelope_hash(reply)),))),
        ("a", Skipped(200)),
        ("a", Bye(CloseCode.SHUTDOWN, 30, "restarting")),
        ("b", Bye(CloseCode.NONE, 0, "")),
    ]
    encoders = {
        "a": FrameEncoder(NODE_A.identity, NODE_B.identity),
        "b": FrameEncoder(NODE_B.identity, NODE_A.identity),
    }
    return {
        "note": "both directions of one link in the order of sending; keys become references as they repeat",
        "steps": [
            {"from": end, **described(frame), "hex": frame_bytes(encoders[end], frame).hex()} for end, frame in steps
        ],
    }


def text_of(document: Document) -> str:
    """Return a file's text."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all files."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name, document in build().items():
        (OUTPUT / name).write_text(text_of(document), encoding="utf-8")


if __name__ == "__main__":
    main()
