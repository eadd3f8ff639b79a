from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qpq.crypto import errors as crypto_errors
from qpq.crypto.channels import day_tag, decode_share, encode_share, open_broadcast, seal_broadcast
from qpq.crypto.identity import Address, SecretIdentity, address_of, parse_id, text_id
from qpq.crypto.safety import matches, safety_number, scan_text
from qpq.crypto.sealing import open_sealed, seal
from qpq.link.certificates import make_certificate, sole_identity
from qpq.wire import cbor, errors
from qpq.wire.announce import announce_hash, verify_announce
from qpq.wire.beacon import decode_beacon, encode_beacon
from qpq.wire.body import PADDING_STEP, Body, Keys, KeysWanted, Turn, decode_body, encode_body
from qpq.wire.codec import FrameDecoder, FrameEncoder, codecs
from qpq.wire.crossing import FoundBody, InwardBody, LookupBody, MarkBody, OutwardBody, ProofBody, RefusalBody
from qpq.wire.delivery import check_proof, make_proof, message_id
from qpq.wire.envelope import decode_envelope, encode_envelope, envelope_hash, envelope_id, verify_envelope
from qpq.wire.frames import Receipt, Skipped, Transfer
from qpq.wire.frames_mesh import Announce, Query, Reconcile, Route
from qpq.wire.query import query_hash, verify_query
from qpq.wire.receipts import commitment, receipt_id
from qpq.wire.reconcile import Items, initiate, respond
from qpq.wire.varint import decode_varint, encode_varint

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "schemas" / "vectors"
MAKER = runpy.run_path(str(ROOT / "tests" / "vectors" / "make_vectors.py"))
FILES = sorted(path.name for path in VECTORS.glob("*.json"))


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


IDENTITIES = {entry["name"]: SecretIdentity(unhex(entry["seed"])) for entry in load("keys.json")["identities"]}
NODE_A, NODE_B = IDENTITIES["node a"].identity, IDENTITIES["node b"].identity
READERS = {
    "cbor.json": cbor.decode,
    "envelope.json": decode_envelope,
    "body.json": decode_body,
    "beacon.json": decode_beacon,
    "frames.json": lambda data: FrameDecoder(NODE_B, NODE_A).feed(data),
    "length.json": lambda data: decode_varint(data, 0),
    "reconcile.json": lambda data: respond(Items(), data),
}


def test_delivery_proofs() -> None:
    for entry in load("delivery.json")["proofs"]:
        recipient, message = unhex(entry["recipient"]), unhex(entry["message_id"])
        assert message == message_id(recipient, entry["seq"], unhex(entry["payload"]))
        assert check_proof(NODE_A, unhex(entry["proof"]), message, recipient, entry["timestamp"])
        assert make_proof(IDENTITIES["node a"], message, recipient, entry["timestamp"]) == unhex(entry["proof"])


def test_safety_numbers() -> None:
    for entry in load("safety.json")["numbers"]:
        own, peer = (IDENTITIES[entry[who]].address for who in ("own", "peer"))
        number = "".join(entry["number"].split())
        assert safety_number(own, peer) == safety_number(peer, own) == number
        assert number == "".join(sorted((entry["own_digits"], entry["peer_digits"])))
        assert scan_text(own, peer) == entry["scan"]
        assert matches(entry["scan"], peer, own, number)


