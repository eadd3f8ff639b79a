"""The vectors of routes, flooded envelopes, reconciliation and channels; make_vectors.py writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vector_base import (
    ANNA,
    BERT,
    NODE_A,
    NODE_B,
    Document,
    described,
    draw,
    frame_bytes,
    plain,
    refusal,
)

from qpq.crypto.channels import (
    Channel,
    ChannelKind,
    channel_id,
    day_of,
    day_tag,
    decode_share,
    encode_share,
    open_channel,
    seal_broadcast,
)
from qpq.crypto.errors import ChannelError, UnknownFormatError
from qpq.crypto.identity import Address, Identity, text_id
from qpq.crypto.primitives import tagged_hash
from qpq.wire.announce import sign_announce
from qpq.wire.body import Body, encode_body
from qpq.wire.codec import FrameEncoder, codecs
from qpq.wire.envelope import Envelope, Mode, envelope_hash, envelope_id, sign_envelope
from qpq.wire.frames import Bye, CloseCode, Frame, Hello, Receipt, Skipped, Transfer
from qpq.wire.frames_mesh import Graft, IHave, Probe, ProbeKind, Prune, Query, Reconcile, Retract, Route
from qpq.wire.query import query_hash, sign_query
from qpq.wire.reconcile import Items, initiate, respond

if TYPE_CHECKING:
    from collections.abc import Iterable

TIME = 1_767_225_600
PRIVATE = Channel("Dachgruppe", draw("channel", 32), ChannelKind.PRIVATE)
FAR_NODE = Identity(draw("far node", 32))
FAR_USER = Address(draw("far user", 32))


def _route() -> Route:
    return Route(2, 37, sign_announce(BERT, node=NODE_B.identity, boot=300, counter=70_000))


def _query() -> Query:
    return sign_query(NODE_A, FAR_USER, 4, 1)


def _short_ids(count: int) -> tuple[bytes, ...]:
    return tuple(draw(f"short id {number}", 16) for number in range(count))


def frames() -> list[Frame]:
    """Return one frame of each type from 6 on."""
    return [
        _route(),
        Retract((FAR_USER, ANNA.address)),
        _query(),
        IHave(_short_ids(2)),
        Graft(True, _short_ids(1)),
        Prune(),
        Reconcile(initiate(Items(_short_ids(3)), draw("salt", 8))),
        Probe(ProbeKind.REQUEST, 1, True, draw("token", 8), FAR_USER, (NODE_A.identity, FAR_NODE)),
    ]


def queries() -> Document:
    cases = [_query(), sign_query(NODE_B, ANNA.address, 2**32 - 1, 2**32 - 1)]
    return {
        "note": "signers: node a, node b; hash is what is signed, hops is not part of it",
        "queries": [{**plain(query), "hash": query_hash(query).hex()} for query in cases],
    }


def reconciliations() -> Document:
    common = _short_ids(100)
    ours, theirs = [*common, draw("only a", 16)], [draw("only b", 16), *common]
    good = initiate(Items(common), draw("salt", 8)).hex()
    salt, last = good[:16], "4600"
    refused = [
        salt,
        salt[:-2],
        good[:-2],
        good + "00",
        good + last,
        salt + "44",
        salt + "0600" + last,
        salt + "0400" + "0401" + last,
        salt + "0601" + "00" + "0601" + "00",
        salt + "0a010000",
        salt + "4602" + "11" * 16 + "11" * 16,
        salt + "47",
    ]
    return {
        "note": "runs: the sorted ids of both ends, the messages in turn, and what each tells its receiver",
        "runs": [_run(common, common), _run((), common), _run(ours, theirs), _run(common[:40], common[40:])],
        "refused": [refusal(text, lambda data: respond(Items(), data)) for text in refused],
    }


def _run(ours: Iterable[bytes], theirs: Iterable[bytes]) -> Document:
    ends = {"a": Items(ours), "b": Items(theirs)}
    sender, receiver = "a", "b"
    message = initiate(ends["a"], draw("salt", 8))
    steps = []
    while message:
        step = respond(ends[receiver], message)
        steps.append({"from": sender, "hex": message.hex(), "have": plain(step.have), "need": plain(step.need)})
        sender, receiver, message = receiver, sender, step.reply
    return {end: plain(items.between(0, len(items))) for end, items in ends.items()} | {"steps": steps}


def channels() -> Document:
    cases = [
        open_channel("freifunk"),
        open_channel("Köln"),
        PRIVATE,
        Channel("Störungen", PRIVATE.key, ChannelKind.ANNOUNCEMENT, (ANNA.address, BERT.address)),
    ]
    tag = day_tag(PRIVATE.key, day_of(TIME))
    body = encode_body(Body(draw("broadcast", 16), "Hallo alle", draw("broadcast", 16)))
    return {
        "note": "channels with id, tags of days and share text; one sealed broadcast of the third from anna",
        "channels": [
            {
                **plain(channel),
                "id": channel_id(channel.key).hex(),
                "tags": {str(day): day_tag(channel.key, day).hex() for day in (0, day_of(TIME), 2**32 - 1)},
                "share": encode_share(channel),
            }
            for channel in cases
        ],
        "sealed": {
            "sender": ANNA.address.hex(),
            "tag": tag.hex(),
            "entropy": draw("broadcast entropy", 16).hex(),
            "plaintext": body.hex(),
            "hex": _broadcast().payload.hex(),
        },
        "refused": [_refused_share(text) for text in _bad_shares(encode_share(PRIVATE))],
    }


def _bad_shares(good: str) -> list[str]:
    data = [
        b"\x02" + bytes(35),
        b"\x01\x03\x01x" + bytes(32),
        b"\x01\x01\x01x",
        b"\x01\x00\x00",
        b"\x01\x02\x01x" + bytes(32),
        b"\x01\x01\x01\x07" + bytes(32),
    ]
    written = ["qpq-channel:" + text_id(raw + tagged_hash(b"qpq/1/channel-share", raw)[:4]) for raw in data]
    return ["qpq-channel:", good[:-1], good.replace("a", "b", 1), good[:-1] + "1", *written]


def _refused_share(text: str) -> Document:
    try:
        decode_share(text)
    except (ChannelError, UnknownFormatError) as fault:
        return {"text": text, "error": type(fault).__name__}
    raise AssertionError(f"{text} was accepted")


def _broadcast() -> Envelope:
    tag = day_tag(PRIVATE.key, day_of(TIME))
    secret = draw("broadcast", 16)
    body = encode_body(Body(secret, "Hallo alle", secret))
    return sign_envelope(
        ANNA,
        recipient=tag,
        payload=seal_broadcast(PRIVATE.key, draw("broadcast entropy", 16), body, tag=tag, sender=ANNA.address),
        commitment=draw("broadcast commitment", 16),
        max_hops=64,
        timestamp=TIME,
        mode=Mode.CHANNEL,
    )


def link(hello_a: Hello, hello_b: Hello) -> Document:
    """Return a link on which routes are told, asked for and lost, broadcasts spread, sets reconcile and probes go."""
    flooded = Transfer(3, 1, 60, _broadcast())
    short_id = envelope_id(flooded.envelope)[:16]
    anna = sign_announce(ANNA, node=NODE_A.identity, boot=4, counter=1)
    token = draw("token", 8)
    ours, theirs = Items(_short_ids(30)), Items([*_short_ids(29), short_id])
    first = initiate(ours, draw("salt", 8))
    second = respond(theirs, first).reply
    third = respond(ours, second).reply
    steps: list[tuple[str, Frame]] = [
        ("a", hello_a),
        ("b", hello_b),
        ("a", anna),
        ("b", Route(1, 16, sign_announce(BERT, node=FAR_NODE, boot=300, counter=70_000))),
        ("b", Route(3, 65_535, sign_announce(BERT, node=FAR_NODE, boot=300, counter=70_001))),
        ("a", _query()),
        ("b", Route(4, 80, sign_announce(BERT, node=NODE_B.identity, boot=301, counter=0, kem_hash=draw("kem", 12)))),
        ("a", Retract((BERT.address, ANNA.address))),
        ("b", flooded),
        ("a", Prune()),
        ("b", IHave((short_id, *_short_ids(2)))),
        ("a", Graft(True, (short_id,))),
        ("b", flooded),
        ("a", Reconcile(first)),
        ("b", Reconcile(second)),
        ("a", Reconcile(third)),
        ("b", Graft(False, _short_ids(30)[29:])),
        ("a", Probe(ProbeKind.REQUEST, 0, True, token, BERT.address, ())),
        ("b", Probe(ProbeKind.ANSWER, 1, True, token, BERT.address, (NODE_B.identity, FAR_NODE))),
        ("b", Probe(ProbeKind.REQUEST, 7, False, token, FAR_USER, ())),
        ("a", Probe(ProbeKind.UNREACHABLE, 0, False, token, FAR_USER, ())),
        ("b", Skipped(128)),
        ("b", Bye(CloseCode.TURN_OVER, 600, "")),
    ]
    encoders = {
        "a": FrameEncoder(NODE_A.identity, NODE_B.identity),
        "b": FrameEncoder(NODE_B.identity, NODE_A.identity),
    }
    return {
        "note": "both directions of one link in the order of sending, with the frames of the mesh",
        "steps": [
            {"from": end, **described(frame), "hex": frame_bytes(encoders[end], frame).hex()} for end, frame in steps
        ],
    }


def short_link(near: Hello, far: Hello, envelopes: dict[str, Envelope]) -> Document:
    first, second = envelopes.values()
    proofs = [(draw(name, 16), envelope_hash(envelope)) for name, envelope in envelopes.items()]
    steps: list[tuple[str, Frame]] = [
        ("a", near),
        ("b", far),
        ("a", Transfer(0, 1, 0, first)),
        ("a", Transfer(0, 1, 2, second)),
        ("b", Receipt(tuple(proofs), answers=True)),
        ("a", Transfer(0, 1, 2, second)),
        ("b", Receipt((proofs[1],), answers=True)),
        ("b", Receipt((proofs[0],))),
    ]
    ends = {"a": codecs(NODE_A.identity, NODE_B.identity), "b": codecs(NODE_B.identity, NODE_A.identity)}
    written = []
    for end, frame in steps:
        data = ends[end][0].encode(frame)
        ends["b" if end == "a" else "a"][1].feed(data)
        written.append({"from": end, **described(frame), "hex": data.hex()})
    return {
        "note": "a link of nodes that know SHORT_RECEIPT, as which a receipt goes back the way its envelope came",
        "steps": written,
    }
