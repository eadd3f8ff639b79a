"""What the commands about people do: safety numbers, changed keys that hold messages back, privacy, users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from daemon_kit import ADMIN, ANNA, HOP, NODE, STRANGER, Commands, Node

from qpq.crypto.errors import SafetyError
from qpq.crypto.export import Cost, seal_export
from qpq.crypto.identity import Address, Identity, SecretIdentity, text_id
from qpq.crypto.safety import groups, safety_number, scan_text
from qpq.daemon.commands import Caller, FailedError, Role, UsageError
from qpq.mesh import counters, effects, events
from qpq.mesh.effects import State
from qpq.mesh.events import Via
from qpq.mesh.records import InboxInsert, OutboxInsert
from qpq.mesh.rows import PeerRow
from qpq.store import keyring_data, trust
from qpq.store.keyring_errors import KeyringError

if TYPE_CHECKING:
    from pathlib import Path

BERT, EVE, ZOE = (SecretIdentity(bytes([200 + number]) * 32).address for number in range(3))
PASSPHRASE = "correct horse"  # noqa: S105 (of a throw-away key)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def commands(node: Node) -> Commands:
    return Commands(node)


def me(node: Node) -> Address:
    return node.keyring.user("me").address


def number_with(node: Node, peer: Address) -> str:
    return " ".join(groups(safety_number(me(node), peer)))


def sends(node: Node) -> list[events.SendText]:
    return [event for event in node.shell.events if isinstance(event, events.SendText)]


# --- safety numbers -----------------------------------------------------------------------------


def test_both_sides_see_one_number_and_the_code_says_whose_screen_it_is_on(commands: Commands, node: Node) -> None:
    shown = commands("verify", peer=text_id(BERT))
    assert shown == {
        "id": text_id(BERT), "name": "", "trust": "new", "number": number_with(node, BERT),
        "scan": scan_text(me(node), BERT), "old": None,
    }  # fmt: skip
    assert shown["number"] == " ".join(groups(safety_number(BERT, me(node))))


def test_the_digits_or_the_code_of_the_other_side_make_a_peer_verified(commands: Commands, node: Node) -> None:
    node.keyring.name_peer("me", BERT, "Bert")
    for given in (number_with(node, BERT), number_with(node, BERT).replace(" ", ""), scan_text(BERT, me(node))):
        shown = commands("verify", peer="Bert", number=given)
        assert shown == {"id": text_id(BERT), "name": "Bert", "trust": "verified", "matches": True}
        assert commands("verify", peer="bert", undo=True)["trust"] == "known"
    with pytest.raises(KeyringError, match="nothing to undo"):
        commands("verify", peer="bert", undo=True)


@pytest.mark.parametrize("who", ["eve's digits", "eve's code", "the own code"])
def test_numbers_that_differ_are_said_loudly_and_mark_nobody(commands: Commands, node: Node, who: str) -> None:
    given = {
        "eve's digits": number_with(node, EVE),
        "eve's code": scan_text(EVE, me(node)),
        "the own code": scan_text(me(node), BERT),
    }[who]
    with pytest.raises(FailedError, match="THE NUMBERS DIFFER"):
        commands("verify", peer=text_id(BERT), number=given)
    assert node.keyring.user("me").verified == frozenset()


def test_what_is_neither_number_nor_code_is_refused(commands: Commands) -> None:
    with pytest.raises(SafetyError, match="60 digits"):
        commands("verify", peer=text_id(BERT), number="12345")
    for both in ({"number": "1", "undo": True}, {"accept": True, "undo": True}):
        with pytest.raises(UsageError, match="one of them"):
            commands("verify", peer=text_id(BERT), **both)


def test_nobody_verifies_oneself_or_a_node(commands: Commands, node: Node) -> None:
    with pytest.raises(FailedError, match="that is you"):
        commands("verify", peer="me")
    node.rows = [
        PeerRow(NODE, True, "a:1", Via.MDNS, "linked", 0.0, 1, (BERT,)),
        PeerRow(HOP, True, "b:1", Via.MDNS, "linked", 0.0, 2),
    ]
    with pytest.raises(FailedError, match=f"Its users are: {text_id(BERT)}"):
        commands("verify", peer=text_id(NODE))
    with pytest.raises(FailedError, match="nobody known"):
        commands("verify", peer=text_id(HOP))
    with pytest.raises(FailedError, match=text_id(me(node))):
        commands("verify", peer=text_id(node.keyring.node.identity))
    assert commands("verify", peer=text_id(BERT))["number"]


def test_users_of_one_node_verify_each_other_and_a_restricted_one_for_herself(commands: Commands, node: Node) -> None:
    number = " ".join(groups(safety_number(me(node), node.keyring.user("anna").address)))
    assert commands("verify", ANNA, peer="me")["number"] == number
    assert commands("verify", ANNA, peer="me", number=number)["trust"] == "verified"
    assert node.keyring.user("anna").verified == {me(node)}
    assert node.keyring.user("me").verified == frozenset()
    assert commands("verify", peer="anna")["trust"] == "new"


# --- a changed key ------------------------------------------------------------------------------


@pytest.fixture
def changed(commands: Commands, node: Node) -> Commands:
    node.keyring.name_peer("me", BERT, "Bert")
    claim = commands("mesh.name", peer=text_id(EVE), petname="bert")
    assert claim == {
        "id": text_id(EVE), "name": "", "trust": "changed",
        "changed": [{"user": "me", "name": "Bert", "old": text_id(BERT), "new": text_id(EVE)}],
    }  # fmt: skip
    return commands


def test_a_changed_key_is_told_to_whoever_watches_once(changed: Commands, node: Node) -> None:
    assert node.published == [
        ("changed", {"user": "me", "name": "Bert", "old": text_id(BERT), "new": text_id(EVE)})
    ]  # fmt: skip
    assert changed("mesh.name", peer=text_id(EVE), petname="Bert")["changed"], "it is still so"
    assert len(node.published) == 1


def test_nothing_is_sent_to_a_petname_whose_key_has_changed(changed: Commands, node: Node) -> None:
    for peer in ("Bert", "bert", "BERT"):
        with pytest.raises(FailedError, match="THE KEY OF Bert HAS CHANGED") as caught:
            changed("mesh.send", peer=peer, text="hi")
        for part in (text_id(BERT), text_id(EVE), "verify Bert --accept"):
            assert part in str(caught.value)
    assert sends(node) == []
    for peer in (BERT, EVE):  # who types the id has said which one is meant
        changed("mesh.send", peer=text_id(peer), text="hi")
    assert [event.recipient for event in sends(node)] == [BERT, EVE]
    assert changed("mesh.send", ANNA, peer="me", text="hi"), "another user's petnames are another user's business"


@pytest.mark.parametrize("peer", ["Bert", text_id(EVE)])
def test_an_accepted_key_gets_the_messages(changed: Commands, node: Node, peer: str) -> None:
    shown = changed("verify", peer=peer, accept=True)
    assert shown == {"id": text_id(EVE), "name": "Bert", "trust": "known"}
    changed("mesh.send", peer="Bert", text="hi")
    assert [event.recipient for event in sends(node)] == [EVE]
    with pytest.raises(KeyringError, match="nothing to accept"):
        changed("verify", peer=peer, accept=True)


def test_the_number_shown_is_that_of_the_new_key_and_proves_it(changed: Commands, node: Node) -> None:
    shown = changed("verify", peer="Bert")
    assert (shown["id"], shown["old"], shown["trust"]) == (text_id(EVE), text_id(BERT), "changed")
    assert shown["number"] == number_with(node, EVE)
    assert changed("verify", peer="Bert", number=shown["number"])["trust"] == "verified"
    assert node.keyring.user("me").petnames == {EVE: "Bert"}


def test_the_old_number_proves_that_nothing_has_changed(changed: Commands, node: Node) -> None:
    shown = changed("verify", peer="Bert", number=number_with(node, BERT))
    assert shown == {"id": text_id(BERT), "name": "Bert", "trust": "verified", "matches": True}
    assert node.keyring.user("me").changed == {}
    with pytest.raises(FailedError, match="DIFFER"):
        changed("verify", peer="Bert", number=number_with(node, ZOE))


def test_a_third_number_settles_nothing(changed: Commands, node: Node) -> None:
    with pytest.raises(FailedError, match="DIFFER"):
        changed("verify", peer="Bert", number=number_with(node, ZOE))
    assert node.keyring.user("me").changed == {BERT: EVE}


def test_the_old_key_can_be_kept(changed: Commands, node: Node) -> None:
    assert changed("verify", peer="Bert", undo=True) == {"id": text_id(BERT), "name": "Bert", "trust": "known"}
    assert node.keyring.user("me").changed == {}


def test_an_id_that_claims_two_petnames_is_not_accepted_for_one_of_them(changed: Commands, node: Node) -> None:
    node.keyring.name_peer("me", ZOE, "Zoe")
    node.keyring.name_peer("me", EVE, "Zoe")
    with pytest.raises(FailedError, match="Bert, Zoe"):
        changed("verify", peer=text_id(EVE), accept=True)
    assert changed("verify", peer="Zoe", accept=True)["name"] == "Zoe"


def test_a_user_under_somebodys_petname_changes_it_and_is_not_called_by_it(commands: Commands, node: Node) -> None:
    node.keyring.name_peer("me", BERT, "Cleo")
    added = commands("mesh.user.add", name="cleo")
    assert added["changed"] == [{"user": "me", "name": "Cleo", "old": text_id(BERT), "new": added["id"]}]
    assert node.published == [("changed", added["changed"][0])]
    with pytest.raises(FailedError, match="CHANGED"):
        commands("mesh.send", peer="cleo", text="hi")
    cleo = node.keyring.user("cleo").address
    assert commands.handlers._petname(node.keyring.user("me"), cleo) == ""
    assert commands.handlers._petname(node.keyring.user("anna"), cleo) == "cleo"
    assert "changed" not in commands("mesh.user.add", name="dora")


def test_a_user_brought_in_under_somebodys_petname_changes_it(commands: Commands, node: Node) -> None:
    node.keyring.name_peer("anna", BERT, "Cleo")
    cleo = keyring_data.User("cleo", SecretIdentity(b"c" * 32), {EVE: "Anna", BERT: "Bert"}, changed={BERT: EVE})
    armour = seal_export(
        keyring_data.encode_user(cleo), PASSPHRASE, salt=bytes(16), nonce=bytes(12), cost=Cost(ops=1, memory_kib=8)
    )
    taken = commands("mesh.user.import", armour=armour, passphrase=PASSPHRASE)
    assert taken["changed"] == [
        {"user": "anna", "name": "Cleo", "old": text_id(BERT), "new": text_id(cleo.address)},
        {"user": "cleo", "name": "Anna", "old": text_id(EVE), "new": text_id(node.keyring.user("anna").address)},
    ]
    assert node.keyring.user("cleo").changed == {BERT: EVE, EVE: node.keyring.user("anna").address}


# --- trust where people look ----------------------------------------------------------------------


def test_peers_show_how_far_the_user_trusts_them(changed: Commands, node: Node) -> None:
    node.keyring.name_peer("me", Address(HOP), "Turm")
    changed("verify", peer=text_id(ZOE), number=number_with(node, ZOE))
    users = (BERT, EVE, ZOE)
    node.rows = [
        PeerRow(NODE, True, "a:1", Via.STATIC, "linked", 0.0, 1, users, known=HOP),
        PeerRow(HOP, True, "b:1", Via.MDNS, "linked", 0.0, 2),
        PeerRow(None, False, "c:1", Via.STATIC, "dialling", 0.0),
    ]
    rows = changed("mesh.peers")
    assert [row["trust"] for row in rows] == ["changed", "known", None]
    assert [user["trust"] for user in rows[0]["users"]] == ["changed", "changed", "verified"]
    assert (rows[0]["known_id"], "known_id" in rows[1]) == (text_id(HOP), False)
    assert [row["trust"] for row in changed("mesh.peers", STRANGER)] == ["changed", None, None]
    assert [user["trust"] for user in changed("mesh.peers", ANNA)[0]["users"]] == ["new"] * 3


def test_messages_show_how_far_the_user_trusts_who_wrote(changed: Commands, node: Node) -> None:
    node.keyring.update_user("me", lambda user: trust.verified(user, ZOE))
    user = me(node)
    inserts = [
        InboxInsert(user, bytes([at]) * 16, sender, b"", "hi", False, 0, 7, 132, None)
        for at, sender in enumerate((BERT, ZOE, node.keyring.user("anna").address, user))
    ]
    node.store.apply(inserts)
    assert [row["from_trust"] for row in changed("mesh.inbox")] == ["changed", "verified", "new", None]
    changed.handlers.delivered(effects.Deliver(user, b"m" * 16, ZOE, "hi", 7, False))
    assert node.published[-1][1]["from_trust"] == "verified"
    node.store.apply([OutboxInsert(user, b"o" * 16, b"e" * 32, ZOE, b"sealed", "ho", False, 9, 1, 2, State.QUEUED)])
    assert [row["to_trust"] for row in changed("mesh.outbox")] == ["verified"]


def test_whether_a_message_went_post_quantum_is_told(commands: Commands, node: Node) -> None:
    user = me(node)
    assert commands("mesh.send", peer=text_id(BERT), text="hi")["post_quantum"] is True
    queued = OutboxInsert(user, b"o" * 16, b"e" * 32, ZOE, b"sealed", "ho", False, 9, 1, 2, State.QUEUED, sealed=False)
    node.store.apply([queued])
    assert [row["post_quantum"] for row in commands("mesh.outbox")] == [False]
    commands.handlers.state_changed(effects.StateChanged(user, b"o" * 16, State.DELIVERED, 0, post_quantum=True))
    assert node.published[-1][1]["post_quantum"] is True


def test_another_key_at_an_address_given_by_hand_is_told_with_the_link(commands: Commands, node: Node) -> None:
    for known, up in ((None, True), (HOP, True), (HOP, False)):
        node.known = known
        commands.handlers.neighbour_changed(effects.NeighbourChanged(NODE, up, "host:7000"))
    assert [fields.get("known_id") for _, fields in node.published] == [None, text_id(HOP), None]


def test_an_address_given_anew_is_whoever_answers_there_now(commands: Commands, node: Node) -> None:
    node.keyring.note_seen("127.0.0.1:7000", Identity(BERT))
    commands("mesh.server", address="127.0.0.1:7000")
    assert node.keyring.seen == {}
    assert node.noted == 1
    node.keyring.note_seen("127.0.0.1:7000", Identity(BERT))
    commands("mesh.forget", address="127.0.0.1:7000")
    assert node.keyring.seen == {}


# --- privacy ------------------------------------------------------------------------------------


def test_padding_is_on_until_a_user_switches_it_off(commands: Commands, node: Node) -> None:
    assert commands("privacy") == {
        "user": "me", "padding": True, "step_bytes": 256, "padded_messages": 0, "padding_bytes": 0,
        "bytes_a_message": None,
    }  # fmt: skip
    assert commands("privacy", ANNA, setting="padding", value="off")["padding"] is False
    assert commands("privacy", setting="padding")["padding"] is True
    commands("mesh.subscribe", topic="news")
    commands("mesh.subscribe", ANNA, topic="news")
    for caller in (ADMIN, ANNA):
        commands("mesh.send", caller, peer=text_id(BERT), text="hi")
        commands("mesh.broadcast", caller, topic="news", text="hi")
    padded = [
        event.padding for event in node.shell.events if isinstance(event, (events.SendText, events.SendBroadcast))
    ]
    assert padded == [True, True, False, False]
    assert commands("privacy", ANNA, setting="padding", value="on")["padding"] is True


def test_what_padding_costs_is_told(commands: Commands, node: Node) -> None:
    node.shell.counters = {counters.PADDING_MESSAGES: 3, counters.PADDING_BYTES: 500}
    shown: Any = commands("privacy")
    assert (shown["padded_messages"], shown["padding_bytes"], shown["bytes_a_message"]) == (3, 500, 166.7)


@pytest.mark.parametrize("args", [{"value": "on"}, {"setting": "padding", "value": "maybe"}, {"setting": "other"}])
def test_what_cannot_be_switched_is_wrong_usage(commands: Commands, args: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"padding|value"):
        commands("privacy", **args)


# --- users --------------------------------------------------------------------------------------


def test_users_are_listed_exported_and_removed(commands: Commands, node: Node) -> None:
    anna = text_id(node.keyring.user("anna").address)
    assert commands("mesh.user.list")["users"][1] == {"name": "anna", "id": anna}
    assert commands("mesh.identity", ANNA)["users"] == [{"name": "anna", "id": anna}]
    armour = commands("mesh.user.export", name="anna", passphrase=PASSPHRASE)["armour"]
    assert commands("mesh.user.remove", name="anna") == {"name": "anna", "id": anna}
    taken = commands("mesh.user.import", armour=armour, passphrase=PASSPHRASE, name="anna2")
    assert taken == {"name": "anna2", "id": anna}
    assert isinstance(node.shell.events[0], events.UserRemoved)


def test_who_is_muted_or_blocked_is_told_to_the_core(commands: Commands, node: Node) -> None:
    caller = Caller(Role.USER, 1000, 1000, 1)
    commands("mesh.name", caller, peer=text_id(BERT), petname="Bert")
    assert commands("mesh.block", caller, peer="Bert") == {"id": text_id(BERT), "name": "Bert"}
    commands("mesh.mute", caller, peer="Bert")
    assert node.shell.events[:2] == [
        events.BlockedSet(me(node), frozenset(), frozenset([BERT])),
        events.BlockedSet(me(node), frozenset([BERT]), frozenset([BERT])),
    ]
    commands("mesh.unblock", caller, peer="Bert")
    commands("mesh.unmute", caller, peer="Bert")
    assert (node.keyring.user("me").blocked, node.keyring.user("me").muted) == (frozenset(), frozenset())
