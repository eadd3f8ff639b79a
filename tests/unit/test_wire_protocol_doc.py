from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from qpq.crypto import channels, kem, ratchet, sealing, xwing
from qpq.discovery import beacon_sockets, dnssd, trickle
from qpq.link import certificates, connection
from qpq.mesh import pairs
from qpq.mesh.limits import Limits
from qpq.wire import beacon, body, codec, codec_mesh, crossing, domain, envelope, frames, frames_mesh, reconcile

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```(?:hex|text) (\S+) (\S+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
LIMITS = Limits()


def entry(name: str, path: str) -> Any:
    found = json.loads((ROOT / "schemas" / "vectors" / name).read_text(encoding="utf-8"))
    for step in path.split("/"):
        found = found[int(step)] if isinstance(found, list) else found[step]
    return found


def table(heading: str) -> dict[int, str]:
    """Return number and name of each row of the first table behind a heading."""
    section = PAGE.partition(heading)[2].partition("\n#")[0]
    return {int(number): name for number, name in re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", section, re.MULTILINE)}


def test_there_is_an_example_of_every_kind_of_bytes() -> None:
    kinds = {"cbor", "certificate", "frames", "envelope", "seal", "body", "beacon", "link"}
    kinds |= {"channel", "reconcile", "link_mesh", "link_short", "session", "delivery"}
    assert {name.removesuffix(".json") for name, _, _ in EXAMPLES} == kinds
    assert PAGE.count("```") == 2 * len(EXAMPLES)


@pytest.mark.parametrize(("name", "path", "text"), EXAMPLES, ids=[f"{name}-{path}" for name, path, _ in EXAMPLES])
def test_an_example_is_what_the_vectors_say(name: str, path: str, text: str) -> None:
    assert "".join(text.split()) == entry(name, path)


def test_every_file_of_vectors_is_named() -> None:
    for path in (ROOT / "schemas" / "vectors").glob("*.json"):
        assert f"`{path.name}`" in PAGE, path.name


def test_the_tables_of_numbers_are_those_of_the_program() -> None:
    assert table("## 4. Frames") == {kind.value: kind.name for kind in frames.FrameType}
    assert table("### 4.5 CUSTODY") == {code.value: code.name for code in frames.CustodyCode}
    assert table("### 4.15 PROBE") == {kind.value: kind.name for kind in frames_mesh.ProbeKind}
    assert table("### 4.16 Close codes") == {code.value: code.name for code in frames.CloseCode}
    assert table("## 8. Channels") == {kind.value: kind.name for kind in channels.ChannelKind}
    assert table("## 9. Set reconciliation") == {0: "SKIP", 1: "FINGERPRINT", 2: "LIST"}
    assert table("## 5. Envelope") == {mode.value: mode.name for mode in envelope.Mode}
    assert table("**Body.**") == {kind.value: kind.name for kind in body.BodyKind}


