"""The small parts of the link room: tickets, sources, refusals, endings."""

from __future__ import annotations

import datetime as dt
import logging

import pytest
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import AlertDescription, CipherSuite, SessionTicket
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from link_world import secret

from qpq.link.endings import Ending, Verdict, explain
from qpq.link.limits import LinkLimits
from qpq.link.refusals import BURST, MAX_TEXT, Refusal, Refusals, printable
from qpq.link.sources import Bucket, Sources, is_prefix, is_this_machine, source_of
from qpq.link.tickets import TicketStore

ANNA, BEN, CARLA = (secret(name).identity for name in ("anna", "ben", "carla"))


def ticket(name: bytes) -> SessionTicket:
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    return SessionTicket(0, CipherSuite.CHACHA20_POLY1305_SHA256, start, start, b"secret", "", name)


# --- tickets ----------------------------------------------------------------------------------


def test_an_issued_ticket_is_redeemed_once() -> None:
    store = TicketStore(4, 60)
    store.issue(ticket(b"1"), ANNA, 0)
    bound = store.redeem(b"1", 1)
    assert bound is not None
    assert bound.identity == ANNA
    assert store.redeem(b"1", 1) is None
    assert store.redeem(b"2", 1) is None
    assert len(store) == 0


def test_a_given_ticket_is_taken_once_and_by_the_right_dial() -> None:
    store = TicketStore(4, 60)
    store.keep(ticket(b"1"), BEN, "ben:7000", 0)
    assert store.take(ANNA, "ben:7000", 1) is None
    assert store.take(None, "other:7000", 1) is None
    bound = store.take(None, "ben:7000", 1)
    assert bound is not None
    assert bound.identity == BEN
    assert store.take(BEN, "ben:7000", 1) is None


def test_tickets_end() -> None:
    store = TicketStore(4, 60)
    store.issue(ticket(b"1"), ANNA, 0)
    store.keep(ticket(b"2"), BEN, "ben:7000", 0)
    assert store.redeem(b"1", 60) is None
    assert store.take(BEN, "", 60) is None
    assert len(store) == 0


def test_the_newest_ticket_of_an_identity_replaces_the_older_one() -> None:
    store = TicketStore(4, 60)
    for name in (b"1", b"2"):
        store.issue(ticket(name), ANNA, 0)
        store.keep(ticket(name), BEN, "", 0)
    assert len(store) == 2
    assert store.redeem(b"1", 0) is None
    taken = store.take(BEN, "", 0)
    assert taken is not None
    assert taken.ticket.ticket == b"2"


def test_the_oldest_ticket_gives_way() -> None:
    store = TicketStore(2, 60)
    for number, identity in enumerate((ANNA, BEN, CARLA)):
        store.issue(ticket(bytes([number])), identity, number)
        store.keep(ticket(bytes([number])), identity, "", number)
    assert len(store) == 4
    assert store.redeem(b"\0", 3) is None
    assert store.redeem(b"\1", 3) is not None
    assert store.take(ANNA, "", 3) is None
    assert store.take(CARLA, "", 3) is not None


def test_an_identity_can_be_forgotten() -> None:
    store = TicketStore(2, 60)
    store.issue(ticket(b"1"), ANNA, 0)
    store.keep(ticket(b"2"), ANNA, "", 0)
    store.forget(ANNA)
    store.forget(BEN)
    assert len(store) == 0


# --- sources ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("10.0.0.1", 1), ("::ffff:10.0.0.1", 2, 0, 0), True),
        (("10.0.0.1", 1), ("10.0.0.2", 1), False),
        (("fe80::1", 1, 0, 1), ("fe80::1", 9, 0, 1), True),
        (("fe80::1", 1, 0, 1), ("fe80::1", 1, 0, 2), False),
        (("fe80::1", 1, 0, 1), ("fe80::2", 1, 0, 1), False),
        (("fe80::1%eth0", 1, 0, 1), ("fe80::1", 1, 0, 1), True),
        (("2001:db8::1", 1, 0, 0), ("2001:db8::2:3:4:5", 1, 0, 0), True),
        (("2001:db8::1", 1, 0, 0), ("2001:db8:0:1::1", 1, 0, 0), False),
        (("fec0::1", 1, 0, 0), ("fec0::2", 1, 0, 0), True),
        (("::1", 1, 0, 0), ("127.0.0.1", 1), True),
    ],
)
def test_who_answers_for_an_address(one: tuple[str, int], other: tuple[str, int], same: bool) -> None:
    assert (source_of(one) == source_of(other)) is same


def test_a_prefix_and_this_machine_are_known_by_their_source() -> None:
    assert is_prefix(source_of(("2001:db8::1", 1, 0, 0)))
    assert not is_prefix(source_of(("fe80::1", 1, 0, 1)))
    assert is_this_machine(source_of(("127.8.0.1", 1)))
    assert is_this_machine(source_of(("::1", 1, 0, 0)))
    assert not is_this_machine(source_of(("10.0.0.1", 1)))


