"""Room for others' envelopes, proofs, receipts that are false or late, and what is claimed by a user who comes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from test_mesh_relaying import (
    ABSENT,
    DAY,
    STRANGER,
    answers,
    core,
    envelope,
    frames,
    give,
    graph,
    held,
    holders,
    line,
    link,
    prove,
    state,
    store,
)

from cores import FullError, World, plain_world
from qpq.crypto.identity import Address, Identity, SecretIdentity
from qpq.mesh import events
from qpq.mesh.custody import MAX_GIVEN, MAX_TRIED, Custody, Held, Place
from qpq.mesh.due import Due
from qpq.mesh.effects import Persist, SendFrame, State
from qpq.mesh.flooded import cost_of
from qpq.mesh.proofs import Proofs
from qpq.mesh.quotas import Quotas
from qpq.mesh.records import KnownDelete, ProofInsert, RelayDelete, Relayed
from qpq.wire.envelope import Mode, envelope_hash, envelope_id, sign_envelope
from qpq.wire.frames import CloseCode, CustodyCode, Receipt, Role, Transfer
from qpq.wire.frames import Custody as Answers
from qpq.wire.receipts import receipt_id

if TYPE_CHECKING:
    from cores import Node

ANNA, BERT, CARL = Address(b"a" * 32), Address(b"b" * 32), Address(b"c" * 32)
ONE, TWO = Identity(b"1" * 32), Identity(b"2" * 32)


def item(
    number: int, *, via: Identity = ONE, sender: Address = ANNA, recipient: Address = BERT, size: int = 488
) -> Held:
    """Return an envelope that counts 1000 bytes."""
    row = Relayed(number.to_bytes(32, "big"), sender, recipient, via, False, 1000, 0, 1, 9, 1, size)
    made = Held(row, sender, via, hops=1, max_hops=9, copies=1)
    made.order = number
    return made


def filled(quotas: Quotas, count: int, start: int = 0, **how: object) -> list[Held]:
    """Add so many envelopes as far as there is room."""
    added = []
    for number in range(start, start + count):
        made = item(number, **how)  # type: ignore[arg-type]
        if quotas.room(made.via, made.sender, made.recipient, made.size) == ():  # type: ignore[arg-type]
            quotas.add(made, 0)
            added.append(made)
    return added


COST = cost_of(488)

# --- quotas ----------------------------------------------------------------------------------------------


def test_one_link_fills_two_thirds_and_more_of_them_share() -> None:
    quotas = Quotas(90 * COST)
    recipients = [Address(bytes([n]) * 32) for n in range(40)]
    counts = []
    for number in range(5):
        via = Identity(bytes([number]) * 32)
        added = [
            one
            for n, recipient in enumerate(recipients * 3)
            for one in filled(quotas, 1, 1000 * number + n, via=via, recipient=recipient)
        ]
        counts.append(len(added))
    assert counts == [60, 20, 7, 2, 1]
    assert quotas.size <= 90 * COST
    assert quotas.free == 90 * COST - quotas.size


def test_a_newcomer_finds_room_whatever_one_link_brings() -> None:
    quotas = Quotas(40 * COST)
    for recipient in range(40):
        filled(quotas, 40, 100 * recipient, recipient=Address(bytes([recipient]) * 32))
    assert filled(quotas, 1, 9000, via=TWO, recipient=CARL)
    for made in filled(quotas, 1, 9001, via=TWO):
        quotas.remove(made)


def test_a_link_without_room_at_all_is_refused() -> None:
    assert Quotas(200).room(ONE, ANNA, BERT, 1) is None


def test_the_sender_with_most_gives_way_to_one_with_less_and_never_the_other_way() -> None:
    quotas = Quotas(12 * COST)
    recipients = [Address(bytes([n]) * 32) for n in range(4)]
    for number in range(8):
        filled(quotas, 1, number, recipient=recipients[number % 4])
    assert quotas.room(ONE, ANNA, CARL, 488) is None, "who has most does not push out the own"
    newcomer = item(99, sender=CARL, recipient=CARL)
    gone = quotas.room(ONE, CARL, CARL, 488)
    assert gone is not None
    assert [one.order for one in gone] == [7], "the newest"
    for one in gone:
        quotas.remove(one)
    quotas.add(newcomer, 0)
    for number in range(3):
        recipient = Address(bytes([100 + number]) * 32)
        gone = quotas.room(ONE, CARL, recipient, 488)
        assert gone is not None
        for one in gone:
            assert one.sender == ANNA
            quotas.remove(one)
        quotas.add(item(200 + number, sender=CARL, recipient=recipient), 0)
    assert quotas.room(ONE, CARL, ANNA, 488) is None, "both have the same now"
    assert quotas.links() == ((ONE, 8, 8 * COST),)


def test_what_was_handed_on_gives_way_first() -> None:
    quotas = Quotas(12 * COST)
    added = [one for n in range(8) for one in filled(quotas, 1, n, recipient=Address(bytes([n]) * 32))]
    added[2].give(TWO)
    gone = quotas.room(ONE, CARL, CARL, 488)
    assert gone is not None
    assert [one.order for one in gone] == [2]


def test_a_large_envelope_takes_the_place_of_several_or_of_none() -> None:
    quotas = Quotas(12 * COST)
    for n in range(8):
        filled(quotas, 1, n, recipient=Address(bytes([n]) * 32))
    gone = quotas.room(ONE, CARL, CARL, 1500)
    assert gone is not None
    assert [one.order for one in gone] == [7, 6, 5]
    assert quotas.room(ONE, CARL, CARL, 2900) is None, "more than the quarter of one recipient"
    assert Quotas(12 * COST).room(ONE, CARL, CARL, 11_000) == (), "alone it would fit"


def test_one_recipient_gets_a_quarter_over_one_link_and_its_senders_share_that() -> None:
    quotas = Quotas(40 * COST)
    assert len(filled(quotas, 20)) == 10
    gone = quotas.room(ONE, CARL, BERT, 488)
    assert gone is not None
    assert [one.order for one in gone] == [9]
    assert filled(quotas, 1, 50, recipient=CARL), "another recipient has room"
    assert filled(quotas, 1, 51, via=TWO), "and so has another link"


def test_a_heavy_sender_is_found_again_after_it_gave_way() -> None:
    quotas = Quotas(12 * COST)
    heavy = [one for n in range(6) for one in filled(quotas, 1, n, recipient=Address(bytes([n]) * 32))]
    filled(quotas, 1, 10, sender=CARL, recipient=CARL)
    filled(quotas, 1, 11, sender=CARL, recipient=ANNA)
    assert quotas.room(ONE, BERT, ANNA, 488) == (heavy[5],)
    for one in heavy[3:]:
        quotas.remove(one)
    filled(quotas, 3, 20, sender=CARL, recipient=Address(b"z" * 32))
    for one in heavy[:3]:
        quotas.remove(one)
    assert quotas.links()[0][1] == 5


def test_whoever_overtakes_the_heaviest_sender_is_the_heaviest() -> None:
    quotas = Quotas(12 * COST)
    for n in range(4):
        filled(quotas, 1, n, recipient=Address(bytes([n]) * 32))
    for n in range(4):
        filled(quotas, 1, 10 + n, sender=CARL, recipient=Address(bytes([n]) * 32))
    assert quotas.room(ONE, BERT, ANNA, 488) is not None
    quotas.add(item(30, sender=CARL, recipient=ANNA), 0)
    gone = quotas.room(ONE, BERT, ANNA, 488)
    assert gone is not None
    assert gone[0].order == 30


def test_senders_take_turns_and_links_are_equals() -> None:
    quotas, custody = Quotas(1 << 20), Custody()
    flood = [item(n) for n in range(50)]
    for one in flood:
        custody.add(one)
        quotas.add(one, custody.clock)
    other = item(99, sender=CARL)
    custody.add(other)
    quotas.add(other, custody.clock)
    third = item(100, via=TWO, sender=BERT)
    custody.add(third)
    quotas.add(third, custody.clock)
    waiting = custody.queue(other).waiting()
    assert waiting.index(third) <= 1
    assert waiting.index(other) <= 3
    assert [one for one in waiting if one in flood] == flood


# --- the index ---------------------------------------------------------------------------------------------


def test_only_so_many_neighbours_are_remembered_for_an_envelope() -> None:
    one = item(1)
    peers = [Identity(bytes([n]) * 32) for n in range(MAX_GIVEN + 2)]
    assert all(one.give(peer) for peer in peers)
    assert not one.give(peers[-1])
    assert one.given == tuple(peers[-MAX_GIVEN:])
    assert one.unsure
    peers = [Identity(bytes([n]) * 32) for n in range(MAX_TRIED + 2)]
    for peer in (*peers, peers[-1], None):
        one.tire(peer)
    assert one.tried == tuple(peers[-MAX_TRIED:])


def test_what_is_gone_does_not_pile_up_among_the_expiries() -> None:
    custody = Custody()
    custody.add(item(0))
    for number in range(1, 1000):
        one = item(number)
        custody.add(one)
        assert custody.queue(one) is custody.destination(BERT)
        custody.remove(one)
    assert len(custody._expiring) <= 2 + 64 + 1
    assert custody.next_expiry() == 1000
    assert custody.expired(999.0) is None
    gone = custody.expired(1000.0)
    assert gone is not None
    custody.remove(gone)
    assert (custody.next_expiry(), custody.expired(1e9), len(custody)) == (None, None, 0)


def test_an_envelope_that_left_before_its_end_does_not_expire() -> None:
    custody = Custody()
    first, second = item(1), item(2)
    custody.add(first)
    custody.add(second)
    custody.remove(first)
    assert custody.expired(5000.0) is second


# --- proofs ----------------------------------------------------------------------------------------------------


def proof(number: int) -> tuple[bytes, bytes, bytes]:
    secret, digest = number.to_bytes(16, "big"), number.to_bytes(32, "big")
    return receipt_id(secret, digest), secret, digest


def test_proofs_are_bounded_expired_ones_go_first_then_those_that_expire_first() -> None:
    proofs = Proofs(4)
    for number in range(4):
        assert proofs.add(*proof(number), 100 + number, life=0.0, shared=False) == []
    assert proofs.add(*proof(4), 500, life=50.0, shared=False) == [proof(0)[0]]
    assert proofs.get(proof(0)[0]) is None
    assert proofs.get(proof(4)[0]) == proof(4)[1:]
    assert proofs.add(*proof(5), 500, life=200.0, shared=False) == [proof(1)[0], proof(2)[0], proof(3)[0]]
    assert proofs.add(*proof(5), 900, life=200.0, shared=True) == [], "known already"
    assert len(proofs) == 2


def test_a_proof_that_must_find_its_way_is_told_and_taken_back() -> None:
    proofs, told = Proofs(1), []
    proofs.listener = lambda short_id, expires: told.append((short_id, expires))
    first, second = proof(1), proof(2)
    proofs.add(*first, 100, life=0.0, shared=False)
    assert (told, proofs.known()) == ([], ())
    assert proofs.share(first[0][:16])
    assert proofs.share(first[0][:16])
    assert not proofs.share(second[0][:16])
    assert proofs.known() == ((first[0][:16], 100),)
    proofs.add(*second, 200, life=0.0, shared=True)
    assert told == [(first[0][:16], 100), (first[0][:16], 0), (second[0][:16], 200)]


def test_proofs_of_what_was_never_here_are_few_and_displace_no_others() -> None:
    proofs = Proofs(8)
    proofs.add(*proof(1), 100, life=0.0, shared=False)
    for number in range(10, 20):
        proofs.add_foreign(*proof(number), 100 + number)
    assert len(proofs) == 3
    assert proofs.get(proof(1)[0]) is not None
    assert proofs.get(proof(19)[0]) is not None
    proofs.add(*proof(19), 900, life=0.0, shared=False)
    assert len(proofs) == 3
    proofs.expire_foreign(117.0)
    assert len(proofs) == 3
    proofs.expire_foreign(118.0)
    assert len(proofs) == 2


# --- what a relay refuses --------------------------------------------------------------------------------------


def relay() -> tuple[World, Node, Node]:
    world, nodes = graph("ab")
    return world, nodes["b"], nodes["a"]


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"hops": 30}, CustodyCode.ACCEPTED),
        ({"hops": 31}, CustodyCode.TOO_MANY_HOPS),
        ({"hops": 255}, CustodyCode.TOO_MANY_HOPS),
        ({"age": DAY - 1}, CustodyCode.ACCEPTED),
        ({"age": DAY}, CustodyCode.EXPIRED),
    ],
)
def test_a_relay_takes_only_what_may_and_can_still_arrive(how: dict[str, int], code: CustodyCode) -> None:
    world, node, other = relay()
    assert answers(give(world, node, other, envelope(), **how)) == [code]
    assert len(core(node)._custody) == (code is CustodyCode.ACCEPTED)


@pytest.mark.parametrize(("said", "counted"), [(0, 1), (1, 1), (4, 4), (8, 4), (255, 4)])
def test_a_relay_believes_in_no_more_copies_than_an_origin_gives(said: int, counted: int) -> None:
    world, node, other = relay()
    made = envelope()
    give(world, node, other, made, copies=said)
    assert held(node, made).copies == counted


def test_a_false_signature_costs_the_neighbour_its_link_and_nobody_a_place() -> None:
    world, node, other = relay()
    made = replace(envelope(), signature=bytes(64))
    assert answers(give(world, node, other, made)) == [CustodyCode.BAD_SIGNATURE]
    assert node.closed[-1].code == CloseCode.NOT_PERMITTED
    assert len(core(node)._custody) == core(node)._relaying._quotas.size == 0


def test_a_node_without_users_takes_nothing_for_itself() -> None:
    world = plain_world()
    node, other = world.add("a", users=0), world.add("b")
    world.find(node, other)
    world.run(5.0)
    assert answers(give(world, node, other, envelope(node.secret.address))) == [CustodyCode.NOT_HERE]


def test_an_envelope_that_is_kept_is_not_taken_twice() -> None:
    world, node, other = relay()
    made = envelope()
    give(world, node, other, made)
    assert answers(give(world, node, other, made)) == [CustodyCode.DUPLICATE]
    assert held(node, made).given == (other.identity,)
    assert node.counts["custody.taken"] == 1


def test_an_envelope_that_was_delivered_is_answered_with_its_receipt_after_a_restart_too() -> None:
    world, node, other = relay()
    made = envelope()
    give(world, node, other, made)
    prove(world, node, other, made)
    receipt = [Receipt(((b"s" * 16, envelope_hash(made)),))]
    assert frames(give(world, node, other, made)) == receipt
    world.crash(node)
    world.run(1.0)
    world.start(node)
    world.find(node, other)
    world.run(60.0)
    assert frames(give(world, node, other, made)) == receipt
    assert len(core(node)._custody) == 0


def test_a_link_that_brings_too_much_to_keep_is_refused_for_a_while() -> None:
    world, nodes = graph("ab", relay_rate=1000.0, relay_burst=3000.0)
    ids = [bytes([n]) * 16 for n in range(9)]
    codes = [answers(give(world, nodes["b"], nodes["a"], envelope(secret=one)))[0] for one in ids]
    assert codes[0] is CustodyCode.ACCEPTED
    assert codes[-1] is CustodyCode.QUOTA
    world.run(10.0)
    assert answers(give(world, nodes["b"], nodes["a"], envelope(secret=ids[-1]))) == [CustodyCode.ACCEPTED]


def test_under_a_flood_memory_stays_inside_the_cap_and_other_links_find_room() -> None:
    world, nodes = graph("ab cb", relay_bytes=20_000)
    node = nodes["b"]
    for number in range(200):
        sender = SecretIdentity(bytes([number]) * 32)
        recipient = SecretIdentity(bytes([number, 7]) * 16).address
        give(world, node, nodes["a"], envelope(recipient, sender=sender, secret=number.to_bytes(16, "big")))
        assert core(node)._relaying._quotas.size <= 20_000
    before = {one.envelope_id for one in core(node)._custody.items()}
    assert 10 <= len(before) <= 22
    assert answers(give(world, node, nodes["c"], envelope())) == [CustodyCode.ACCEPTED]
    after = {one.envelope_id for one in core(node)._custody.items()}
    assert before < after, "nothing gives way to what comes over another link"


def test_a_flood_of_one_sender_does_not_keep_another_out_nor_waiting() -> None:
    world, nodes = graph("ab bc", relay_bytes=20_000, window_count=2)
    node = nodes["b"]
    world.deafen(nodes["c"])
    ids = [number.to_bytes(16, "big") for number in range(40)]
    for one in ids:
        give(world, node, nodes["a"], envelope(nodes["c"].user.address, secret=one))
    other = SecretIdentity(b"o" * 32)
    made = envelope(nodes["c"].user.address, sender=other, text="oh")
    assert answers(give(world, node, nodes["a"], made)) == [CustodyCode.ACCEPTED]
    assert node.counts["custody.evicted"] == 1
    world.undeafen(nodes["c"])
    world.run(5.0)
    texts = [deliver.text for deliver in nodes["c"].delivered]
    assert texts.index("oh") <= 4
    assert set(store(node).relay) == set()


def test_what_gave_way_to_an_envelope_that_did_not_fit_the_disk_is_deleted_all_the_same() -> None:
    world, nodes = graph("ab", relay_bytes=9_000)
    node = nodes["b"]
    for number in range(12):
        recipient = SecretIdentity(bytes([number]) * 32).address
        give(world, node, nodes["a"], envelope(recipient, secret=number.to_bytes(16, "big")))
    count = len(core(node)._custody)
    assert count == len(store(node).relay) >= 4
    store(node).room = 0
    made = envelope(sender=SecretIdentity(b"o" * 32))
    give(world, node, nodes["a"], made)
    assert node.counts["custody.evicted"] == 1
    assert len(core(node)._custody) == len(store(node).relay) == count - 1
    with patch.object(node.store, "apply", side_effect=FullError("broken")):
        prove(world, node, nodes["a"], envelope(SecretIdentity(b"\0" * 32).address, secret=bytes(16)), bytes(16))
    assert len(core(node)._custody) == count - 2


# --- receipts ------------------------------------------------------------------------------------------------------


def test_receipts_that_fit_nothing_cost_nothing_but_a_bounded_place() -> None:
    world, nodes = graph("ab", proofs=40, proof_burst=64)
    made = envelope()
    give(world, nodes["b"], nodes["a"], made)
    before = dict(store(nodes["b"]).known)
    for number in range(100):
        forged = Receipt(((number.to_bytes(16, "big"), b"h" * 32),))
        effects = world.tell(nodes["b"], events.FrameReceived(link(nodes["b"], nodes["a"]), forged))
        assert not any(isinstance(effect, Persist) for effect in effects)
    assert nodes["b"].counts["receipt.unknown"] == 100
    assert len(core(nodes["b"])._relaying.proofs) == 10
    assert store(nodes["b"]).known == before
    assert held(nodes["b"], made).place is Place.WAITING


def test_of_receipts_that_nobody_can_check_a_link_brings_few_into_circulation() -> None:
    world, nodes = graph("ab", proof_burst=64)
    node, number = nodes["b"], link(nodes["b"], nodes["a"])
    for second in range(600):
        forged = Receipt(((second.to_bytes(16, "big"), b"h" * 32),))
        world.tell(node, events.FrameReceived(number, forged))
        world.run(1.0)
    assert node.counts["receipt.unknown"] == 600
    assert 123 <= len(core(node)._relaying.proofs.known()) <= 125, "64 at once, then one in ten seconds"


def test_a_receipt_that_comes_again_is_counted_only() -> None:
    world, node, other = relay()
    made = envelope()
    give(world, node, other, made)
    prove(world, node, other, made)
    again = prove(world, node, other, made)
    assert not [effect for effect in again if isinstance(effect, Persist | SendFrame)]
    mine = envelope(node.user.address)
    give(world, node, other, mine)
    prove(world, node, other, mine)
    assert node.counts["receipt.known"] == 2


def test_a_proof_whose_way_back_is_cut_waits_to_be_reconciled() -> None:
    world, nodes = graph("ab bc")
    made = envelope()
    give(world, nodes["b"], nodes["a"], made)
    world.part(nodes["a"], nodes["b"])
    world.run(1.0)
    prove(world, nodes["b"], nodes["c"], made)
    assert [short for short, _ in core(nodes["b"])._relaying.proofs.known()] == [envelope_id(made)[:16]]


def test_old_proofs_are_forgotten_in_the_store_too() -> None:
    world, nodes = graph("ab", proofs=2)
    for number in range(4):
        secret = number.to_bytes(16, "big")
        made = envelope(secret=secret)
        give(world, nodes["b"], nodes["a"], made)
        effects = prove(world, nodes["b"], nodes["a"], made, secret)
    (persist,) = [effect for effect in effects if isinstance(effect, Persist)]
    assert {type(operation) for operation in persist.operations} >= {RelayDelete, ProofInsert, KnownDelete}
    assert len(store(nodes["b"]).known) == 2


def test_a_message_that_went_straight_to_its_recipient_leaves_no_proof() -> None:
    world, nodes = graph("ab")
    world.send(nodes["a"], nodes["b"].user.address)
    world.run(1.0)
    assert store(nodes["a"]).known == {}
    assert len(core(nodes["a"])._relaying.proofs) == 0


def test_broadcasts_do_not_displace_unicasts() -> None:
    world, nodes = graph("ab", flood_bytes=20_000, relay_bytes=20_000)
    made = envelope()
    give(world, nodes["b"], nodes["a"], made)
    for number in range(100):
        flood = sign_envelope(
            STRANGER,
            recipient=b"t" * 16,
            payload=number.to_bytes(1000, "big"),
            commitment=number.to_bytes(16, "big"),
            mode=Mode.CHANNEL,
            max_hops=64,
        )
        give(world, nodes["b"], nodes["a"], flood)
    assert held(nodes["b"], made)
    assert core(nodes["b"]).store_rows(world.now).count >= 1


# --- for people ------------------------------------------------------------------------------------------------------


def test_the_store_is_told_by_recipient_and_by_link() -> None:
    world, nodes = graph("ab cb")
    node = nodes["b"]
    world.send(node, ABSENT.address)
    world.send(node, STRANGER.address)
    for number in range(3):
        give(world, node, nodes["a"], envelope(secret=number.to_bytes(16, "big")), age=100)
    many = [SecretIdentity(bytes([number]) * 32).address for number in range(20)]
    for recipient in many:
        give(world, node, nodes["c"], envelope(recipient), age=50)
    world.run(10.0)
    row = core(node).store_rows(world.now)
    assert (row.count, row.oldest, len(row.by_recipient)) == (23, 110, 16)
    assert row.by_recipient[0][:2] == (ABSENT.address, 3)
    assert {via: count for via, count, _ in row.by_link} == {nodes["a"].identity: 3, nodes["c"].identity: 20}
    assert row.used == 23 * cost_of(row.size // 23) <= row.cap
    assert (row.proofs, row.proofs_cap) == (0, 16_384)
    leaf = world.add("leaf", role=Role.LEAF)
    row = core(leaf).store_rows(world.now)
    assert (row.count, row.size, row.oldest, core(leaf)._relaying.free) == (0, 0, 0, 0)


# --- a recipient comes to live here -----------------------------------------------------------------------------------


def arrives(world: World, node: Node, user: SecretIdentity) -> None:
    node.users.append(user)
    world.tell(node, events.UserAdded(user.seed, node.blocked.get(user.address, frozenset())))
    world.run(5.0)


def test_what_was_kept_for_a_stranger_who_becomes_a_user_is_delivered_and_its_senders_told() -> None:
    world, nodes = graph("ab")
    messages = [world.send(nodes["a"], ABSENT.address, str(number)) for number in range(20)]
    world.run(10.0)
    assert len(core(nodes["b"])._custody) == 20
    arrives(world, nodes["b"], ABSENT)
    assert [deliver.text for deliver in nodes["b"].delivered] == [str(number) for number in range(20)]
    assert {state(nodes["a"], message)[0] for message in messages} == {State.DELIVERED}
    assert holders(world) == []
    assert store(nodes["b"]).relay == {}


def test_what_cannot_be_delivered_to_a_new_user_stays_in_custody() -> None:
    world, nodes = graph("ab")
    node = nodes["b"]
    node.blocked[ABSENT.address] = frozenset({nodes["a"].user.address})
    world.send(nodes["a"], ABSENT.address)
    world.run(10.0)
    broken = sign_envelope(STRANGER, recipient=ABSENT.address, payload=b"x", commitment=b"c" * 16, max_hops=9)
    give(world, node, nodes["a"], broken)
    arrives(world, node, ABSENT)
    assert node.delivered == []
    assert len(core(node)._custody) == 2
    world.tell(node, events.UserRemoved(ABSENT.address))
    world.tell(node, events.Recalled((broken,)))
    assert len(core(node)._custody) == 2


def test_a_claim_that_the_store_does_not_take_leaves_the_envelope_where_it_was() -> None:
    world, nodes = graph("ab")
    node = nodes["b"]
    made = envelope()
    give(world, node, nodes["a"], made)
    store(node).room = 0
    arrives(world, node, ABSENT)
    assert node.delivered == []
    assert held(node, made)
    assert envelope_id(made) in store(node).relay
    store(node).room = 10
    world.crash(node)
    world.run(1.0)
    world.start(node)
    world.run(5.0)
    assert len(node.delivered) == 1
    assert len(core(node)._custody) == 0


def test_an_envelope_that_arrives_for_a_user_while_it_is_kept_here_is_shown_once() -> None:
    world, nodes = graph("ab cb")
    node = nodes["b"]
    made = envelope()
    give(world, node, nodes["c"], made)
    with patch.object(type(core(node)._claiming), "user_here", lambda *_: None):
        arrives(world, node, ABSENT)
    receipt = Receipt(((b"s" * 16, envelope_hash(made)),))
    assert frames(give(world, node, nodes["a"], made)) == [receipt]
    assert (Due.CLAIM, envelope_id(made)) in core(node)._timers._at
    world.run(1.0)
    assert len(node.delivered) == 1
    assert len(core(node)._custody) == 0
    assert ("b", "c", receipt) in world.frames
    core(node)._claiming.claim_due(envelope_id(made), world.now)
    core(node)._claiming.recalled(events.Recalled((made,)), world.now)


def test_a_claim_that_was_delivered_before_a_crash_is_only_let_go() -> None:
    world, nodes = graph("ab")
    node = nodes["b"]
    made = envelope()
    give(world, node, nodes["a"], made)
    kept = dict(store(node).relay)
    arrives(world, node, ABSENT)
    store(node).relay.update(kept)
    world.crash(node)
    world.run(1.0)
    world.start(node)
    world.run(5.0)
    assert len(node.delivered) == 1
    assert len(core(node)._custody) == 0
    assert store(node).relay == {}


def test_a_store_that_fails_twice_for_one_envelope_is_no_fault() -> None:
    world, node, other = relay()
    (persist,) = [effect for effect in give(world, node, other, envelope()) if isinstance(effect, Persist)]
    for _ in range(2):
        effects = world.tell(node, events.PersistFailed(persist.operations, "broken"))
    assert answers(effects) == []
    assert len(core(node)._custody) == 0


def test_an_answer_for_what_is_not_kept_here_is_counted() -> None:
    world, node, other = relay()
    world.tell(node, events.FrameReceived(link(node, other), Answers(((b"?" * 32, CustodyCode.QUOTA),))))
    assert node.counts["custody.unknown"] == 1


def test_a_line_keeps_nothing_once_all_is_said() -> None:
    world, nodes = line(4)
    for node in nodes:
        for other in nodes:
            if node is not other:
                world.send(node, other.user.address)
    world.run(30.0)
    assert holders(world) == []
    assert sum(len(node.delivered) for node in nodes) == 12


def test_a_receipt_that_comes_with_an_envelope_for_which_there_is_no_room_is_still_written() -> None:
    world, nodes = graph("ab cb")
    node = nodes["b"]
    world.deafen(nodes["c"])
    message = world.send(node, nodes["c"].user.address)
    made = next(frame.envelope for _, _, frame in world.frames if isinstance(frame, Transfer))
    store(node).room = 0
    both = (Receipt(((message, envelope_hash(made)),)), Transfer(0, 1, 0, envelope()))
    world.tell(node, events.FramesReceived(link(node, nodes["a"]), both))
    assert node.counts["store.failed"] == 1
    assert state(node, message)[0] is State.DELIVERED
    assert node.states[node.user.address, message] == [State.QUEUED, State.DELIVERED]
    assert len(core(node)._custody) == 0
