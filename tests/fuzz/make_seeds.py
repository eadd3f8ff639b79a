"""Write the seeds the fuzzer starts from: ``python tests/fuzz/make_seeds.py``.

One well-formed input of each kind and some near misses, most of them from schemas/vectors. Seeds
from findings lie beside them under names that begin with ``found``, recorded ones begin with
``kept``; this script leaves both alone.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
VECTORS = ROOT / "schemas" / "vectors"
sys.path.insert(0, str(ROOT / "node"))

from qpq.crypto.channels import Channel, ChannelKind, day_tag, open_channel, seal_broadcast  # noqa: E402
from qpq.crypto.export import Cost, seal_export  # noqa: E402
from qpq.crypto.identity import SecretIdentity, text_id  # noqa: E402
from qpq.crypto.safety import groups, safety_number, scan_text  # noqa: E402
from qpq.crypto.sealing import seal  # noqa: E402
from qpq.discovery.dnssd import SERVICE_TYPE, instance_name, text_entries  # noqa: E402
from qpq.federation.authority import issue, make_authority, to_pem  # noqa: E402
from qpq.federation.x509 import read as read_certificate  # noqa: E402
from qpq.home.accounts import Accounts  # noqa: E402
from qpq.link.certificates import make_certificate  # noqa: E402
from qpq.mesh.effects import State  # noqa: E402
from qpq.mesh.parcel import Parcel  # noqa: E402
from qpq.mesh.records import Checkpoint, InboxInsert, OutboxInsert, OutboxState, RelayInsert  # noqa: E402
from qpq.store.codec import Sealed  # noqa: E402
from qpq.store.keyring_data import Contents, KnownPeer, User, encode_contents, encode_user  # noqa: E402
from qpq.store.oplog import (  # noqa: E402
    HEAD,
    Booted,
    HomeExpired,
    HomeLast,
    HomePosted,
    HomeRead,
    Seen,
    Stopped,
    block,
    head,
    item,
)
from qpq.store.sealed_file import seal as seal_file  # noqa: E402
from qpq.store.vault import Lock  # noqa: E402
from qpq.store.vault import encode as encode_lock  # noqa: E402
from qpq.wire.outside import OutsideEnvelope, OutsideReceipt, OutsideRefusal, encode_outside  # noqa: E402
from qpq.wire.reconcile import Items, initiate, respond  # noqa: E402

SENDER, RECIPIENT = SecretIdentity(b"s" * 32), SecretIdentity(b"r" * 32)
ANNA = SecretIdentity(b"a" * 32)
KEY = Sealed(b"k" * 32, bytes)

Seeds = dict[str, bytes]


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def from_vectors(name: str, key: str, *, skip: int = 0) -> Seeds:
    """Take what a file of vectors accepts and refuses, without the first ``skip`` bytes."""
    document = vectors(name)
    cases = {"good": document[key], "bad": document.get("refused", [])}
    return {
        f"{kind}-{number:02}": bytes.fromhex(case["hex"])[skip:]
        for kind, rows in cases.items()
        for number, case in enumerate(rows)
    }


def wire() -> dict[str, Seeds]:
    frames = vectors("frames.json")["frames"]
    bodies = {f"{case['frame'].lower()}-{at:02}": _without_length(case["hex"]) for at, case in enumerate(frames)}
    links = {name: vectors(f"{name}.json")["steps"] for name in ("link", "link_mesh")}
    streams = {
        f"{name}-{end}": b"\x28" + b"".join([bytes.fromhex(step["hex"]) for step in steps if step["from"] == end])
        for name, steps in links.items()
        for end in "ab"
    }
    talk = [bytes.fromhex(step["hex"]) for step in links["link"] if step["from"] == "a"]
    return {
        "peer": {
            "all": b"".join(talk),
            "without-a-goodbye": b"".join(talk[:-1]),
            "no-hello": b"".join(talk[1:]),
            "hello-twice": talk[0] * 2,
            "everything-twice": talk[0] + b"".join([frame * 2 for frame in talk[1:4]]),
            "mesh": streams["link_mesh-a"][1:],
        },
        "cbor": from_vectors("cbor.json", "items"),
        "length": from_vectors("length.json", "lengths"),
        "envelope": from_vectors("envelope.json", "envelopes"),
        "body": from_vectors("body.json", "bodies")
        | {f"word-{name}": data for name, data in from_vectors("body.json", "keys").items()}
        | {f"crossing-{name}": data for name, data in from_vectors("body.json", "crossing").items()}
        | {"padded": bytes.fromhex(vectors("body.json")["padded"])},
        "beacon": from_vectors("beacon.json", "beacons"),
        "frame": bodies,
        "codec": streams | {f"one-{name}": b"\x01" + _framed(body) for name, body in bodies.items()},
        "announce": {name: body[2:] for name, body in bodies.items() if name.startswith("announce")},
        "receipts": {name: body[2:] for name, body in bodies.items() if name.startswith("receipt")},
        "route": {name: body[2:] for name, body in bodies.items() if name.startswith("route")},
        "query": {name: body[2:] for name, body in bodies.items() if name.startswith("query")},
        "probe": {"two-nodes": b"\x00\x01\xf5\x48" + bytes(8) + b"\x00\x01\x00"},
        "ranges": _ranges(),
    }


def federation() -> dict[str, Seeds]:
    """A community's authority, a relay's certificate, and what relays hand each other."""
    authority, relay = SecretIdentity(b"c" * 32), SecretIdentity(b"r" * 32)
    dates = {"serial": bytes(16), "not_before": 20300101000000, "not_after": 20310101000000}
    root = make_authority(authority, "seeds", **dates)
    leaf = issue(read_certificate(root), authority, "berlin.example", relay.identity, **dates)
    domains = ("berlin.example", "aachen.example")
    envelope = bytes.fromhex(vectors("envelope.json")["envelopes"][0]["hex"])
    files = to_pem("CERTIFICATE", leaf) + to_pem("CERTIFICATE", root)
    return {
        "chain": {"leaf": leaf, "root": root, "link": make_certificate(relay)},
        "pem": {
            "both": files.encode(),
            "inside-of-a-key": bytes.fromhex("302e020100300506032b657004220420") + bytes(32),
        },
        "outside": {
            "envelope": encode_outside(OutsideEnvelope(*domains, envelope)),
            "receipt": encode_outside(OutsideReceipt(*domains, bytes(16), bytes(32))),
            "refusal": encode_outside(OutsideRefusal(*domains, bytes(32), "nobody")),
        },
    }


def _ranges() -> Seeds:
    document = vectors("reconcile.json")
    steps = {
        f"run-{number}-{at}": bytes.fromhex(step["hex"])
        for number, run in enumerate(document["runs"])
        for at, step in enumerate(run["steps"])
    }
    bad = {f"bad-{number:02}": bytes.fromhex(case["hex"]) for number, case in enumerate(document["refused"])}
    ids = [b"%016d" % number for number in range(40)]
    first = initiate(Items(ids), bytes(8))
    return steps | bad | {"near": respond(Items(ids[:-1]), first).reply, "nothing": initiate(Items(), bytes(8))}


def _without_length(text: str) -> bytes:
    data = bytes.fromhex(text)
    return data[1 << (data[0] >> 6) :]


def _framed(body: bytes) -> bytes:
    return (struct.pack(">H", len(body) | 0x4000) if len(body) > 63 else bytes([len(body)])) + body


def vaults(contents: Contents) -> Seeds:
    parts = {"salt": b"s" * 16, "nonce": b"n" * 12}
    locks = {
        "passphrase": Lock("passphrase", b"k" * 48, Cost(4, 65536), **parts),
        "key-file": Lock("key-file", b"k" * 48, key_file="/mnt/usb/qpq.key", **parts),
        "none": Lock("none", b"k" * 32),
    }
    sealed = seal_file(encode_contents(contents), KEY)
    return {**{name: encode_lock(lock) for name, lock in locks.items()}, "identity": sealed}


def snapshots() -> Seeds:
    user, message, identifier = ANNA.address, b"m" * 16, b"e" * 32
    first = [
        Booted(7),
        Checkpoint(77, 1_800_000_000),
        OutboxInsert(user, message, identifier, SENDER.address, b"sealed", "hi", True, 9, 1, 2, State.QUEUED),
        OutboxState(user, message, State.RELAYED, 3),
    ]
    second = [
        InboxInsert(user, message, SENDER.address, identifier, "moin", False, 0, 7, 132, None, b"c" * 16),
        Seen(user, message, SENDER.address),
        RelayInsert(identifier, b"sealed", SENDER.address, b"t" * 16, RECIPIENT.identity, False, 9, 1, 2, 32, 4),
        Parcel(7, 0, "b.example", "c.example", identifier, user, SENDER.address, b"sealed", 60, 3, 1, 2),
        HomePosted(user, 5, 99, b"payload"),
        HomeRead(user, 4),
        HomeExpired(77),
        HomeLast(user, 9),
        Stopped(),
    ]
    blocks = [block(map(item, operations)) for operations in (first, second)]
    sealed = head(KEY) + block(map(item, first), len(HEAD), KEY)
    return {
        "good": HEAD + b"".join(blocks),
        "one": HEAD + blocks[1],
        "newer": b"qpqsnap9" + blocks[0],
        "none": HEAD,
        "sealed": sealed,
    }


def people() -> dict[str, Seeds]:
    text = text_id(ANNA.identity).encode()
    sealed = seal(b"hello", sender=SENDER.address, recipient=RECIPIENT.address, entropy=bytes(32))
    board = Channel("board", b"k" * 32, ChannelKind.ANNOUNCEMENT, (ANNA.address,))
    users = (
        User("me", ANNA),
        User("bert_2", SENDER, {RECIPIENT.address: "Cara"}, frozenset([RECIPIENT.address]), frozenset([ANNA.address])),
        User("cleo", SecretIdentity(b"c" * 32), channels=(open_channel("news"), board)),
        User(
            "dora",
            SecretIdentity(b"d" * 32),
            {RECIPIENT.address: "Cara"},
            verified=frozenset([ANNA.address]),
            changed={RECIPIENT.address: SENDER.address},
            padding=False,
        ),
    )
    peers = (KnownPeer("[fe80::1%eth0]:7000", ANNA.identity),)
    contents = Contents(RECIPIENT, users, peers, peers)
    number, code = safety_number(SENDER.address, RECIPIENT.address), scan_text(SENDER.address, RECIPIENT.address)
    shares = vectors("channel.json")
    tag = day_tag(b"k" * 32, 1)
    broadcast = seal_broadcast(b"k" * 32, bytes(16), b"hello", tag=tag, sender=SENDER.address)
    export = seal_export(b"data", "a passphrase", salt=bytes(16), nonce=bytes(12), cost=Cost(1, 8)).encode()
    certificate = make_certificate(ANNA)
    return {
        "initial": {
            "ping": b"\x01",
            "close": b"\x1c\x00\x00\x00",
            "acknowledge": b"\x02\x00\x00\x00\x00",
            "empty-crypto": b"\x06\x00\x00",
            "stream": b"\x08\x00hello",
        },
        "datagram": {
            "version-unknown": b"\xc0\x1a\x2a\x3a\x4a\x08destinat\x04sour",
            "first": b"\xc3\x00\x00\x00\x01\x08destinat\x04sour\x00\x44\x9a" + bytes(40),
            "short-header": b"\x40abcd" + bytes(40),
            "retry": b"\xf0\x00\x00\x00\x01\x04dest\x04sour" + bytes(32),
            "token": b"\xc3\x00\x00\x00\x01\x08destinat\x04sour\x10" + bytes(16) + b"\x44\x8a" + bytes(40),
        },
        "broadcast": {
            "good": broadcast,
            "other-format": b"\x02" + broadcast[1:],
            "changed": broadcast[:-1] + b"\0",
            "cut": broadcast[:32],
        },
        "share": {
            **{f"good-{at}": case["share"].encode() for at, case in enumerate(shares["channels"])},
            **{f"bad-{at}": case["text"].encode() for at, case in enumerate(shares["refused"])},
            "capital": shares["channels"][0]["share"].upper().encode(),
            "lines": shares["channels"][1]["share"].replace("a", "a\r\n ").encode(),
        },
        "session": {
            "good": sealed,
            "other-format": b"\x02" + sealed[1:],
            "changed": sealed[:-1] + b"\0",
            "cut": sealed[:40],
        },
        "identity": {
            "good": text,
            "capital": text.upper(),
            "short": text[:8],
            "long": text + b"a",
            "tail": text[:-1] + b"7",
        },
        "export": {
            "good": export,
            "newer": b"qpq-identity-2:AAAA",
            "costly": _costly(export),
            "lines": export[:40] + b"\n " + export[40:],
        },
        "safety": {
            "number": number.encode(),
            "groups": " ".join(groups(number)).encode(),
            "code": code.encode(),
            "small": code.lower().encode(),
            "swapped": scan_text(RECIPIENT.address, SENDER.address).encode(),
            "newer": b"QPQ-VERIFY:2:" + code[13:].encode(),
            "short": number[:-1].encode(),
        },
        "keyring": {"good": encode_contents(contents), "least": encode_contents(Contents(RECIPIENT, users[:1], ()))},
        "user": {f"good-{at}": encode_user(user) for at, user in enumerate(users)},
        "snapshot": snapshots(),
        "vault": vaults(contents),
        "certificate": {"good": certificate, "cut": certificate[:-1], "indefinite": b"\x30\x80" + certificate[2:]},
        "netaddress": {
            str(at): address.encode()
            for at, address in enumerate(
                [
                    "10.0.0.1",
                    "10.0.0.1:7000",
                    "fe80::1%lo",
                    "[fe80::1%1]:7000",
                    "[2001:db8::1]",
                    "router.local:80",
                    "::",
                    "[::1",
                    "x:0",
                ]
            )
        },
    }


def sessions() -> dict[str, Seeds]:
    bundles, steps = vectors("bundle.json"), vectors("session.json")["steps"]
    states = json.loads((ROOT / "tests/unit/data/session_state_1.json").read_text(encoding="utf-8"))["states"]
    payloads = {f"step-{at}": bytes.fromhex(step["payload"]) for at, step in enumerate(steps)}
    opened = {f"state-{at}": bytes([at]) + bytes.fromhex(state["payload"]) for at, state in enumerate(states)}
    stored = {f"state-{at}": bytes.fromhex(state["state"]) for at, state in enumerate(states)}
    secrets = bytes.fromhex(bundles["x25519_secret"] + bundles["xwing_secret"])
    plain = payloads["step-5"]
    return {
        "bundle": from_vectors("bundle.json", "bundles"),
        "header": payloads
        | {f"bad-{at}": bytes.fromhex(row["hex"]) for at, row in enumerate(_refused("session.json"))},
        "opening": {name: data for name, data in payloads.items() if data[0] == 3}
        | {"changed": payloads["step-0"][:-1] + b"\0", "another-format": plain},
        "prekey": {
            "signed": b"\x01" + secrets + bytes.fromhex(bundles["bundles"][0]["hex"])[1:1249],
            "one-time": b"\x01" + bytes.fromhex(bundles["one_time_secret"]),
        },
        "ratchet": opened | {"changed": opened["state-3"][:-1] + b"\0", "foreign": b"\x01" + plain},
        "session_state": stored | {"newer": b"\x02" + stored["state-0"][1:]},
    }


def _refused(name: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = vectors(name)["refused"]
    return rows


def _costly(export: bytes) -> bytes:
    return export.replace(b":AAAAAQAAAAg", b":AAAAEP////8")


def discovery() -> dict[str, Seeds]:
    request = {
        f"link-{mark}": struct.pack(f"{mark}IHHII", 44, 16, 0, 1, 0)
        + struct.pack(f"{mark}BxHiII", 0, 1, 2, 0x11043, 0)
        + struct.pack(f"{mark}HH", 9, 3)
        + b"eth0\0\0\0\0"
        for mark in "<>"
    }
    address = {
        f"address-{mark}": struct.pack(f"{mark}IHHII", 44, 20, 2, 1, 0)
        + struct.pack(f"{mark}BBBBI", 10, 64, 0x80, 253, 2)
        + struct.pack(f"{mark}HH", 20, 1)
        + bytes.fromhex("fe80000000000000000000000000aaaa")
        for mark in "<>"
    }
    done = {"done": struct.pack("=IHHIIi", 20, 3, 2, 1, 0, 0), "cut": struct.pack("=IH", 60, 16)}
    name = _name(f"{instance_name(ANNA.identity)}.{SERVICE_TYPE}")
    host = _name("router.local.")
    entries = text_entries(ANNA.identity, "192.168.1.1:7000", "home")
    text = b"".join(_string(f"{key}={value}".encode()) for key, value in entries.items())
    records = [
        _record(_name(SERVICE_TYPE), 12, name),
        _record(name, 33, struct.pack(">HHH", 0, 0, 7000) + host),
        _record(name, 16, text),
        _record(host, 1, bytes([192, 168, 1, 1])),
        _record(host, 28, bytes.fromhex("fe80000000000000000000000000aaaa")),
    ]
    head = struct.pack(">HHHHHH", 0, 0x8400, 0, 5, 0, 0)
    return {
        "netlink": request | address | done,
        "mdns": {
            "complete": head + b"".join(records),
            "pointer-loop": struct.pack(">HHHHHH", 0, 0x8400, 0, 1, 0, 0)
            + b"\xc0\x0c"
            + struct.pack(">HHIH", 12, 1, 120, 0),
            "pointer-only": struct.pack(">HHHHHH", 7, 0x8400, 0, 1, 0, 0) + records[0],
            "query": struct.pack(">HHHHHH", 0, 0, 1, 0, 0, 0) + _name(SERVICE_TYPE) + struct.pack(">HH", 12, 1),
        },
    }


def _string(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _name(name: str) -> bytes:
    return b"".join(_string(label.encode()) for label in name.rstrip(".").split(".")) + b"\0"


def _record(name: bytes, kind: int, data: bytes) -> bytes:
    return name + struct.pack(">HHIH", kind, 1, 120, len(data)) + data


def clients() -> dict[str, Seeds]:
    """Return a file of tokens, one with a number that is none, and the text of a token."""
    accounts = Accounts()
    _, text = accounts.add("anna", ANNA.identity, 1000, lambda size: bytes(range(size)))
    written = accounts.encode()
    document = json.loads(written)
    document["tokens"][0]["id"] = list(document["tokens"][0]["id"])
    return {"accounts": {"good": written, "listed": json.dumps(document).encode(), "token": text.encode()}}


def programs() -> dict[str, Seeds]:
    uci = (
        b"package qpq\n\nconfig qpq 'main'\n\toption enabled '1'\n"
        b"\toption listen '[::]:7000'\n\tlist peer '10.0.0.1:7000'\n"
        b"\tlist peer \"[fe80::1%br-client]:7000\"\n# comment\noption x 'it'\"'\"'s'\n"
    )
    odd = {
        "comment": b"#",
        "open-quote": b"config qpq 'main",
        "semicolons": b"c a;o b c;l d e;l d f",
        "escape": b"config a \\\n b",
    }
    requests = {
        "send": b'{"id":1,"command":"mesh.send","args":{"peer":"abcdefgh","text":"hi","ttl":60},"user":"anna"}',
        "become": b'{"id":2,"command":"become","args":{"user":"anna"}}',
        "no-id": b'{"command":"status"}',
        "doubled": b'{"id":1,"id":2,"command":"x"}',
        "deep": b'{"id":1,"command":"x","args":' + b"[" * 40 + b"]" * 40 + b"}",
    }
    answers = {
        "result": b'{"id":1,"ok":true,"result":{"id":"aaaa","users":[{"name":"me","id":"bbbb"}]}}',
        "error": b'{"id":1,"ok":false,"error":{"code":"denied","message":"no"}}',
        "event": b'{"event":"message","id":"aaaa","text":"\\u001b[2J"}',
    }
    lines = [
        "/mesh send anna hello there",
        "mesh peers --json",
        'mesh name abc "x y"',
        "user add 'q",
        "help",
        "/mesh send a --ttl 1d x",
    ]
    typed = {
        "text": "grüße\r".encode(),
        "arrows": b"\x1b[A\x1b[1;5D\x1bOH",
        "paste": b"\x1b[200~a\nb\x1b[201~",
        "cut": b"\x1b[20",
    }
    texts = {
        "escape": b"\x1b[2J\x07\x9b31m",
        "bidi": "a\u202eb\u2066c\u200d".encode(),
        "marks": ("e" + "\u0301" * 9).encode(),
        "bytes": b"\xff\xfe\xed\xa0\x80",
        "lines": b"one\r\ntwo\rthree\n" * 9,
    }
    return {
        "uci": {"good": uci} | odd,
        "config": {"good": uci} | odd,
        "control": requests,
        "answer": answers,
        "command": {str(at): line.encode() for at, line in enumerate(lines)},
        "keys": typed,
        "safe": texts,
    }


def main() -> None:
    """Write all seeds."""
    made = wire() | federation() | people() | sessions() | discovery() | clients() | programs()
    for target, seeds in made.items():
        folder = HERE / "seeds" / target
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            if not old.name.startswith(("found", "kept")):
                old.unlink()
        for name, data in seeds.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