def test_a_bucket_refills_no_higher_than_its_burst() -> None:
    bucket = Bucket(2.0, 3, 0)
    assert [bucket.take(0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.5), bucket.take(0.5)] == [True, False]
    assert [bucket.take(1000) for _ in range(4)] == [True, True, True, False]


def test_the_source_not_heard_of_for_longest_is_forgotten() -> None:
    sources = Sources(LinkLimits(sources=2, handshake_burst=1, handshakes_a_second=0.001), 0)
    assert not sources.hasty(b"aaaa", 0)
    assert not sources.hasty(b"bbbb", 0)
    assert sources.hasty(b"aaaa", 0)
    assert not sources.hasty(b"cccc", 0)  # b gives way
    assert sources.hasty(b"aaaa", 0)
    assert not sources.hasty(b"bbbb", 0)
    assert len(sources._rates) == 2


def test_this_machine_may_be_hasty() -> None:
    sources = Sources(LinkLimits(handshake_burst=1), 0)
    assert not any(sources.hasty(source_of(("127.0.0.1", 1)), 0) for _ in range(10))
    assert not sources._rates


class SourceCounts(RuleBasedStateMachine):
    """Counts follow connections, whatever order they come and go in."""

    def __init__(self) -> None:
        super().__init__()
        self.sources = Sources(LinkLimits(), 0)
        self.half_open: list[bytes] = []
        self.up: list[bytes] = []

    @rule(source=st.sampled_from([b"aaaa", b"bbbb", b"prefixed"]))
    def begin(self, source: bytes) -> None:
        self.sources.begin(source)
        self.half_open.append(source)

    @rule(ends=st.booleans())
    def finish(self, ends: bool) -> None:
        if self.half_open:
            source = self.half_open.pop()
            self.sources.finish(source)
            if ends:
                self.sources.end(source)
            else:
                self.up.append(source)

    @rule()
    def end(self) -> None:
        if self.up:
            self.sources.end(self.up.pop(0))

    @invariant()
    def counts_agree(self) -> None:
        assert self.sources.half_open == len(self.half_open) == sum(self.sources._half_open.values())
        assert self.sources.links == len(self.half_open) + len(self.up) == sum(self.sources._links.values())
        assert all(self.sources._links.values())


TestSourceCounts = SourceCounts.TestCase


# --- refusals ---------------------------------------------------------------------------------


def test_a_burst_is_told_and_then_one_line_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    for _ in range(BURST + 20):
        refusals.refuse(Refusal.ALPN, "10.0.0.1:7000", "wrong", 0)
    assert len(caplog.records) == BURST
    refusals.refuse(Refusal.ALPN, "10.0.0.1:7000", "wrong", 10.5)
    assert caplog.records[-1].message == "refused 10.0.0.1:7000: wrong (and 20 like it)"
    refusals.refuse(Refusal.SLOW, "10.0.0.1:7000", "slow", 10.5)
    assert caplog.records[-1].message == "closed 10.0.0.1:7000: slow"
    assert refusals.counters == {"refused_alpn": BURST + 21, "closed_slow": 1}
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


@given(st.text())
def test_words_of_a_peer_are_short_printable_ascii(text: str) -> None:
    shown = printable(text)
    assert len(shown) <= MAX_TEXT
    assert shown.isascii()
    assert shown.isprintable()


# --- endings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "verdict"),
    [
        (Ending(7, "", True, True), Verdict("closed by the peer: full")),
        (Ending(7, "later", True, True), Verdict("closed by the peer: full (later)")),
        (Ending(4711, "", True, True), Verdict("closed by the peer: code 4711")),
        (Ending(QuicErrorCode.CONNECTION_REFUSED, "", False, True), Verdict("refused by the peer: QUIC error 0x2")),
        (Ending(QuicErrorCode.INTERNAL_ERROR, "Idle timeout", False, False), Verdict("Idle timeout")),
        (
            Ending(QuicErrorCode.CRYPTO_ERROR + AlertDescription.no_application_protocol, "no", False, False),
            Verdict("no", Refusal.ALPN),
        ),
        (
            Ending(QuicErrorCode.CRYPTO_ERROR + AlertDescription.decrypt_error, "", False, True),
            Verdict(
                "refused by the peer: this node has not proven the key in its certificate: have one issued for the id"
                " that qpq status shows"
            ),
        ),
        (
            Ending(QuicErrorCode.CRYPTO_ERROR + AlertDescription.decrypt_error, "", False, False),
            Verdict(
                "it has not proven the key in its certificate: whoever runs it must have one issued for its own id",
                Refusal.CERTIFICATE,
            ),
        ),
    ],
)
def test_an_ending_is_told_in_words(ending: Ending, verdict: Verdict) -> None:
    assert explain(ending, in_handshake=True) == verdict


def test_faults_are_told_apart_by_when_they_happen() -> None:
    ending = Ending(QuicErrorCode.PROTOCOL_VIOLATION, "", False, False)
    assert explain(ending, in_handshake=True) == Verdict("QUIC error 0xa", Refusal.HANDSHAKE)
    assert explain(ending, in_handshake=False) == Verdict("QUIC error 0xa", Refusal.PROTOCOL)
