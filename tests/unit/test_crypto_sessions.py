"""Sessions: how they begin, what opens, what is refused, and that refusing changes nothing."""

from __future__ import annotations

import pytest

from qpq.crypto import primitives
from qpq.crypto.errors import AuthenticationError, CryptoError, KeyGoneError, UnknownFormatError
from qpq.crypto.identity import Address
from qpq.crypto.prekeys import Bundle, make_bundle, make_one_time, make_signed, open_bundle
from qpq.crypto.sessions import ENTROPY_BYTES, MAX_OVERHEAD, Session, can_open, overhead, read_header
from session_kit import ANNA, BERT, EVE, KEM, LIFE, SIGNED, answer, begin, bundle, copy, draw, pair, read, seal, settled

ONE_TIME = make_one_time(draw(32))
REFUSALS = (AuthenticationError, KeyGoneError, UnknownFormatError)
SMALL_ORDER = bytes(32)


def respond(payload: bytes, *, peer: Address = ANNA.address, one_time: object = None) -> None:
    Session.respond(BERT, peer, payload, SIGNED, one_time, KEM, life=LIFE)  # type: ignore[arg-type]  # None or one


def test_a_conversation_goes_both_ways() -> None:
    anna, bert = pair(with_one_time=True)
    assert anna.session_id == bert.session_id
    assert len(anna.session_id) == 8
    for number in range(20):
        text = b"message %d" % number
        assert read(anna, seal(bert, text)) == text
        assert read(bert, seal(anna, text)) == text


def test_an_empty_message_can_be_sealed() -> None:
    anna, bert = settled()
    assert read(bert, seal(anna, b"")) == b""


def test_messages_open_in_any_order_each_once() -> None:
    anna, bert = settled()
    sent = [seal(anna, b"%d" % number) for number in range(10)]
    for number in (9, 3, 0, 5, 1, 2, 8, 4, 7, 6):
        assert read(bert, sent[number]) == b"%d" % number
    for payload in sent:
        before = bert.encode()
        with pytest.raises(KeyGoneError, match="opened before"):
            read(bert, payload)
        assert bert.encode() == before


def test_a_message_of_an_earlier_chain_opens_days_later_and_only_once() -> None:
    anna, bert = settled()
    late = seal(anna, b"late")
    assert read(bert, seal(anna, b"in time")) == b"in time"
    for number in range(3):
        assert read(anna, seal(bert, b"x")) == b"x"
        assert read(bert, seal(anna, b"%d" % number)) == b"%d" % number
    assert read(bert, late, life=LIFE + 30 * 86_400) == b"late"
    with pytest.raises(KeyGoneError, match="earlier part"):
        read(bert, late)


def test_any_message_of_the_first_chain_begins_the_session_and_the_others_open_in_it() -> None:
    anna = begin(one_time=ONE_TIME)
    sent = [seal(anna, b"%d" % number) for number in range(3)]
    bert, opened = answer(sent[1], one_time=ONE_TIME)
    assert opened.plaintext == b"1"
    for number in (2, 0):
        header = read_header(sent[number])
        assert can_open(bert, header)
        assert read(bert, sent[number]) == b"%d" % number
    with pytest.raises(KeyGoneError):
        read(bert, sent[1])


def test_messages_are_of_format_3_until_an_answer_or_a_proof_comes() -> None:
    anna, bert = pair()
    assert seal(anna, b"x")[0] == 3
    back = seal(bert, b"back")
    assert back[0] == 2
    assert read(anna, back) == b"back"
    assert seal(anna, b"x")[0] == 2

    other = begin()
    _, marker = other.seal(b"x", KEM, draw(), life=LIFE)
    assert len(marker) <= 40
    assert seal(other, b"x")[0] == 3
    assert other.proven(marker)
    assert seal(other, b"x")[0] == 2
    assert not other.proven(marker)