@pytest.mark.parametrize(
    ("sentence", "value"),
    [
        ("| payload of an envelope | {} bytes |", envelope.MAX_PAYLOAD),
        ("| text of a message | {} bytes of UTF-8 |", body.MAX_TEXT),
        ("Text is UTF-8, at most {} bytes", body.MAX_TEXT),
        ("A bundle has at\nmost {} bytes", body.MAX_BUNDLE),
        ("multiple of {} bytes (1 to 256", body.PADDING_STEP),
        ("At most {} sessions of two users", pairs.PAIR_SESSIONS),
        ("within the last {} days and was not used", LIMITS.bundle_s // 86_400),
        ("route is found within {} seconds", LIMITS.keys_search_s),
        ("KEYS come within {} seconds more", int(LIMITS.keys_wait_s)),
        ("asked again after {} minutes", int(LIMITS.keys_again_s) // 60),
        ("at most once in {} seconds, an hour", int(LIMITS.keys_wanted_s)),
        ("an hour, and {} minutes to one sender", int(LIMITS.keys_renew_s) // 60),
        ("new ratchet key for {} hours sends TURN", LIMITS.session_turn_s // 3600),
        ("second ({} and 64 at once)", LIMITS.agreement_burst),
        ("second (32 and {} at once)", LIMITS.control_burst),
        ("{} a second may be in vain", int(LIMITS.vain_rate)),
        ("in vain, {} at once", LIMITS.vain_burst),
        ("| envelope as stored | {} bytes |", envelope.MAX_ENVELOPE),
        ("the receiver's max_frame, at most {} bytes from this program", frames.MAX_FRAME),
        ("| max_frame | at least {} bytes;", frames.MIN_MAX_FRAME),
        ("with a path of more than {}, fits", (frames.MIN_MAX_FRAME - codec_mesh.PROBE_HEAD) // codec_mesh.KEY_ITEM),
        ("| addresses in RETRACT | {} |", frames_mesh.MAX_RETRACTED),
        ("| short ids in IHAVE, in GRAFT | {} |", frames_mesh.MAX_SHORT_IDS),
        ("is the first {} bytes of an envelope id", frames_mesh.SHORT_ID_SIZE),
        ("| ranges of RECONCILE | {} bytes |", frames_mesh.MAX_RANGES),
        ("| path of PROBE | {} nodes |", frames_mesh.MAX_PATH),
        ("| topic of a channel | {} bytes of UTF-8 |", channels.MAX_TOPIC),
        ("| signers of an announcement channel | {} |", channels.MAX_SIGNERS),
        ("items ({} in a frame)", frames_mesh.MAX_PATH + 6),
        ("It adds {} bytes. The plaintext", channels.OVERHEAD),
        ("salt ({} bytes) || range", reconcile.SALT_SIZE),
        ("| first {} bytes of SHA-256(salt,", reconcile.FINGERPRINT_SIZE),
        ("over fewer than {} links tells", LIMITS.route_radius),
        ("within the last {} seconds. A change", int(LIMITS.asked_s)),
        ("is told at most {}\n  routes", LIMITS.routes_told),
        ("once without lasting {} minutes counts", int(LIMITS.flap_s) // 60),
        ("and waits {} seconds before it takes any other", int(LIMITS.route_hold_s)),
        ("A sender begins with {}.", LIMITS.spray_copies),
        ("expects its receipt within {} seconds", int(LIMITS.receipt_s)),
        ("gathered for {} seconds", LIMITS.ihave_s),
        ("not got the envelope {} seconds later", LIMITS.graft_s),
        ("again after {} seconds, at", int(LIMITS.reconcile_min_s)),
        ("of one, {} seconds later", int(LIMITS.reconcile_soon_s)),
        ("| what TRANSFER adds to a payload | at most {} bytes |", codec.TRANSFER_OVERHEAD),
        ("| proofs in RECEIPT, answers in CUSTODY | {} |", frames.MAX_PROOFS),
        ("| proofs in RECEIPT, answers in CUSTODY | {} |", frames.MAX_ANSWERS),
        ("| extensions in HELLO | {} of", frames.MAX_EXTENSIONS),
        ("of {} bytes |\n| reason in BYE", frames.MAX_EXTENSION),
        ("| reason in BYE | {} bytes |", frames.MAX_REASON),
        ("`kem_hash` has 0 or {} bytes", frames_mesh.KEM_HASH_SIZE),
        ("| envelope to another domain | {} bytes |", envelope.MAX_INNER),
        ("| domain | {} characters |", domain.MAX_DOMAIN),
        ("names before an `@` have at most {} bytes", domain.MAX_USER),
        ("bytes, reasons at most {}.", crossing.MAX_REASON),
        ("for that\n   within {} seconds", int(LIMITS.gateway_s)),
        ("doubling up to {} minutes", int(LIMITS.gateway_max_s) // 60),
        ("others for {} minutes. With", int(LIMITS.gateway_tired_s) // 60),
        ("above {} a second (500 at once)", int(LIMITS.outward_rate)),
        ("a second ({} at once) of one user", LIMITS.outward_burst),
        ("Not more than {} such are on", LIMITS.inward_count),
        ("from a gateway, {} from one domain", LIMITS.inward_domain),
        ("| ttl | {} seconds |", envelope.MAX_TTL),
        ("the default is {} (7 days)", envelope.DEFAULT_TTL),
        ("largest point in time is {},", envelope.MAX_TIME),
        ("| beacon | {} bytes |", beacon.MAX_BEACON),
        ("| certificate | {} bytes |", certificates.MAX_CERTIFICATE),
        ("| time from the link to HELLO | {} seconds |", int(LIMITS.hello_s)),
        ("usable for {} seconds; otherwise", int(LIMITS.settled_s)),
        ("It adds {} bytes. Who sent", sealing.OVERHEAD),
        ("X-Wing ciphertext ({})\n", xwing.CIPHERTEXT_BYTES),
        ("SPK (32) || XPK ({}) ||", xwing.PUBLIC_BYTES),
        ("[KEM key ({})]", kem.PUBLIC_BYTES),
        ("[KEM ciphertext ({})]", kem.CIPHERTEXT_BYTES),
        ("may leave out at most {} messages", ratchet.MAX_SKIP),
        ("leaves out, keys kept for them | {} |", ratchet.MAX_SKIPPED),
        ("each goes after {} days", ratchet.KEEP_S // 86_400),
        ("last KEM step is {} hours ago", ratchet.KEM_INTERVAL_S // 3600),
        ("| ALPN | `{}` |", connection.P2P_ALPN),
        ("Service type `{}`", dnssd.SERVICE_TYPE),
        ("| `ver` | `{}`;", dnssd.VERSION),
        ("Beacons go to UDP port {} of", beacon_sockets.PORT),
        ("| `{}` | each mesh interface |", beacon_sockets.MESH_GROUP),
        ("| `{}` | the client bridge", beacon_sockets.CLIENT_GROUP),
        ("| `{}` | the loopback interface", beacon_sockets.LOCAL_GROUP),
        ("Imin {} s,", trickle.SHORTEST),
        ("{} doublings,", trickle.DOUBLINGS),
        ("k = {}.", trickle.REDUNDANCY),
    ],
)
def test_a_number_on_the_page_is_that_of_the_program(sentence: str, value: object) -> None:
    assert sentence.format(value) in PAGE