def test_making_the_vectors_again_gives_the_committed_files() -> None:
    built = MAKER["build"]()
    assert sorted(built) == FILES
    for name, document in built.items():
        assert MAKER["text_of"](document) == (VECTORS / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("name", sorted(READERS))
def test_what_a_file_says_is_refused_is_refused_for_that_reason(name: str) -> None:
    cases = load(name)["refused"]
    assert cases
    for case in cases:
        with pytest.raises(getattr(errors, case["error"])):
            READERS[name](unhex(case["hex"]))


def test_identities_follow_from_their_seeds() -> None:
    for entry in load("keys.json")["identities"]:
        secret = SecretIdentity(unhex(entry["seed"]))
        assert secret.identity.hex() == entry["identity"]
        assert secret.x25519_public.hex() == entry["x25519_public"]
        assert text_id(secret.identity) == entry["text"]
        assert parse_id(entry["text"]) == secret.identity


def test_certificates_follow_from_the_identity_and_show_it() -> None:
    for entry in load("certificate.json")["certificates"]:
        secret = IDENTITIES[entry["name"]]
        assert make_certificate(secret).hex() == entry["hex"]
        assert sole_identity([unhex(entry["hex"])]) == secret.identity
        assert secret.identity.hex() == entry["identity"]


def untagged(value: Any) -> Any:
    if isinstance(value, dict):
        return unhex(value["bytes"]) if "bytes" in value else {key: untagged(item) for key, item in value["map"]}
    return [untagged(item) for item in value] if isinstance(value, list) else value


def test_cbor_items_read_and_write() -> None:
    for item in load("cbor.json")["items"]:
        value = untagged(item["value"])
        assert cbor.encode(value).hex() == item["hex"]
        assert cbor.decode(unhex(item["hex"])) == value


def test_lengths_read_and_write() -> None:
    for case in load("length.json")["lengths"]:
        assert encode_varint(case["value"]).hex() == case["hex"]
        assert decode_varint(unhex(case["hex"]), 0) == (case["value"], len(case["hex"]) // 2)


def test_envelopes_read_write_and_verify() -> None:
    for case in load("envelope.json")["envelopes"]:
        envelope = decode_envelope(unhex(case["hex"]))
        assert encode_envelope(envelope).hex() == case["hex"]
        assert {name: case[name] for name in MAKER["plain"](envelope)} == MAKER["plain"](envelope)
        assert envelope.element0 == case["element0"]
        assert envelope_hash(envelope).hex() == case["h"]
        assert envelope_id(envelope).hex() == case["id"]
        assert verify_envelope(envelope)


def test_the_receipt_gives_the_id() -> None:
    case = load("receipt.json")
    assert commitment(unhex(case["s"])).hex() == case["commitment"]
    assert receipt_id(unhex(case["s"]), unhex(case["h"])).hex() == case["id"]


def test_bodies_read_and_write() -> None:
    for case in load("body.json")["bodies"]:
        body = decode_body(unhex(case["hex"]))
        assert isinstance(body, Body)
        assert encode_body(body).hex() == case["hex"]
        assert (body.secret.hex(), body.text, body.message_id.hex()) == (
            case["secret"],
            case["text"],
            case["message_id"],
        )


def test_padded_bodies_and_words_about_keys_read_and_write() -> None:
    document = load("body.json")
    first = decode_body(unhex(document["bodies"][0]["hex"]))
    assert decode_body(unhex(document["padded"])) == first
    assert encode_body(first, PADDING_STEP).hex() == document["padded"]
    for case, kind in zip(document["keys"], (KeysWanted, Keys, Turn), strict=True):
        word = decode_body(unhex(case["hex"]))
        assert type(word) is kind
        assert encode_body(word).hex() == case["hex"]
        assert {name: case[name] for name in MAKER["plain"](word)} == MAKER["plain"](word)


def test_bodies_to_and_from_gateways_read_and_write() -> None:
    kinds = (OutwardBody, InwardBody, ProofBody, LookupBody, FoundBody, FoundBody, RefusalBody, RefusalBody, MarkBody)
    for case, kind in zip(load("body.json")["crossing"], kinds, strict=True):
        body = decode_body(unhex(case["hex"]))
        assert type(body) is kind
        assert encode_body(body).hex() == case["hex"]
        assert {name: case[name] for name in MAKER["plain"](body)} == MAKER["plain"](body)


def test_the_seal_opens_for_its_recipient() -> None:
    case = load("seal.json")
    sender = address_of(IDENTITIES["anna"].identity)
    recipient = SecretIdentity(unhex(case["recipient_seed"]))
    assert (sender.hex(), recipient.address.hex()) == (case["sender"], case["recipient"])
    opened = open_sealed(unhex(case["sealed"]), sender=sender, recipient_secret=recipient)
    assert opened.hex() == case["plaintext"]
    sealed = seal(opened, sender=sender, recipient=recipient.address, entropy=unhex(case["entropy"]))
    assert sealed.hex() == case["sealed"]


def test_announces_verify() -> None:
    for case in load("announce.json")["announces"]:
        fields = {
            key: unhex(value) if isinstance(value, str) else value for key, value in case.items() if key != "hash"
        }
        announce = Announce(**fields)
        assert announce_hash(announce).hex() == case["hash"]
        assert verify_announce(announce)


def test_beacons_read_and_write() -> None:
    for case in load("beacon.json")["beacons"]:
        beacon = decode_beacon(unhex(case["hex"]))
        assert encode_beacon(beacon).hex() == case["hex"]
        assert (beacon.node.hex(), beacon.port, beacon.boot) == (case["node"], case["port"], case["boot"])


def test_frames_read_and_write() -> None:
    for case in load("frames.json")["frames"]:
        data = unhex(case["hex"])
        [frame] = FrameDecoder(NODE_B, NODE_A).feed(data)
        assert {**MAKER["described"](frame), "hex": case["hex"]} == case
        assert FrameEncoder(NODE_A, NODE_B).encode(frame) == data


def test_the_recorded_link_of_version_1_is_understood_in_both_directions() -> None:
    decoders = {"a": FrameDecoder(NODE_B, NODE_A), "b": FrameDecoder(NODE_A, NODE_B)}
    encoders = {"a": FrameEncoder(NODE_A, NODE_B), "b": FrameEncoder(NODE_B, NODE_A)}
    sent: set[bytes] = set()
    received: set[bytes] = set()
    kinds = []
    for step in load("link.json")["steps"]:
        data = unhex(step["hex"])
        [frame] = decoders[step["from"]].feed(data)
        assert {"from": step["from"], **MAKER["described"](frame), "hex": step["hex"]} == step
        assert isinstance(frame, Skipped) or encoders[step["from"]].encode(frame) == data
        kinds.append(step["frame"])
        if isinstance(frame, Transfer):
            assert verify_envelope(frame.envelope)
            sent.add(envelope_id(frame.envelope))
        elif isinstance(frame, Receipt):
            received |= {receipt_id(secret, envelope_hash) for secret, envelope_hash in frame.proofs}
        elif isinstance(frame, Announce):
            assert verify_announce(frame)
    assert sent == received
    assert set(kinds) == {"HELLO", "ANNOUNCE", "TRANSFER", "RECEIPT", "CUSTODY", "SKIPPED", "BYE"}


def test_the_recorded_link_with_short_receipts_is_understood_in_both_directions() -> None:
    ends = {"a": codecs(NODE_A, NODE_B), "b": codecs(NODE_B, NODE_A)}
    others = {"a": "b", "b": "a"}
    kinds = []
    for step in load("link_short.json")["steps"]:
        data = unhex(step["hex"])
        [frame] = ends[others[step["from"]]][1].feed(data)
        assert {"from": step["from"], **MAKER["described"](frame), "hex": step["hex"]} == step
        kinds.append(data[2] if data[0] < 64 else data[3])
        if isinstance(frame, Receipt) and kinds[-1] == 14:
            frame = replace(frame, answers=True)
        assert ends[step["from"]][0].encode(frame) == data
    assert kinds == [0, 0, 1, 1, 14, 1, 14, 2]


def test_the_recorded_link_with_the_frames_of_the_mesh_is_understood_in_both_directions() -> None:
    decoders = {"a": FrameDecoder(NODE_B, NODE_A), "b": FrameDecoder(NODE_A, NODE_B)}
    encoders = {"a": FrameEncoder(NODE_A, NODE_B), "b": FrameEncoder(NODE_B, NODE_A)}
    kinds = set()
    for step in load("link_mesh.json")["steps"]:
        data = unhex(step["hex"])
        [frame] = decoders[step["from"]].feed(data)
        assert {"from": step["from"], **MAKER["described"](frame), "hex": step["hex"]} == step
        assert isinstance(frame, Skipped) or encoders[step["from"]].encode(frame) == data
        kinds.add(step["frame"])
        if isinstance(frame, Transfer):
            assert verify_envelope(frame.envelope)
        elif isinstance(frame, Announce | Route):
            assert verify_announce(frame if isinstance(frame, Announce) else frame.announce)
        elif isinstance(frame, Query):
            assert verify_query(frame)
        elif isinstance(frame, Reconcile):
            respond(Items(), frame.ranges)
    assert kinds == {
        *("HELLO", "ANNOUNCE", "TRANSFER", "ROUTE", "RETRACT", "QUERY", "IHAVE", "GRAFT", "PRUNE", "RECONCILE"),
        *("PROBE", "SKIPPED", "BYE"),
    }


def test_queries_verify() -> None:
    for case in load("query.json")["queries"]:
        fields = {
            key: unhex(value) if isinstance(value, str) else value for key, value in case.items() if key != "hash"
        }
        query = Query(**fields)
        assert query_hash(query).hex() == case["hash"]
        assert verify_query(query)


def test_reconciliations_run_as_recorded() -> None:
    for case in load("reconcile.json")["runs"]:
        ids = {end: {unhex(text) for text in case[end]} for end in "ab"}
        message = initiate(Items(ids["a"]), unhex(case["steps"][0]["hex"])[:8])
        only: dict[str, set[bytes]] = {"a": set(), "b": set()}
        for recorded in case["steps"]:
            assert message.hex() == recorded["hex"]
            end, other = ("b", "a") if recorded["from"] == "a" else ("a", "b")
            step = respond(Items(ids[end]), message)
            assert [short_id.hex() for short_id in step.have] == recorded["have"]
            assert [short_id.hex() for short_id in step.need] == recorded["need"]
            only[end].update(step.have)
            only[other].update(step.need)
            message = step.reply
        assert message == b""
        assert only == {"a": ids["a"] - ids["b"], "b": ids["b"] - ids["a"]}


def test_channels_follow_from_their_share_text() -> None:
    document = load("channel.json")
    for case in document["channels"]:
        channel = decode_share(case["share"])
        assert {name: case[name] for name in MAKER["plain"](channel)} == MAKER["plain"](channel)
        assert encode_share(channel) == case["share"]
        assert channel.id.hex() == case["id"]
        assert {day: day_tag(channel.key, int(day)).hex() for day in case["tags"]} == case["tags"]
    for case in document["refused"]:
        with pytest.raises(getattr(crypto_errors, case["error"])):
            decode_share(case["text"])


def test_the_sealed_broadcast_opens_with_the_channels_key() -> None:
    document = load("channel.json")
    key, case = unhex(document["channels"][2]["key"]), document["sealed"]
    tag, sender = unhex(case["tag"]), Address(unhex(case["sender"]))
    assert tag.hex() in document["channels"][2]["tags"].values()
    plaintext = open_broadcast(key, unhex(case["hex"]), tag=tag, sender=sender)
    assert plaintext.hex() == case["plaintext"]
    assert seal_broadcast(key, unhex(case["entropy"]), plaintext, tag=tag, sender=sender).hex() == case["hex"]
