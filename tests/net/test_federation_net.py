"""Three domains, each a mesh of three real daemons in namespaces: what crosses, and what disturbs it.

Aachen and Berlin have pinned each other's keys and believe the authority; Chemnitz shows a certificate of it. All nine
run on from test to test. A tenth namespace is a stranger's, who shows and says what it likes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from domains import SOON, Authority, Community, Federation, crosses, delivered, pem, reloaded, section, states
from netns import Lab
from node import NODE_SOURCE, wait_for
from stranger import Stranger

from domains_kit import envelope, secret
from qpq.console.errors import RefusedError
from qpq.crypto.identity import Address
from qpq.crypto.prekeys import open_bundle
from qpq.federation.settings import MAX_HOPS
from qpq.wire.outside import OutsideEnvelope, encode_outside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from node import Node

pytestmark = pytest.mark.net

A, B, C, D, LOOP = "aachen.example", "berlin.example", "chemnitz.example", "dresden.example", "loop.example"
E = "essen.example"
TOPIC = "rheinland"
DRAIN_S = 8
QUEUED = int(os.environ.get("QPQ_QUEUED", "1000"))
"""Messages that wait for the ten people of the drain (``make drain``: 10,000)."""
AUTHORITY, ANOTHER = Authority(b"c"), Authority(b"another")


class Shared(Federation):
    """The three, with the files that the certificates are in."""

    files: Path

    ring = False

    def text(self, member: Community, _number: int) -> str:
        """Return the options of a relay; in a ``ring`` each believes that the next one leads to ``loop.example``."""
        main = f"option domain '{member.domain}'\noption clock_trusted 'yes'\noption drain_timeout '{DRAIN_S}s'\n"
        main += f"option store_size '{16 if QUEUED <= 1000 else 256}M'\n"
        if member.domain == C:
            self.certify(member)
            main += f"option federation_certificate '{self.files}/{C}'\n"
        else:
            main += f"option federation_ca '{self.files}/ca'\n"
        return f"config qpq 'main'\n{main}{self.sections(member)}"

    def sections(self, member: Community) -> str:
        after, before = self.others(member)
        way = f"list carries '{LOOP}'\n" if self.ring else f"list topic '{TOPIC}'\n"
        back = f"option transit '1'\nlist carries '{A}'\n" if self.ring else f"list topic '{TOPIC}'\n"
        return section(after, way, pinned=after.domain != C) + section(before, back, pinned=before.domain != C)

    def certify(self, chemnitz: Community, authority: Authority = AUTHORITY, **days: int) -> None:
        """Have an authority vouch for the relay that shows a certificate."""
        (self.files / C).write_text(pem(authority.certificate(C, chemnitz.key(), **days)))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    with Lab() as lab, ExitStack() as stack:
        federation = Shared(lab, stack, {A: (0,), B: (0,), C: (0,)})
        federation.files = tmp_path_factory.mktemp("authority")
        (federation.files / "ca").write_text(pem(AUTHORITY.root))
        federation.start()
        yield federation
        logs = [node.log() for member in federation.members for node in member.nodes]
        assert [log for log in logs if "Traceback" in log] == []


@pytest.fixture(scope="module")
def stranger(three: Shared) -> Iterator[Stranger]:
    with Lab() as lab:
        namespace = lab.namespace("stranger")
        three.net.attach(namespace, ipv4="10.9.9.9/16")
        yield Stranger(namespace, NODE_SOURCE)


# --- every day ----------------------------------------------------------------------------------------------


def test_everybody_reaches_everybody_and_receipts_come_back(three: Shared) -> None:
    sent = []
    for member in three.members:
        for other in three.members:
            if other is not member:
                text = f"from {member.domain} to {other.domain}"
                sent.append((member.nodes[2], member.nodes[2].send(other.name(1), text), other.nodes[1], text))
    for sender, message, reader, text in sent:
        delivered(sender, [message])
        assert text in reader.texts()
        rows: Any = sender.ask("mesh.outbox")
        assert [row["post_quantum"] for row in rows if row["id"] == message] == [True]
    row = next(row for row in three.members[1].nodes[1].inbox() if row["text"] == f"from {A} to {B}")
    assert row["domain"] == A


def test_what_nobody_addresses_outside_stays_inside(three: Shared) -> None:
    aachen = three.members[0]
    before = [member.relay.counter("federation.taken") for member in three.members]
    message = aachen.nodes[2].send(aachen.mesh.ids[1], "only for us")
    delivered(aachen.nodes[2], [message])
    assert [member.relay.counter("federation.taken") for member in three.members] == before


def test_what_is_for_a_domain_that_nobody_reaches_is_refused_with_the_reason(three: Shared) -> None:
    _, berlin, chemnitz = three.members
    message = chemnitz.nodes[2].send(f"{berlin.mesh.ids[2]}@nowhere.example", "anybody?")
    wait_for("it is refused", lambda: chemnitz.nodes[2].state(message) == "refused", 8)  # keys are not waited for
    rows: Any = chemnitz.nodes[2].ask("mesh.outbox")
    reason = next(row["reason"] for row in rows if row["id"] == message)
    assert reason == f"nowhere.example is not reached from {C}"


def test_a_user_of_a_relay_is_found_by_name(three: Shared) -> None:
    aachen, berlin, _ = three.members
    berlin.relay.ask("mesh.user.add", name="ben")
    message = aachen.nodes[2].send(f"ben@{B}", "hello ben")
    delivered(aachen.nodes[2], [message])
    assert berlin.relay.texts("ben") == ["hello ben"]
    with pytest.raises(RefusedError, match=f"nobody is called carl in {B}"):
        aachen.nodes[2].send(f"carl@{B}", "hello carl")
    answer = berlin.relay.send(f"{aachen.mesh.ids[2]}@{A}", "hello back", user="ben")
    wait_for("ben's answer is delivered", lambda: berlin.relay.state(answer, "ben") == "delivered", SOON)


def test_anybody_of_a_mesh_is_found_by_the_name_that_the_relays_directory_has(three: Shared) -> None:
    aachen, berlin, chemnitz = three.members
    berlin.relay.ask("federation.name.add", name="bea", key=berlin.mesh.ids[2])
    message = aachen.nodes[2].send(f"bea@{B}", "hello bea")
    delivered(aachen.nodes[2], [message])
    assert "hello bea" in berlin.nodes[2].texts()
    inside = berlin.nodes[1].send(f"bea@{B}", "hello from here")
    delivered(berlin.nodes[1], [inside])
    berlin.relay.ask("federation.name.remove", name="bea")
    with pytest.raises(RefusedError, match=f"nobody is called bea in {B}"):
        chemnitz.nodes[2].send(f"bea@{B}", "hello bea")


def test_a_topic_that_all_list_is_read_in_all_meshes_and_no_other_channel_is(three: Shared) -> None:
    ends = [member.nodes[2] for member in three.members]
    for node in ends:
        for topic in (TOPIC, "kitchen"):
            node.ask("mesh.subscribe", topic=topic)
    said = []
    for number, node in enumerate(ends):
        for topic in ("kitchen", TOPIC):
            node.ask("mesh.broadcast", topic=topic, text=f"{topic} {number}")
        said.append(f"{TOPIC} {number}")
    for node in ends:
        others = [text for text in said if text != f"{TOPIC} {ends.index(node)}"]
        wait_for("all is read", lambda node=node, others=others: set(node.texts()) >= set(others), SOON)
    for node in ends:
        heard = [text for text in node.texts() if text.startswith((TOPIC, "kitchen"))]
        assert sorted(heard) == [text for text in said if text != f"{TOPIC} {ends.index(node)}"]
        own = three.members[ends.index(node)].domain
        marks = {str(row["domain"]) for row in node.inbox() if row["text"] in heard}
        assert marks <= {A, B, C} - {own}, "each is marked with the domain that handed it over"
        lines = [line for line in listed(node) if any(text in line for text in heard)]
        assert len(lines) == len(heard)
        assert all(any(f"@{mark} (outside" in line for mark in marks) for line in lines), lines


def listed(node: Node) -> list[str]:
    """Return the lines of ``/mesh inbox`` as people see them."""
    command = [sys.executable, "-m", "qpq", "--socket", str(node.socket), "mesh", "inbox"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.splitlines()


def test_a_loop_of_three_domains_ends(three: Shared) -> None:
    aachen, *others = three.members
    reconfigured(three, ring=True)
    before = [other.relay.counter("federation.carried") for other in others]
    twice = aachen.relay.counter("federation.duplicates")
    aachen.nodes[2].send(f"{aachen.mesh.ids[1]}@{LOOP}", "round and round")
    wait_for("it is back", lambda: aachen.relay.counter("federation.duplicates") == twice + 1, SOON)
    wait_for("it waits nowhere", lambda: not any(each.status().get(LOOP, {}).get("waiting") for each in three.members))
    assert [other.relay.counter("federation.carried") - old for other, old in zip(others, before, strict=True)] == [
        1,
        1,
    ]
    reconfigured(three, ring=False)


def reconfigured(three: Shared, *, ring: bool) -> None:
    three.ring = ring
    for member in three.members:
        three.configure(member)
        reloaded(member.relay)
    three.expect_connected()


# --- strangers ----------------------------------------------------------------------------------------------

DRESDEN = secret("relay of Dresden")


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        ([AUTHORITY.certificate(D, DRESDEN.identity, -60, -1)], "expired on"),
        ([AUTHORITY.certificate(D, DRESDEN.identity, 1, 60)], "valid from"),
        ([ANOTHER.certificate(D, DRESDEN.identity)], "an issuer that is not trusted here"),
        ([AUTHORITY.certificate(B, DRESDEN.identity)], f"another key than the one pinned for {B}"),
        ([AUTHORITY.certificate(A, DRESDEN.identity)], "which is the own domain"),
        ([AUTHORITY.certificate(D, secret("somebody else").identity)], "has not proven the key in its certificate"),
        ([], "without a domain"),
    ],
    ids=["expired", "not yet", "unknown authority", "pinned domain", "own domain", "stolen", "none"],
)
def test_who_shows_a_certificate_that_proves_nothing_is_left(
    three: Shared, stranger: Stranger, chain: list[bytes], words: str
) -> None:
    relay = three.members[0].relay
    before = relay.counter("link.refused_certificate")
    assert words in stranger.call("10.9.0.1:7000", DRESDEN, *chain)
    assert relay.counter("link.refused_certificate") == before + 1
    assert D not in three.members[0].status()


def test_a_relay_that_answers_with_another_domains_certificate_is_left(three: Shared, stranger: Stranger) -> None:
    aachen = three.members[0]
    stranger.answer(DRESDEN, AUTHORITY.certificate(D, DRESDEN.identity))
    path = three.configure(aachen)
    path.write_text(f"{path.read_text()}config relay\noption domain '{E}'\nlist address '10.9.9.9:7000'\n")
    reloaded(aachen.relay)
    wait_for("it is left", lambda: f"the relay of {E} does not answer" in aachen.relay.log())
    assert f"a certificate of {D} where {E} was called" in aachen.relay.log()
    assert not aachen.reaches(E)
    three.configure(aachen)
    reloaded(aachen.relay)
    three.expect_connected()


def test_who_lies_about_where_something_comes_from_is_refused_whatever_it_proves(
    three: Shared, stranger: Stranger
) -> None:
    aachen, berlin, _ = three.members
    assert stranger.call("10.9.0.1:7000", DRESDEN, AUTHORITY.certificate(D, DRESDEN.identity)) == ""
    data = envelope("anna", "ben")
    forged = bytearray(envelope("anna", "ben", 1))
    forged[-1] ^= 1
    good = {"recipientKey": secret("ben").address, "version": 1, "auth": {"origin": D}}
    lies = {
        f"the certificate is of {D}": {"auth": {"origin": B}, "payload": outside(A, D, data)},
        f"a relay of {D} may not speak for {B}": {"payload": outside(A, B, data)},
        f"nothing is carried from {D}": {"payload": outside(B, D, data)},
        "somebody else than recipientKey": {"recipientKey": aachen.key(1), "payload": outside(A, D, data)},
        "not signed by its sender": {"payload": outside(A, D, bytes(forged))},
        "messageId is not the id": {"messageId": bytes(32), "payload": outside(A, D, data)},
        f"it has passed {MAX_HOPS + 1} domains": {"hops": MAX_HOPS + 1, "payload": outside(A, D, data)},
    }
    found = stranger.ask("relayEnqueue", *(good | lie for lie in lies.values()))
    assert [words for words, fault in zip(lies, found, strict=True) if words not in fault] == [], found
    assert aachen.relay.counter("federation.lies") == 1
    assert berlin.relay.counter("federation.lies") == 0
    assert stranger.ask("relayEnqueue", good | {"payload": outside(A, D, data)}) == [""]


def test_anybody_of_a_mesh_has_keys_for_who_wants_to_begin_a_session(three: Shared, stranger: Stranger) -> None:
    aachen = three.members[0]
    assert stranger.call("10.9.0.1:7000", DRESDEN, AUTHORITY.certificate(D, DRESDEN.identity)) == ""
    auth = {"origin": D}
    for number in (0, 2):
        user = {"identityKey": aachen.key(number), "auth": auth}
        package = open_bundle(stranger.fetch("proxyFetchKeyPackage", "package", **user), Address(aachen.key(number)))
        assert package.one_time
        assert "asked for keys just now" in stranger.ask("proxyFetchKeyPackage", user)[0]
    bundle = stranger.fetch("proxyFetchHybridKey", "hybridPublicKey", identityKey=aachen.key(), auth=auth)
    assert not open_bundle(bundle, Address(aachen.key())).one_time
    nobody = {"identityKey": secret("nobody").address, "auth": auth}
    assert stranger.fetch("proxyFetchHybridKey", "hybridPublicKey", **nobody) == b""


def test_a_domain_that_floods_is_slowed_down_and_everybody_else_is_served(three: Shared, stranger: Stranger) -> None:
    aachen, berlin, chemnitz = three.members
    assert stranger.call("10.9.1.1:7000", DRESDEN, AUTHORITY.certificate(D, DRESDEN.identity)) == ""
    common = {"version": 1, "auth": {"origin": D}, "recipientKey": secret("nobody").address}
    payloads = [outside(B, D, envelope("mallory", "nobody", number)) for number in range(2500)]
    early = aachen.nodes[2].send(berlin.name(2), "in the flood")
    found = stranger.ask("relayEnqueue", *(common | {"payload": payload} for payload in payloads), at_once=60)
    assert delivered(aachen.nodes[2], [early], 20) < 20
    assert found.count("") <= 32, "of those nobody has, half of a domain's share goes in"
    assert any("sends faster than this relay takes" in fault for fault in found)
    assert any("too much is on its way into this mesh" in fault for fault in found)
    assert berlin.relay.counter("federation.hasty") > 0
    assert stranger.flood("10.9.1.1:7000", 30) == 0
    assert crosses(chemnitz, berlin, "after the flood", 20) < 20
    assert berlin.relay.running


def outside(to: str, origin: str, data: bytes) -> bytes:
    return encode_outside(OutsideEnvelope(to, origin, data))


@pytest.mark.parametrize(
    ("how", "words"),
    [({"first": -60, "last": -1}, "expired on"), ({"authority": ANOTHER}, "an issuer that is not trusted here")],
    ids=["expired", "unknown authority"],
)
def test_a_relay_that_shows_a_bad_certificate_is_left_until_it_has_a_good_one(
    three: Shared, how: dict[str, Any], words: str
) -> None:
    aachen, berlin, chemnitz = three.members
    three.certify(chemnitz, **how)
    chemnitz.relay.stop()
    said = aachen.relay.log().count(words)
    chemnitz.relay.start()
    waits = chemnitz.nodes[2].send(aachen.name(2), f"I was {words}")
    wait_for(f"the log says {words}", lambda: aachen.relay.log().count(words) > said)
    wait_for("the message waits", lambda: chemnitz.status()[A]["waiting"] >= 1)
    assert not berlin.reaches(C)
    assert not chemnitz.reaches(A)
    three.certify(chemnitz)
    reloaded(chemnitz.relay)
    delivered(chemnitz.nodes[2], [waits])
    three.expect_connected()


# --- outages ------------------------------------------------------------------------------------------------


def test_a_relay_that_is_killed_and_comes_back_takes_and_hands_on_what_waited(three: Shared) -> None:
    aachen, berlin, _ = three.members
    berlin.relay.kill()
    messages = [aachen.nodes[2].send(berlin.name(2), f"while you were dead {n}") for n in range(20)]
    time.sleep(1)  # some of them reach the relay that lives
    aachen.relay.kill()
    aachen.relay.start()
    berlin.relay.start()
    delivered(aachen.nodes[2], messages, 55)
    assert [text for text in berlin.nodes[2].texts() if text.startswith("while you were dead")] == sorted(
        f"while you were dead {n}" for n in range(20)
    )
    three.expect_connected()


def test_domains_that_are_cut_apart_catch_up(three: Shared) -> None:
    _, berlin, chemnitz = three.members
    three.uplink(chemnitz, up=False)
    messages = [berlin.nodes[1].send(chemnitz.name(2), f"while you were away {n}") for n in range(10)]
    wait_for("they wait", lambda: berlin.status()[C]["waiting"] >= 10, SOON)
    three.uplink(chemnitz, up=True)
    delivered(berlin.nodes[1], messages, 55)
    three.expect_connected()


def test_a_relay_that_is_slow_gets_everything_once(three: Shared) -> None:
    aachen, berlin, _ = three.members
    three.uplink(berlin, delay_ms=300, loss=0.1)
    os.kill(berlin.relay.pid, signal.SIGSTOP)
    messages = [aachen.nodes[2].send(berlin.name(2), f"slow {n}") for n in range(30)]
    wait_for("they wait", lambda: aachen.status()[B]["waiting"] >= 30, SOON)
    time.sleep(5)
    assert set(states(aachen.nodes[2]).values()) >= {"relayed"}
    os.kill(berlin.relay.pid, signal.SIGCONT)
    delivered(aachen.nodes[2], messages, 55)
    three.uplink(berlin, delay_ms=0, loss=0.0)
    assert [text for text in berlin.nodes[2].texts() if text.startswith("slow")] == sorted(
        f"slow {n}" for n in range(30)
    )
    assert crosses(berlin, aachen, "fast again") < SOON


def test_a_relay_that_is_full_of_one_domain_serves_others_and_loses_nothing(three: Shared) -> None:
    aachen, berlin, chemnitz = three.members
    three.uplink(chemnitz, up=False)
    texts = [f"{n:03} {'x' * 28_000}" for n in range(90)]  # a domain's part is 2 MiB
    messages = [aachen.nodes[2].send(chemnitz.name(2), text) for text in texts]
    wait_for("it is full", lambda: aachen.status()[C]["waiting_bytes"] > 2_000_000, SOON)
    taken = aachen.status()[C]["waiting"]
    assert aachen.status()[C]["waiting_bytes"] <= 2 << 20
    crosses(aachen, berlin, "there is room for you")
    three.uplink(chemnitz, up=True)

    def far() -> list[str]:
        known = states(aachen.nodes[2])
        return [known[message] for message in messages]

    wait_for("what the relay had is delivered", lambda: far().count("delivered") >= taken - 5, SOON)
    assert set(far()) <= {"delivered", "relayed", "queued"}, "what there was no room for goes there within minutes"
    three.expect_connected()


# --- ten people ---------------------------------------------------------------------------------------------


def people(community: Community, count: int) -> list[tuple[Node, str, str]]:
    """Return so many users of the nodes behind the relay: node, name and id."""
    found = []
    for number in range(count):
        node = community.nodes[1 + number % 2]
        name = f"person{number}"
        made: Any = node.ask("mesh.user.add", name=name)
        found.append((node, name, str(made["id"])))
    return found


def proven(community: Community) -> int:
    """Return how many receipts from other domains have come to the nodes behind the relay."""
    return sum(node.counter("outside.proven") for node in community.nodes[1:])


def test_so_many_messages_for_ten_people_drain_after_an_outage_with_both_relays_restarted_meanwhile(
    three: Shared,
) -> None:
    aachen, berlin, _ = three.members
    readers, writers, before = people(berlin, 10), people(aachen, QUEUED // 500), proven(aachen)
    berlin.relay.kill()
    each = QUEUED // len(writers) // len(readers)
    sent: dict[str, set[str]] = {identity: set() for _, _, identity in readers}
    for node, writer, _ in writers:
        for _, _, identity in readers:
            for number in range(each):
                text = f"{writer} {number}"
                node.send(f"{identity}@{B}", text, writer)
                sent[identity].add(text)
    wait_for("all wait at the relay", lambda: aachen.status()[B]["waiting"] >= QUEUED, QUEUED / 10)
    berlin.relay.start()
    began = time.monotonic()
    for relay, left in ((berlin.relay, QUEUED * 2 // 3), (aachen.relay, QUEUED // 3)):
        wait_for("a third is there", lambda left=left: aachen.status()[B]["waiting"] < left, QUEUED / 10)
        relay.kill()
        relay.start()
    wait_for("all are there", lambda: sum(len(node.inbox(name)) for node, name, _ in readers) >= QUEUED, QUEUED / 10)
    there = time.monotonic() - began
    for node, name, identity in readers:
        texts = node.texts(name)
        assert len(texts) == len(set(texts)), "none twice"
        assert set(texts) == sent[identity]
    wait_for("the receipts are back", lambda: proven(aachen) - before >= QUEUED, QUEUED / 10 + 50)
    for node, writer, _ in writers:
        assert set(states(node, writer).values()) == {"delivered"}
    took = time.monotonic() - began
    print(f"{QUEUED} messages for 10 people: there after {there:.1f} s, all receipts back after {took:.1f} s")


def test_a_relay_that_is_asked_to_stop_hands_on_what_is_under_way_and_waits_no_longer_than_it_may(
    three: Shared,
) -> None:
    aachen, berlin, _ = three.members
    for answers in (True, False):
        os.kill(berlin.relay.pid, signal.SIGSTOP)
        message = aachen.nodes[2].send(berlin.name(2), f"as you stop {answers}")
        wait_for("it is under way", lambda: aachen.status()[B]["waiting"] >= 1, SOON)
        began = time.monotonic()
        os.kill(aachen.relay.pid, signal.SIGTERM)
        if answers:
            time.sleep(2)
            os.kill(berlin.relay.pid, signal.SIGCONT)
        assert aachen.relay.process is not None
        assert aachen.relay.process.wait(DRAIN_S + 5) == 0
        took = time.monotonic() - began
        os.kill(berlin.relay.pid, signal.SIGCONT)
        if answers:
            assert 2 < took < DRAIN_S - 1
            wait_for("it is there", lambda: "as you stop True" in berlin.nodes[2].texts(), SOON)
        else:
            assert DRAIN_S <= took < DRAIN_S + 5
        aachen.relay.start()
        delivered(aachen.nodes[2], [message])
        assert berlin.nodes[2].texts().count(f"as you stop {answers}") == 1
    three.expect_connected()
