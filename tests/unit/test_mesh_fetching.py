"""Keys of users of a mesh, for whoever in another domain wants to begin a session with one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from test_mesh_border import CARL, one
from test_mesh_outside import two

from cores import MemoryStore, Node, World
from joined_meshes import address
from qpq.crypto.identity import Address, SecretIdentity
from qpq.crypto.prekeys import open_bundle
from qpq.mesh import counters, events
from qpq.mesh.effects import BundleMade
from qpq.mesh.limits import Limits
from qpq.wire.body import Keys

if TYPE_CHECKING:
    from qpq.mesh.fetching import Fetching

NOT_NOW = BundleMade(b"", b"", retry=True)
NOBODY = BundleMade(b"", b"")


def ask(world: World, gateway: Node, user: bytes, *, single: bool = False) -> None:
    world.tell(gateway, events.BundleAsked(b"", Address(user), single))


def made(gateway: Node) -> list[BundleMade]:
    """Take the answers that have come."""
    found = [effect for effect in gateway.outside if isinstance(effect, BundleMade)]
    gateway.outside = [effect for effect in gateway.outside if not isinstance(effect, BundleMade)]
    return found


def one_time(effect: BundleMade, user: bytes) -> bytes:
    return open_bundle(effect.data, Address(user)).one_time


def fetching(node: Node) -> Fetching:
    assert node.core is not None
    return node.core._crossings.outside.fetching


def stranger(number: int) -> Address:
    return SecretIdentity(number.to_bytes(32, "big")).address


# --- users of the gateway itself -------------------------------------------------------------------------------


def test_keys_of_users_here_are_given_out_once_they_are_stored() -> None:
    world, _, _, gateway = one()
    assert isinstance(gateway.store, MemoryStore)
    ask(world, gateway, address(gateway))
    (found,) = made(gateway)
    assert not one_time(found, address(gateway)), "good for many"
    assert len(gateway.store.prekeys) == 1
    ask(world, gateway, address(gateway))
    assert made(gateway) == [found]


def test_what_is_for_one_session_goes_out_once_and_of_one_user_only_every_ten_seconds() -> None:
    world, _, _, gateway = one()
    ask(world, gateway, address(gateway), single=True)
    ask(world, gateway, address(gateway), single=True)
    first, second = made(gateway)
    assert second == NOT_NOW
    world.run(10.0)
    ask(world, gateway, address(gateway), single=True)
    (third,) = made(gateway)
    assert one_time(first, address(gateway)) != one_time(third, address(gateway))


def test_when_no_more_one_time_keys_may_be_out_there_is_nothing_for_one_session() -> None:
    world, _, _, gateway = one(limits=Limits(one_times=1))
    for _ in range(2):
        ask(world, gateway, address(gateway), single=True)
        world.run(10.0)
    first, second = made(gateway)
    assert one_time(first, address(gateway))
    assert second == NOBODY
    ask(world, gateway, address(gateway))
    assert made(gateway)[0].data


def test_the_gateways_own_user_has_no_keys_for_anybody() -> None:
    world, _, _, gateway = one()
    assert gateway.gateway is not None
    ask(world, gateway, gateway.gateway[0].address)
    assert made(gateway) == [NOBODY]


# --- users of other nodes ----------------------------------------------------------------------------------------


def test_keys_of_a_user_two_hops_away_are_asked_of_its_node_and_used_by_nobody_here() -> None:
    world, reader, _, gateway = one()
    for single in (False, True):
        ask(world, gateway, address(reader), single=single)
        assert made(gateway) == []
        world.run(3.0)
        (found,) = made(gateway)
        assert one_time(found, address(reader))
        world.run(10.0)
    assert gateway.counts[counters.KEYS_FETCHED] == 2
    assert isinstance(gateway.store, MemoryStore)
    assert not gateway.store.sessions
    assert not fetching(gateway)._asked


def test_a_session_begins_with_the_keys_that_another_domain_was_given() -> None:
    world, _, a, b = two(asks=True)
    ask(world, b[2], address(b[0]), single=True)
    world.run(3.0)
    (found,) = made(b[2])
    assert a[0].core is not None
    assert a[0].core._asking._begin(a[0].user, address(b[0]), found.data, world.now)
    message = world.send(a[0], address(b[0]), "hello", domain="b.example")
    world.run(5.0)
    assert [one.text for one in b[0].delivered] == ["hello"]
    store = a[0].store
    assert isinstance(store, MemoryStore)
    assert store.outbox[address(a[0]), message].sealed


def test_a_user_who_is_asked_already_is_not_asked_once_more() -> None:
    world, reader, _, gateway = one()
    ask(world, gateway, address(reader))
    ask(world, gateway, address(reader))
    assert made(gateway) == [NOT_NOW]
    world.run(3.0)
    assert len(made(gateway)) == 1


def test_whom_nobody_has_is_looked_for_and_then_there_are_no_keys() -> None:
    world, _, _, gateway = one()
    ask(world, gateway, CARL.address)
    world.run(9.0)
    assert made(gateway) == []
    world.run(2.0)
    assert made(gateway) == [NOBODY]
    assert isinstance(gateway.store, MemoryStore)
    assert not gateway.store.relay, "and the question is not kept"


def test_an_address_that_is_no_key_is_nobodys() -> None:
    world, _, _, gateway = one()
    ask(world, gateway, bytes(32))
    assert made(gateway) == [NOBODY]


def test_so_many_strangers_are_looked_for_and_no_more() -> None:
    world, _, _, gateway = one()
    for number in range(10):
        ask(world, gateway, stranger(number))
    assert made(gateway) == [NOT_NOW, NOT_NOW]
    world.run(11.0)
    assert made(gateway) == [NOBODY] * 8


def test_so_many_are_asked_at_once_and_so_many_that_gave_are_remembered() -> None:
    world, reader, middle, gateway = one(limits=Limits(lookups=1, keys_told=1))
    ask(world, gateway, address(reader))
    ask(world, gateway, address(middle))
    assert made(gateway) == [NOT_NOW]
    world.run(3.0)
    ask(world, gateway, address(middle))
    world.run(3.0)
    assert len(made(gateway)) == 2
    assert list(fetching(gateway)._gave) == [address(middle)]


def test_without_room_for_questions_there_are_none() -> None:
    world, reader, _, gateway = one(limits=Limits(controls=0))
    ask(world, gateway, address(reader))
    assert made(gateway) == [NOT_NOW]


def test_who_is_no_gateway_asks_nobody() -> None:
    world, reader, middle, _ = one()
    ask(world, middle, address(reader))
    assert made(middle) == [NOT_NOW]


# --- who lies ------------------------------------------------------------------------------------------------------


def test_keys_that_their_owner_has_not_signed_are_none() -> None:
    world, reader, _, gateway = one()
    assert gateway.core is not None
    ask(world, gateway, address(reader))
    (about,) = fetching(gateway)._asked
    forged = Keys(b"s" * 16, b"\x01" + bytes(1312), about)
    assert not fetching(gateway).taken(CARL.address, forged, world.now), "somebody else was asked"
    assert fetching(gateway).taken(address(reader), forged, world.now)
    world.tell(gateway, events.Tick())
    assert made(gateway) == [NOBODY]
    assert gateway.counts[counters.KEYS_FORGED] == 1


def test_keys_that_come_too_late_are_not_wanted_any_more() -> None:
    world, reader, middle, gateway = one()
    world.crash(middle)
    ask(world, gateway, address(reader))
    world.run(11.0)
    assert made(gateway) == [NOBODY]
    world.start(middle)
    world.run(60.0)
    assert made(gateway) == []