def test_both_begin_at_once_and_read_each_other() -> None:
    anna = begin()
    anna_signed = make_signed(KEM, draw(64))
    keys = open_bundle(make_bundle(ANNA, anna_signed, None), ANNA.address)
    bert = Session.initiate(BERT, keys, KEM, draw(), life=LIFE)
    from_anna, from_bert = seal(anna, b"from anna"), seal(bert, b"from bert")
    bert_second, opened = answer(from_anna)
    assert opened.plaintext == b"from anna"
    anna_second, opened = Session.respond(ANNA, BERT.address, from_bert, anna_signed, None, KEM, life=LIFE)
    assert opened.plaintext == b"from bert"
    assert anna.session_id == bert_second.session_id != anna_second.session_id == bert.session_id
    payload = seal(anna_second, b"on yours")
    assert not can_open(bert, read_header(payload))
    with pytest.raises(AuthenticationError):
        read(bert_second, payload)
    assert read(bert, payload) == b"on yours"
    assert can_open(bert, read_header(seal(anna_second, b"more")))


def test_a_plain_message_has_68_bytes_more_and_a_first_one_at_most_1242() -> None:
    anna, bert = settled()
    text = bytes(100)
    assert len(seal(bert, text)) - len(text) == 68
    assert overhead(bert) == 74
    bert._ratchet.sent = bert._ratchet.previous = 16_383
    assert len(seal(bert, text)) - len(text) == 70
    bert._ratchet.previous = 16_384
    assert len(seal(bert, text)) - len(text) == 74  # after 16,384 messages without an answer
    first = begin()
    assert len(seal(first, text)) - len(text) == 1228 <= overhead(first) <= overhead(None) == 1242
    with_one_time = begin(one_time=ONE_TIME)
    assert len(seal(with_one_time, text)) - len(text) == 1236 <= overhead(with_one_time)
    assert MAX_OVERHEAD == 1258
    assert overhead(anna) <= MAX_OVERHEAD


def test_the_overhead_told_is_never_too_small() -> None:
    anna, bert = begin(), None
    life = LIFE
    for number in range(12):
        life += 50_000
        told = overhead(anna)
        payload = seal(anna, b"", life)
        assert len(payload) <= told <= MAX_OVERHEAD
        if bert is None:
            bert, _ = answer(payload, life=life)
        else:
            read(bert, payload, life)
        told = overhead(bert)
        payload = seal(bert, b"", life)
        assert len(payload) <= told <= MAX_OVERHEAD, number
        read(anna, payload, life)


@pytest.mark.parametrize("with_one_time", [False, True])
def test_every_altered_byte_of_a_first_message_is_noticed(with_one_time: bool) -> None:
    one_time = ONE_TIME if with_one_time else None
    payload = seal(begin(one_time=one_time), b"first")
    for place in range(len(payload)):
        altered = payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :]
        with pytest.raises(REFUSALS):
            respond(altered, one_time=one_time)
    for length in range(len(payload)):
        with pytest.raises(UnknownFormatError if length == 0 else AuthenticationError):
            respond(payload[:length], one_time=one_time)
    with pytest.raises(AuthenticationError):
        respond(payload + b"x", one_time=one_time)


def messages_of_all_shapes() -> list[tuple[str, Session, bytes]]:
    """Return readers, and what they would open: every shape of format 2, and format 3 in a session that is there."""
    anna, bert = pair()
    cases = [("a second opening message", bert, seal(anna, b"second"))]
    bert_first = seal(bert, b"with a KEM key")
    cases.append(("with a KEM key", copy(anna), bert_first))
    read(anna, bert_first)
    with_ciphertext = seal(anna, b"with a KEM ciphertext")
    cases.append(("with a KEM ciphertext", copy(bert, of=BERT), with_ciphertext))
    read(bert, with_ciphertext)
    cases.append(("plain, the chain's second", copy(bert, of=BERT), seal(anna, b"plain")))
    read(anna, seal(bert, b"x"))
    seal(anna, b"lost")
    cases.append(("plain, a new chain", bert, seal(anna, b"new chain")))
    return cases


SHAPES = {name: (reader, payload) for name, reader, payload in messages_of_all_shapes()}


