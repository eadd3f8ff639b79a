"""Recipients of other domains: resolved, looked up once, remembered; replies find back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from daemon_kit import ANNA, BERT, Commands, Node

from qpq.crypto.identity import Address, SecretIdentity, text_id
from qpq.daemon.commands import FailedError
from qpq.daemon.domains import gateway_secret
from qpq.errors import QpqError
from qpq.mesh import effects, events
from qpq.mesh.effects import LookupDone
from qpq.mesh.records import InboxInsert
from qpq.store import contacts
from qpq.store.keyring_data import MAX_OUTSIDE, ContentError, decode_user, encode_user

if TYPE_CHECKING:
    from pathlib import Path

CARL = SecretIdentity(b"c" * 32).address


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def commands(node: Node) -> Commands:
    return Commands(node)


def sent(node: Node) -> list[tuple[Address, str]]:
    return [(event.recipient, event.domain) for event in node.shell.events if isinstance(event, events.SendText)]


def answers(node: Node, address: bytes, domain: str, reason: str = "") -> None:
    """Let whoever looks a name up get this answer, twice, and one that nobody waits for."""

    def answer(event: events.Event) -> None:
        if isinstance(event, events.Lookup):
            for token in (event.token, event.token, bytes(16)):
                assert node.domains.found(LookupDone(token, address, domain, reason))

    node.shell.answer = answer


def test_a_name_is_looked_up_once_and_then_means_that_key(node: Node, commands: Commands) -> None:
    answers(node, CARL, "berlin.example")
    assert commands("mesh.send", ANNA, peer="carl@Berlin.example", text="hi")["domain"] == "berlin.example"
    node.shell.behind = True
    answers(node, BERT, "berlin.example")
    assert commands("mesh.send", ANNA, peer="carl@berlin.example", text="hi")["to"] == text_id(CARL)
    assert sent(node) == [(CARL, "berlin.example")] * 2
    assert sum(isinstance(event, events.Lookup) for event in node.shell.events) == 1
    assert node.keyring.user("anna").outside == {CARL: "carl@berlin.example"}
    assert node.keyring.users[0].outside == {}


def test_an_id_with_a_domain_needs_no_looking_up(node: Node, commands: Commands) -> None:
    commands("mesh.send", ANNA, peer=f"{text_id(CARL)}@berlin.example", text="hi")
    assert sent(node) == [(CARL, "berlin.example")]
    assert node.keyring.user("anna").outside == {CARL: "berlin.example"}
    commands("mesh.send", ANNA, peer=text_id(CARL), text="hi")
    assert sent(node)[1] == (CARL, "berlin.example")


def test_a_name_of_the_own_mesh_is_written_to_within_it(node: Node, commands: Commands) -> None:
    answers(node, CARL, "")
    commands("mesh.send", ANNA, peer="carl@home.example", text="hi")
    assert sent(node) == [(CARL, "")]
    assert node.keyring.user("anna").outside == {}


def test_a_petname_with_an_at_is_a_petname(node: Node, commands: Commands) -> None:
    node.keyring.name_peer("anna", BERT, "bert@work")
    commands("mesh.send", ANNA, peer="bert@work", text="hi")
    assert sent(node) == [(BERT, "")]


@pytest.mark.parametrize(
    ("peer", "says"), [("carl@", "is no domain"), ("carl@a_b", "is no domain"), ("@b.example", "before the @")]
)
def test_what_is_no_address_is_refused(node: Node, commands: Commands, peer: str, says: str) -> None:
    with pytest.raises(QpqError, match=says):
        commands("mesh.send", ANNA, peer=peer, text="hi")
    assert not node.shell.events


def test_a_name_that_nobody_knows_is_told_with_the_reason(node: Node, commands: Commands) -> None:
    answers(node, b"", "b.example", "no such user")
    with pytest.raises(FailedError, match=r"carl@b\.example: no such user"):
        commands("mesh.send", ANNA, peer="carl@b.example", text="hi")
    assert sent(node) == []


def test_a_reply_goes_where_the_message_came_from_unless_its_sender_is_here(node: Node, commands: Commands) -> None:
    anna = node.keyring.user("anna").address
    message = InboxInsert(anna, b"m" * 16, CARL, b"e" * 32, "hi", False, 0, 7, 130, None, domain="berlin.example")
    node.store.apply((message,))
    node.keyring.name_peer("anna", CARL, "carl")
    commands("mesh.send", ANNA, peer="carl", text="hi")
    node.here.add(CARL)
    commands("mesh.send", ANNA, peer="carl", text="hi")
    assert sent(node) == [(CARL, "berlin.example"), (CARL, "")]
    row = commands("mesh.inbox", ANNA)[0]
    assert (row["domain"], row["from_name"]) == ("berlin.example", "carl")


def test_who_was_found_by_name_is_shown_by_it_where_no_petname_is(node: Node, commands: Commands) -> None:
    answers(node, CARL, "berlin.example")
    commands("mesh.send", ANNA, peer="carl@berlin.example", text="hi")
    anna = node.keyring.user("anna").address
    message = InboxInsert(anna, b"m" * 16, CARL, b"e" * 32, "hi", False, 0, 7, 130, None, domain="berlin.example")
    node.store.apply((message, replace(message, message_id=b"n" * 16, domain="")))
    assert [row["from_name"] for row in commands("mesh.inbox", ANNA)] == ["carl", ""]


def test_watchers_are_told_the_domain_and_why_a_message_was_refused(node: Node, commands: Commands) -> None:
    anna = node.keyring.user("anna").address
    commands.handlers.delivered(effects.Deliver(anna, b"m" * 16, CARL, "hi", 7, urgent=False, domain="b.example"))
    refused = effects.StateChanged(anna, b"m" * 16, effects.State.REFUSED, reason="nobody there")
    commands.handlers.state_changed(refused)
    (_, message), (_, state) = node.published
    assert message["domain"] == "b.example"
    assert (state["state"], state["reason"]) == ("refused", "nobody there")


def test_a_gateway_has_a_key_of_its_own_that_follows_from_the_nodes(node: Node) -> None:
    node.domains.open("b.example")
    secret = gateway_secret(node.keyring.node)
    assert node.shell.events == [events.UserAdded(secret.seed, gateway="b.example")]
    assert secret.identity == gateway_secret(node.keyring.node).identity != node.keyring.node.identity


def test_what_is_no_answer_to_a_lookup_is_somebody_elses(node: Node) -> None:
    assert not node.domains.found(effects.OutsideAnswered(b"t"))


def test_contacts_go_with_their_user_and_are_read_strictly(node: Node) -> None:
    user = contacts.noted(node.keyring.user("anna"), CARL, "carl@b.example")
    user = contacts.noted(user, BERT, "c.example")
    assert decode_user(encode_user(user)).outside == {CARL: "carl@b.example", BERT: "c.example"}
    for wrong in ("B", "a@b@c.example", "@c.example"):
        with pytest.raises(ContentError, match="outside"):
            decode_user(encode_user(replace(user, outside={CARL: wrong})))
    many = {Address(SecretIdentity(b"%032d" % number).address): "c.example" for number in range(MAX_OUTSIDE + 1)}
    with pytest.raises(ContentError, match="contacts"):
        decode_user(encode_user(replace(user, outside=many)))


def test_a_name_is_not_lost_for_a_bare_domain_and_the_oldest_goes_first(node: Node) -> None:
    user = contacts.noted(node.keyring.user("anna"), CARL, "carl@b.example")
    assert contacts.noted(user, CARL, "b.example") is user
    assert contacts.noted(user, CARL, "c.example").outside == {CARL: "c.example"}
    for number in range(MAX_OUTSIDE):
        user = contacts.noted(user, Address(b"%032d" % number), "c.example")
    assert len(user.outside) == MAX_OUTSIDE
    assert CARL not in user.outside
    assert contacts.called(user, "carl@b.example") is None
