"""What the commands about the mesh do: each with a keyring and a store of its own, the core's answers made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from daemon_kit import ANNA, BERT, HOP, NODE, STRANGER, Commands, Node

from qpq.crypto.channels import Channel, ChannelKind, decode_share, encode_share, open_channel
from qpq.crypto.errors import ChannelError
from qpq.crypto.identity import Address, text_id
from qpq.daemon.commands import Caller, FailedError, UsageError
from qpq.mesh import effects, events
from qpq.mesh.effects import ProbeDone, State
from qpq.mesh.records import InboxInsert, OutboxInsert
from qpq.store.keyring import KeyringError, NoSuchChannelError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def commands(node: Node) -> Commands:
    return Commands(node)


# --- store, routes ------------------------------------------------------------------------------


def test_the_store_tells_counts_room_and_shares(commands: Commands) -> None:
    shown = commands("mesh.store")
    assert (shown["relayed"], shown["max_bytes"], shown["durable"], shown["snapshot"]) == (0, 1 << 20, True, None)
    assert (shown["relayed_oldest_s"], shown["quota_used_bytes"], shown["quota_max_bytes"]) == (60, 5, 6)
    assert (shown["proofs_max"], shown["seen"], shown["seen_max"]) == (8, 9, 10)
    assert shown["by_recipient"] == [{"id": text_id(BERT), "name": "", "count": 4, "bytes": 800}]
    assert [row["id"] for row in shown["by_link"]] == [text_id(HOP), None]


@pytest.mark.parametrize("caller", [ANNA, STRANGER])
def test_who_writes_to_whom_is_not_for_everybody(commands: Commands, caller: Caller) -> None:
    assert not {"by_recipient", "by_link"} & commands("mesh.store", caller).keys()


def test_routes_are_told_with_the_names_the_user_gave(commands: Commands, node: Node) -> None:
    node.keyring.name_peer("me", BERT, "Bert")
    assert commands("mesh.route") == [
        {
            "id": text_id(BERT), "name": "Bert", "node": text_id(NODE), "node_name": "", "next_hop": text_id(HOP),
            "next_hop_name": "", "hops": 3, "cost": 3.5, "age_s": 60, "capabilities": 1, "score": 0.75,
        }
    ]  # fmt: skip
    assert commands("mesh.route", STRANGER)[0]["name"] == ""


# --- probes -------------------------------------------------------------------------------------


def answering(commands: Commands, **fields: Any) -> None:
    def answer(event: events.Event) -> None:
        assert isinstance(event, events.Ping)
        made = {"ok": True, "rtt": 0.0125, "hops": 2, "path": (NODE, HOP)} | fields
        for token in (b"another!", event.token, event.token):  # a second answer to one question is no fault
            commands.handlers.mesh.probed(ProbeDone(token, **made))

    commands.node.shell.answer = answer


def test_a_ping_waits_for_its_answer(commands: Commands) -> None:
    answering(commands)
    assert commands("mesh.ping", peer=text_id(BERT)) == {"id": text_id(BERT), "name": "", "rtt_ms": 12.5, "hops": 2}
    (ping,) = commands.node.shell.events
    assert isinstance(ping, events.Ping)
    assert (ping.target, ping.trace) == (BERT, False)
    assert commands.handlers.mesh._probes == {}


def test_a_trace_names_the_nodes_on_the_way(commands: Commands, node: Node) -> None:
    answering(commands)
    node.keyring.name_peer("anna", Address(NODE), "Turm")
    shown = commands("mesh.trace", ANNA, peer=text_id(BERT)[:8])
    assert shown["path"] == [{"id": text_id(NODE), "name": "Turm"}, {"id": text_id(HOP), "name": ""}]


def test_no_answer_is_a_failure_with_its_reason(commands: Commands) -> None:
    answering(commands, ok=False, path=(), reason="no route")
    with pytest.raises(FailedError, match=r"no answer from .*: no route"):
        commands("mesh.ping", peer=text_id(BERT))
    assert commands.handlers.mesh._probes == {}


# --- channels -----------------------------------------------------------------------------------


def test_an_open_channel_needs_its_topic_only_and_is_public(commands: Commands, node: Node) -> None:
    shown = commands("mesh.subscribe", ANNA, topic="news")
    news = open_channel("news")
    assert (shown["topic"], shown["kind"], shown["public"], shown["may_send"]) == ("news", "open", True, True)
    assert decode_share(shown["share"]) == news
    assert node.keyring.user("anna").channels == (news,)
    assert node.keyring.user("me").channels == ()
    assert node.shell.events == [events.ChannelJoined(node.keyring.user("anna").address, news.key)]


def test_a_private_channel_is_new_without_a_key_and_shared_with_it(commands: Commands, node: Node) -> None:
    made = decode_share(commands("mesh.subscribe", topic="board", private=True)["share"])
    other = decode_share(commands("mesh.subscribe", topic="other", private=True)["share"])
    assert made.kind is ChannelKind.PRIVATE
    assert made.key != other.key
    commands("mesh.subscribe", ANNA, topic="board", key=text_id(made.key).upper())
    assert node.keyring.channel("anna", "board") == made


def test_an_announcement_channel_is_made_by_its_signer_and_read_by_its_shared_text(
    commands: Commands, node: Node
) -> None:
    shown = commands("mesh.subscribe", topic="alarm", announce=True)
    me = node.keyring.users[0].address
    assert (shown["kind"], shown["may_send"], shown["signers"]) == (
        "announcement",
        True,
        [{"id": text_id(me), "name": "me"}],
    )
    for given in ({"topic": shown["share"]}, {"topic": "alarm", "key": shown["share"].upper()}):
        read = commands("mesh.subscribe", ANNA, **given)
        assert (read["topic"], read["may_send"]) == ("alarm", False)
    joined = node.shell.events[-1]
    assert isinstance(joined, events.ChannelJoined)
    assert joined.signers == {me}


SHARE = encode_share(Channel("board", b"k" * 32, ChannelKind.PRIVATE))


@pytest.mark.parametrize(
    "args",
    [
        {"topic": "a", "private": True, "announce": True},
        {"topic": "a", "key": "short"},
        {"topic": "a", "key": "1" * 52},
        {"topic": "a", "key": text_id(b"k" * 32), "announce": True},
        {"topic": "other", "key": SHARE},
        {"topic": SHARE, "key": text_id(b"k" * 32)},
        {"topic": SHARE, "private": True},
        {"topic": "board", "key": SHARE, "announce": True},
    ],
)
def test_what_does_not_agree_about_a_channel_is_wrong_usage(commands: Commands, args: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        commands("mesh.subscribe", **args)
    assert commands.node.shell.events == []


@pytest.mark.parametrize("topic", [" news", "x" * 65, SHARE[:-1]])
def test_what_can_be_no_channel_is_refused(commands: Commands, topic: str) -> None:
    with pytest.raises(ChannelError):
        commands("mesh.subscribe", topic=topic)


def test_channels_are_listed_shared_and_left(commands: Commands, node: Node) -> None:
    commands("mesh.subscribe", topic="news")
    commands("mesh.subscribe", topic="board", private=True)
    assert [row["topic"] for row in commands("mesh.channels")] == ["news", "board"]
    assert all("share" not in row for row in commands("mesh.channels"))
    assert commands("mesh.channels", ANNA) == []
    assert decode_share(commands("mesh.channels", share="board")["share"]) == node.keyring.channel("me", "board")
    board = node.keyring.channel("me", "board")
    assert commands("mesh.unsubscribe", topic="board") == {"topic": "board", "id": text_id(board.id)}
    assert node.shell.events[-1] == events.ChannelLeft(node.keyring.users[0].address, board.id)
    for name, args in (("mesh.unsubscribe", {"topic": "board"}), ("mesh.channels", {"share": "board"})):
        with pytest.raises(NoSuchChannelError):
            commands(name, **args)


def test_a_topic_that_means_another_channel_already_is_refused(commands: Commands) -> None:
    commands("mesh.subscribe", topic="news")
    with pytest.raises(KeyringError, match="unsubscribe from it first"):
        commands("mesh.subscribe", topic="news", private=True)


@pytest.mark.parametrize("behind", [False, True])
def test_a_broadcast_is_handed_to_the_core_and_answered_once_it_is_stored(
    commands: Commands, node: Node, behind: bool
) -> None:
    commands("mesh.subscribe", topic="news")
    node.shell.behind = behind
    shown = commands("mesh.broadcast", topic="news", text="Moin", ttl=60)
    sent = node.shell.events[-1]
    assert isinstance(sent, events.SendBroadcast)
    assert (sent.channel, sent.text, sent.ttl) == (open_channel("news").id, "Moin", 60)
    assert shown == {"id": text_id(sent.message_id), "channel": "news", "public": True, "state": "queued"}
    node.shell.refused = "too many"
    with pytest.raises(FailedError, match="too many"):
        commands("mesh.broadcast", topic="news", text="Moin")


def test_nobody_sends_to_a_channel_in_which_nobody_would_hear(commands: Commands) -> None:
    share = commands("mesh.subscribe", topic="alarm", announce=True)["share"]
    commands("mesh.subscribe", ANNA, topic=share)
    count = len(commands.node.shell.events)
    with pytest.raises(FailedError, match="show nothing of anna"):
        commands("mesh.broadcast", ANNA, topic="alarm", text="Feuer")
    with pytest.raises(NoSuchChannelError):
        commands("mesh.broadcast", topic="unknown", text="hi")
    assert len(commands.node.shell.events) == count


# --- messages of channels -------------------------------------------------------------------------


def incoming(user: Address, number: int, channel: bytes = b"") -> InboxInsert:
    message = number.to_bytes(16, "big")
    return InboxInsert(user, message, BERT, b"", "hi", False, 0, 7, 130, None, channel)


def test_messages_say_through_which_channel_they_came(commands: Commands, node: Node) -> None:
    commands("mesh.subscribe", topic="news")
    me, news = node.keyring.users[0].address, open_channel("news").id
    node.store.apply([incoming(me, 1), incoming(me, 2, news), incoming(me, 3, b"x" * 16)])
    assert [row["channel"] for row in commands("mesh.inbox")] == ["", "news", ""]
    commands.handlers.delivered(effects.Deliver(me, b"m" * 16, BERT, "hi", 7, False, news))
    assert node.published[-1][1]["channel"] == "news"
    sent = OutboxInsert(me, b"o" * 16, b"", Address(news), b"", "ho", False, 60, 0, 7, State.QUEUED)
    node.store.apply([sent])
    assert [(row["channel"], row["text"]) for row in commands("mesh.outbox")] == [("news", "ho")]
    assert news not in node.store.correspondents(me), "a channel is nobody to write to"


def test_messages_are_marked_as_read_once(commands: Commands, node: Node) -> None:
    me = node.keyring.users[0].address
    node.store.apply([incoming(me, 1), incoming(me, 2)])
    for _ in range(2):
        commands("mesh.inbox")
    assert node.read == [[(me, "hi"), (me, "hi")]]


def test_a_message_is_deleted_by_the_beginning_of_its_id(commands: Commands, node: Node) -> None:
    me = node.keyring.users[0].address
    node.store.apply([incoming(me, 1), incoming(me, 2), incoming(me, 1 << 120)])
    with pytest.raises(FailedError, match="2 messages begin"):
        commands("mesh.delete", message="aaaaaa")
    with pytest.raises(FailedError, match="no message of me"):
        commands("mesh.delete", message="zzzz")
    assert commands("mesh.delete", message=text_id((1 << 120).to_bytes(16, "big"))[:6].upper())
    assert node.shell.events == [events.DeleteMessage(me, (1 << 120).to_bytes(16, "big"))]


# --- peers given by hand ----------------------------------------------------------------------------


def test_a_peer_given_by_hand_is_forgotten(commands: Commands, node: Node) -> None:
    commands("mesh.server", address="[::1]:7001")
    assert commands("mesh.forget", address="[::1]:7001") == {"address": "[::1]:7001"}
    assert node.keyring.peers == ()
    assert node.shell.events[-1] == events.Undial("[::1]:7001")
    with pytest.raises(FailedError, match="not given"):
        commands("mesh.forget", address="[::1]:7001")


def test_a_peer_of_the_configuration_is_not_forgotten_behind_its_back(commands: Commands, node: Node) -> None:
    node.peers = {"[::1]:7001"}
    commands("mesh.server", address="[::1]:7001")
    with pytest.raises(FailedError, match="configuration"):
        commands("mesh.forget", address="[::1]:7001")
    assert len(node.keyring.peers) == 1