@pytest.mark.parametrize("name", SHAPES)
def test_every_altered_or_cut_byte_is_noticed_and_changes_nothing(name: str) -> None:
    reader, payload = SHAPES[name]
    before = reader.encode()
    for place in range(len(payload)):
        altered = payload[:place] + bytes([payload[place] ^ 0x80]) + payload[place + 1 :]
        with pytest.raises(REFUSALS):
            read(reader, altered)
        assert reader.encode() == before
        with pytest.raises(REFUSALS):
            read(reader, payload[:place])
    assert reader.encode() == before
    with pytest.raises(AuthenticationError):
        read(reader, payload + b"x")
    assert reader.encode() == before
    read(reader, payload)
    assert reader.encode() != before


def test_only_the_two_can_open_it() -> None:
    payload = seal(begin(), b"first")
    with pytest.raises(AuthenticationError):
        respond(payload, peer=EVE.address)
    with pytest.raises(AuthenticationError):
        Session.respond(EVE, ANNA.address, payload, SIGNED, None, KEM, life=LIFE)


def test_prekeys_that_are_gone_are_told_as_such() -> None:
    other = make_signed(KEM, draw(64))
    plain, one_time = seal(begin(), b"x"), seal(begin(one_time=ONE_TIME), b"x")
    with pytest.raises(KeyGoneError, match="a prekey that is no longer kept"):
        Session.respond(BERT, ANNA.address, plain, other, None, KEM, life=LIFE)
    for payload, given in ((one_time, None), (one_time, make_one_time(draw(32))), (plain, ONE_TIME)):
        with pytest.raises(KeyGoneError, match="one-time prekey that is no longer kept"):
            respond(payload, one_time=given)


def test_an_opening_with_impossible_keys_is_refused() -> None:
    payload = seal(begin(), b"x")
    start = read_header(payload).ephemeral
    at = payload.index(start)
    with pytest.raises(AuthenticationError, match="impossible keys"):
        respond(payload[:at] + SMALL_ORDER + payload[at + 32 :])
    with pytest.raises(AuthenticationError, match="impossible keys"):
        respond(payload, peer=Address(bytes(32)))


def test_a_bundle_with_impossible_keys_begins_nothing() -> None:
    good = bundle(one_time=ONE_TIME)
    for bad in (
        Bundle(good.owner, good.key_id, SMALL_ORDER, good.xwing),
        Bundle(good.owner, good.key_id, good.x25519, b"\xff" * 1216),
        Bundle(good.owner, good.key_id, good.x25519, good.xwing, b"i" * 8, SMALL_ORDER),
        Bundle(Address(bytes(32)), good.key_id, good.x25519, good.xwing),
    ):
        with pytest.raises(CryptoError):
            Session.initiate(ANNA, bad, KEM, draw(), life=LIFE)


def test_formats_and_flags_of_a_later_version_are_told_as_such() -> None:
    anna, bert = settled()
    plain = seal(anna, b"x")
    for first in (b"", b"\x00", b"\x01", b"\x04"):
        with pytest.raises(UnknownFormatError, match="newer qpq"):
            read_header(first + plain[1:] if first else b"")
    for flags in (4, 8, 0x80):
        with pytest.raises(UnknownFormatError, match="flags"):
            read(bert, bytes((2, flags)) + plain[2:])
    with pytest.raises(UnknownFormatError, match="flags"):
        respond(bytes((3, 8)) + seal(begin(), b"x")[2:])
    with pytest.raises(AuthenticationError, match="begins no session"):
        respond(plain)


def test_numbers_in_a_header_are_in_their_shortest_form() -> None:
    anna, _ = settled()
    plain = seal(anna, b"x")
    head = plain[:34]
    assert read_header(head + b"\x3f\x40\x40" + plain[36:]).pn == 64
    assert read_header(head + b"\x80\x00\x40\x00\xbf\xff\xff\xff" + plain[36:]).pn == 2**30 - 1
    for numbers in (b"\x40\x01\x00", b"\x00\x80\x00\x3f\xff", b"\xc0\x00\x00\x00\x40\x00\x00\x00\x00"):
        with pytest.raises(AuthenticationError, match="shortest form"):
            read_header(head + numbers + plain[36:])


