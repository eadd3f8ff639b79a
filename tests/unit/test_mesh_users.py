"""Users of a node and what neighbours are told of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cores import Node, World, pair
from qpq.crypto.errors import CryptoError
from qpq.crypto.identity import Address, Identity, SecretIdentity, address_of
from qpq.mesh import effects, events
from qpq.mesh.served import Heard, Served
from qpq.mesh.users import Users
from qpq.wire.announce import sign_announce, verify_announce
from qpq.wire.frames import CloseCode

if TYPE_CHECKING:
    from qpq.wire.frames_mesh import Announce

NODE = SecretIdentity(b"n" * 32)
PEER = SecretIdentity(b"p" * 32)
USERS = [SecretIdentity(bytes([n]) * 32) for n in range(1, 30)]


def announce(user: SecretIdentity, *, node: Identity = PEER.identity, boot: int = 1, counter: int = 1) -> Announce:
    return sign_announce(user, node=node, boot=boot, counter=counter)


def served(cap: int = 16) -> Served:
    made = Served(cap)
    made.open(1, PEER.identity)
    return made


def hear(world: World, liar: Node, frame: Announce) -> None:
    """Let a node send an announce that its core would not."""
    (wire,) = liar.wires.values()
    world.inject(wire, wire.encoder.encode(frame))
    world.run(0.1)


def test_the_first_user_reads_what_is_sent_to_the_node() -> None:
    users = Users(NODE, boot=1, cap=16)
    assert users.reader(NODE.address) is None
    users.add(USERS[0].seed, frozenset())
    users.add(USERS[1].seed, frozenset())
    reader = users.reader(NODE.address)
    assert reader is not None
    assert (reader[0].secret.address, reader[1]) == (USERS[0].address, NODE)
    assert users.reader(USERS[5].address) is None
    users.remove(USERS[0].address)
    reader = users.reader(NODE.address)
    assert reader is not None
    assert reader[0].secret.address == USERS[1].address


def test_there_are_at_most_so_many_users() -> None:
    users = Users(NODE, boot=1, cap=2)
    assert [users.add(user.seed, frozenset()) is not None for user in USERS[:3]] == [True, True, False]
    again = users.add(USERS[0].seed, frozenset({USERS[9].address}))
    assert again is not None
    assert again.blocked == {USERS[9].address}
    assert not users.remove(USERS[7].address)


def test_a_seed_of_another_length_is_refused() -> None:
    with pytest.raises(CryptoError):
        Users(NODE, boot=1, cap=2).add(b"short", frozenset())


def test_users_are_announced_to_new_neighbours_and_to_old_ones_when_they_come() -> None:
    world, anna, bert = pair()
    assert bert.core is not None
    assert bert.core.where(anna.user.address) == anna.identity
    carl = SecretIdentity(b"c" * 32)
    world.tell(anna, events.UserAdded(carl.seed))
    world.run(0.1)
    assert bert.core.where(carl.address) == anna.identity
    assert bert.neighbours[-1].users == (anna.user.address, carl.address)
    sent = len(world.frames)
    world.tell(anna, events.UserAdded(carl.seed, frozenset({bert.user.address})))
    world.run(0.1)
    assert len(world.frames) == sent, "a user that is known is not announced again"


def test_one_user_too_many_is_told_in_the_log() -> None:
    world = World()
    anna = world.add("anna", users=16)
    world.tell(anna, events.UserAdded(b"x" * 32))
    assert [notice.level for notice in anna.notices] == ["warning"]


def test_a_forged_announce_costs_the_peer_its_link() -> None:
    world, anna, bert = pair()
    forged = replace(announce(USERS[0], node=anna.identity), signature=bytes(64))
    hear(world, anna, forged)
    assert bert.closed[-1].code == CloseCode.NOT_PERMITTED
    assert bert.counts["announce.forged"] == bert.counts["link.misbehaved"] == 1
    assert bert.core is not None
    assert bert.core.where(USERS[0].address) is None


def test_an_announce_of_another_node_is_counted_and_ignored() -> None:
    world, anna, bert = pair()
    hear(world, anna, announce(USERS[0], node=NODE.identity))
    assert bert.counts["announce.foreign"] == 1
    assert anna.identity in bert.linked(world.now)
    assert bert.core is not None
    assert bert.core.where(USERS[0].address) is None


def test_announces_over_their_rate_are_not_even_verified() -> None:
    world, anna, bert = pair(max_users=2)
    for counter in range(1, 10):
        hear(world, anna, announce(USERS[0], node=anna.identity, counter=counter))
    assert bert.counts["announce.over_cap"] >= 4
    assert anna.identity in bert.linked(world.now)


def test_of_two_announces_the_newer_counts() -> None:
    table = served()
    user = USERS[0]
    assert table.heard(1, announce(user, boot=2, counter=5)) is Heard.NEW
    assert table.heard(1, announce(user, boot=2, counter=5)) is Heard.STALE
    assert table.heard(1, announce(user, boot=1, counter=9)) is Heard.STALE
    assert table.heard(1, announce(user, boot=3, counter=1)) is Heard.RENEWED
    assert table.addresses(1) == (PEER.address, user.address)


def test_a_neighbour_can_announce_so_many_users_only() -> None:
    table = served(cap=2)
    verdicts = [table.heard(1, announce(user)) for user in USERS[:3]]
    assert verdicts == [Heard.NEW, Heard.NEW, Heard.OVER_CAP]
    assert table.heard(1, announce(USERS[1], counter=2)) is Heard.RENEWED
    assert table.users(1) == (USERS[0].address, USERS[1].address)


def test_a_false_signature_is_told_even_of_an_address_that_is_known() -> None:
    table = served()
    table.heard(1, announce(USERS[0]))
    assert table.heard(1, replace(announce(USERS[0], counter=2), counter=3)) is Heard.FORGED


def test_a_node_need_not_announce_its_own_address() -> None:
    table = served()
    assert table.heard(1, announce(PEER)) is Heard.STALE
    assert table.link_for(PEER.address) == 1


def test_an_address_on_two_links_is_looked_for_where_it_was_announced_last() -> None:
    table = served()
    other = SecretIdentity(b"o" * 32)
    table.open(2, other.identity)
    table.heard(1, announce(USERS[0]))
    table.heard(2, announce(USERS[0], node=other.identity))
    assert table.node_of(USERS[0].address) == other.identity
    table.heard(1, announce(USERS[0], counter=2))
    assert table.link_for(USERS[0].address) == 1
    table.close(1)
    assert table.link_for(USERS[0].address) == 2
    table.close(2)
    table.close(2)
    assert table.link_for(USERS[0].address) is None
    assert table.node_of(USERS[0].address) is None
    assert table.known() == ()


def test_an_address_that_is_not_there_is_forgotten_until_it_is_announced_anew() -> None:
    table = served()
    table.heard(1, announce(USERS[0]))
    assert table.forget(1, USERS[0].address)
    assert not table.forget(1, USERS[0].address)
    assert not table.forget(9, USERS[0].address)
    assert table.link_for(USERS[0].address) is None
    assert table.heard(1, announce(USERS[0])) is Heard.NEW


def test_the_core_tells_which_addresses_it_knows_and_where_they_are() -> None:
    world, anna, bert = pair()
    assert anna.core is not None
    assert set(anna.core.addresses_known()) == {
        anna.user.address,
        anna.secret.address,
        bert.user.address,
        bert.secret.address,
    }
    assert anna.core.where(anna.user.address) == anna.core.where(anna.secret.address) == anna.identity
    assert anna.core.where(address_of(bert.identity)) == bert.identity
    assert anna.core.where(Address(b"?" * 32)) is None
    assert world.now > 0


def test_a_user_who_is_gone_is_not_served_any_more_and_the_sender_stops_asking() -> None:
    world, anna, bert = pair()
    world.tell(bert, events.UserRemoved(bert.user.address))
    message = world.send(anna, bert.user.address)
    world.run(60.0)
    assert bert.delivered == []
    assert anna.core is not None
    assert anna.core.where(bert.user.address) is None
    row = anna.core.message(anna.user.address, message)
    assert row is not None
    assert (row.state, row.attempts) == (effects.State.RELAYED, 1), "carried about as for any other stranger"


def test_a_renewed_announce_is_newer_than_the_last_and_than_what_was_heard() -> None:
    secret = SecretIdentity(b"r" * 32)
    users = Users(SecretIdentity(b"o" * 32), boot=5, cap=2)
    users.add(secret.seed, frozenset())
    most = 0xFFFF_FFFF

    def renewed(*above: tuple[int, int]) -> tuple[int, int] | None:
        user = users.renew(secret.address, *above)
        if user is None:
            return None
        assert verify_announce(user.announce)
        return user.announce.boot, user.announce.counter

    assert renewed() == (5, 2)
    assert renewed((4, 77)) == (5, 3)
    assert renewed((6, 1)) == (6, 2)
    assert renewed() == (6, 3)
    assert renewed((6, most)) == (7, 0)
    assert renewed((most, most)) is None
    assert users.renew(SecretIdentity(b"q" * 32).address) is None
