"""Three domains, each a mesh of three real daemons in namespaces: what crosses, and what disturbs it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from domains import UPLINK, Federation
from netns import Lab
from node import wait_for

from qpq.console.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node import Node

pytestmark = pytest.mark.net

A, B, C = "aachen.example", "berlin.example", "chemnitz.example"
SOON = 40.0


@pytest.fixture(scope="module")
def three() -> Iterator[Federation]:
    with Lab() as lab, ExitStack() as stack:
        federation = Federation(lab, stack, {A: (0,), B: (0,), C: (0,)})
        federation.start()
        yield federation


def delivered(node: Node, messages: list[str], within: float = SOON) -> None:
    wait_for(
        f"all of {len(messages)} are delivered",
        lambda: all(node.state(message) == "delivered" for message in messages),
        within,
    )


def test_everybody_reaches_everybody_and_receipts_come_back(three: Federation) -> None:
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


def test_what_nobody_addresses_outside_stays_inside(three: Federation) -> None:
    aachen = three.members[0]
    before = [member.nodes[0].counter("federation.taken") for member in three.members]
    message = aachen.nodes[2].send(aachen.mesh.ids[1], "only for us")
    delivered(aachen.nodes[2], [message])
    assert [member.nodes[0].counter("federation.taken") for member in three.members] == before


def test_a_relay_that_is_killed_and_comes_back_takes_and_hands_on_what_waited(three: Federation) -> None:
    aachen, berlin, _ = three.members
    berlin.nodes[0].kill()
    messages = [aachen.nodes[2].send(berlin.name(2), f"while you were dead {n}") for n in range(20)]
    time.sleep(1)  # some of them reach the relay that lives
    aachen.nodes[0].kill()
    aachen.nodes[0].start()
    berlin.nodes[0].start()
    delivered(aachen.nodes[2], messages, 55)
    assert [text for text in berlin.nodes[2].texts() if text.startswith("while you")] == sorted(
        f"while you were dead {n}" for n in range(20)
    )


def test_domains_that_are_cut_apart_catch_up(three: Federation) -> None:
    _, berlin, chemnitz = three.members
    three.net.unplug(chemnitz.uplink(), UPLINK)
    messages = [berlin.nodes[1].send(chemnitz.name(2), f"while you were away {n}") for n in range(10)]
    wait_for("they wait", lambda: berlin.status()[C]["waiting"] == 10 or berlin.nodes[1].state(messages[0]), SOON)
    three.net.plug(chemnitz.uplink(), UPLINK)
    delivered(berlin.nodes[1], messages, 55)


def test_what_is_for_a_domain_that_nobody_reaches_is_refused_with_the_reason(three: Federation) -> None:
    aachen, berlin, _ = three.members
    message = aachen.nodes[2].send(f"{berlin.mesh.ids[2]}@nowhere.example", "anybody?")
    wait_for("it is refused", lambda: aachen.nodes[2].state(message) == "refused", SOON)
    rows: Any = aachen.nodes[2].ask("mesh.outbox")
    reason = next(row["reason"] for row in rows if row["id"] == message)
    assert reason == f"nowhere.example is not reached from {A}"


def test_a_user_of_a_relay_is_found_by_name(three: Federation) -> None:
    aachen, berlin, _ = three.members
    berlin.nodes[0].ask("mesh.user.add", name="ben")
    message = aachen.nodes[2].send(f"ben@{B}", "hello ben")
    delivered(aachen.nodes[2], [message])
    assert berlin.nodes[0].texts("ben") == ["hello ben"]
    with pytest.raises(RefusedError, match=f"nobody is called carl in {B}"):
        aachen.nodes[2].send(f"carl@{B}", "hello carl")
    answer = berlin.nodes[0].send(f"{aachen.mesh.ids[2]}@{A}", "hello back", user="ben")
    wait_for("ben's answer is delivered", lambda: berlin.nodes[0].state(answer, "ben") == "delivered", SOON)


def test_of_two_relays_the_one_that_lives_is_used() -> None:
    with Lab() as lab, ExitStack() as stack:
        federation = Federation(lab, stack, {A: (0, 2), B: (0,)})
        federation.start()
        aachen, berlin = federation.members
        first = aachen.nodes[1].send(berlin.name(2), "over either")
        delivered(aachen.nodes[1], [first])
        for number in (0, 2):
            aachen.nodes[number].stop()
            message = aachen.nodes[1].send(berlin.name(2), f"without relay {number}")
            delivered(aachen.nodes[1], [message], 55)
            aachen.nodes[number].start()
            federation.expect_connected()