def test_an_opening_message_of_another_session_is_not_opened() -> None:
    anna, bert = pair()
    other = seal(begin(), b"x")
    for session in (anna, bert):
        assert not can_open(session, read_header(other))
        with pytest.raises(AuthenticationError, match="another session"):
            read(session, other)
    reflected = seal(anna, b"x")
    assert not can_open(anna, read_header(reflected))
    with pytest.raises(AuthenticationError, match="another session"):
        read(anna, reflected)


def test_a_reflected_message_does_not_open() -> None:
    anna, _ = settled()
    payload = seal(anna, b"x")
    with pytest.raises(AuthenticationError):
        read(anna, payload)


def test_a_message_that_was_not_stored_opens_again() -> None:
    anna, bert = settled()
    skipped, payload = seal(anna, b"skipped"), seal(anna, b"payload")
    for sealed in (payload, skipped):
        opened = bert.open(sealed, KEM, life=LIFE)
        bert.unread(opened)
        assert can_open(bert, read_header(sealed))
        assert read(copy(bert, of=BERT), sealed) == opened.plaintext
        assert read(bert, sealed) == opened.plaintext
        with pytest.raises(KeyGoneError):
            read(bert, sealed)
    first = seal(begin(), b"first")
    session, opened = answer(first)
    session.unread(opened)
    assert read(session, first) == b"first"


def test_a_jump_leaves_numbers_out_that_the_reader_can_do_without() -> None:
    anna, bert = settled()
    lost = copy(anna)
    texts = [seal(lost, b"lost %d" % number) for number in range(3)]
    anna.jump(64)
    after = seal(anna, b"after the restart")
    assert read_header(after).n == 64 + read_header(texts[0]).n
    assert read(bert, after) == b"after the restart"
    for number, payload in enumerate(texts):
        assert read(bert, payload) == b"lost %d" % number


def test_a_jump_is_bounded_and_does_nothing_before_a_chain() -> None:
    anna, bert = settled()
    for wrong in (-1, 257):
        with pytest.raises(CryptoError, match="cannot jump"):
            anna.jump(wrong)
    read(anna, seal(bert, b"x"))
    before = anna.encode()
    anna.jump(64)
    assert anna.encode() == before


def test_two_messages_from_one_state_have_different_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[tuple[bytes, bytes]] = []
    real = primitives.aead_seal

    def noting(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
        used.append((key, nonce))
        return real(key, nonce, plaintext, aad)

    monkeypatch.setattr(primitives, "aead_seal", noting)
    anna, bert = settled()
    used.clear()
    twin = copy(anna)
    one, two = seal(anna, b"one"), seal(twin, b"two")
    assert read_header(one).n == read_header(two).n
    assert len(set(used)) == len({key for key, _ in used}) == 2
    assert read(bert, two) == b"two"
    with pytest.raises(KeyGoneError):
        read(bert, one)


def test_random_bytes_are_taken_exactly() -> None:
    anna, _ = settled()
    for size in (0, ENTROPY_BYTES - 1, ENTROPY_BYTES + 1):
        with pytest.raises(CryptoError, match="random bytes"):
            anna.seal(b"x", KEM, bytes(size), life=LIFE)
        with pytest.raises(CryptoError, match="random bytes"):
            Session.initiate(ANNA, bundle(), KEM, bytes(size), life=LIFE)


def test_the_last_own_step_is_told() -> None:
    anna, bert = pair()
    assert (anna.last_step, bert.last_step) == (LIFE, LIFE)
    read(anna, seal(bert, b"x", LIFE + 10), LIFE + 20)
    assert (anna.last_step, bert.last_step) == (LIFE, LIFE + 10)
    seal(anna, b"x", LIFE + 30)
    seal(anna, b"x", LIFE + 40)
    assert anna.last_step == LIFE + 30
    assert copy(anna).last_step == LIFE + 30


def test_no_secret_is_in_a_text_form() -> None:
    anna, bert = settled()
    payload = seal(anna, b"a secret text")
    opened = bert.open(payload, KEM, life=LIFE)
    shown = repr(anna) + repr(opened) + repr(anna._ratchet) + repr(bundle()) + repr(opened._looked)
    for secret in (anna._ratchet.root, anna._ratchet.sending, opened._looked.kept.key, opened._looked.chain):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
