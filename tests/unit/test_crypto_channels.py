"""Channels: keys, tags, seals, and the text by which they are shared."""

from __future__ import annotations

import pytest

from qpq.console.qr_tables import ALPHANUMERIC
from qpq.crypto import primitives
from qpq.crypto.channels import (
    MAX_SHARE,
    OVERHEAD,
    SHARE_PREFIX,
    Channel,
    ChannelKind,
    channel_id,
    day_of,
    day_tag,
    decode_share,
    encode_share,
    open_broadcast,
    open_channel,
    open_key,
    seal_broadcast,
)
from qpq.crypto.errors import AuthenticationError, ChannelError, CryptoError, UnknownFormatError
from qpq.crypto.identity import Address, SecretIdentity, parse_base32, text_id

KEY = bytes(range(32))
ENTROPY = b"e" * 16
ANNA, BERT = SecretIdentity(b"a" * 32).address, SecretIdentity(b"b" * 32).address
TAG = day_tag(KEY, 20_000)
SEALED = seal_broadcast(KEY, ENTROPY, b"to all", tag=TAG, sender=ANNA)
PRIVATE = Channel("Dachgruppe", KEY, ChannelKind.PRIVATE)
ANNOUNCEMENT = Channel("Störungen", KEY, ChannelKind.ANNOUNCEMENT, (ANNA, BERT))
LARGEST = Channel(
    "x" * 64, KEY, ChannelKind.ANNOUNCEMENT, tuple(Address(number.to_bytes(32, "big")) for number in range(8))
)
CHANNELS = [open_channel("freifunk"), open_channel("Köln"), PRIVATE, ANNOUNCEMENT, LARGEST]


def share(data: bytes) -> str:
    """Write the text for bytes that no program writes, with the right checksum."""
    return SHARE_PREFIX + text_id(data + primitives.tagged_hash(b"qpq/1/channel-share", data)[:4])


def data_of(channel: Channel) -> bytes:
    raw = parse_base32(encode_share(channel).removeprefix(SHARE_PREFIX))
    assert raw is not None
    return raw[:-4]


# keys and tags


def test_the_key_of_an_open_channel_follows_from_its_topic() -> None:
    assert open_key("freifunk") == open_key("freifunk")
    assert len({open_key(topic) for topic in ("freifunk", "Freifunk", "freifunk2")}) == 3
    assert open_key("freifunk") == primitives.tagged_hash(b"qpq/1/channel-open", b"freifunk")


def test_the_id_tells_nothing_of_the_key_and_is_one_for_each_key() -> None:
    assert len(channel_id(KEY)) == 16
    assert channel_id(KEY) != channel_id(bytes(32))
    assert PRIVATE.id == channel_id(KEY)
    assert channel_id(KEY) not in (day_tag(KEY, 0), KEY[:16])


def test_each_day_has_another_tag_and_an_undated_envelope_that_of_day_0() -> None:
    tags = {day_tag(KEY, day) for day in range(400)}
    assert len(tags) == 400
    assert all(len(tag) == 16 for tag in tags)
    assert day_of(0) == 0
    assert day_of(86_399) == 0
    assert day_of(86_400) == 1


def test_a_day_that_no_time_has_is_refused() -> None:
    assert day_tag(KEY, day_of(253_402_300_799))
    for day in (-1, 2**32):
        with pytest.raises(CryptoError):
            day_tag(KEY, day)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    key = bytes(size)
    with pytest.raises(CryptoError):
        channel_id(key)
    with pytest.raises(CryptoError):
        day_tag(key, 1)
    with pytest.raises(CryptoError):
        seal_broadcast(key, ENTROPY, b"", tag=TAG, sender=ANNA)
    with pytest.raises(CryptoError):
        open_broadcast(key, SEALED, tag=TAG, sender=ANNA)


# seals


def test_a_broadcast_opens_under_its_key_tag_and_sender() -> None:
    assert open_broadcast(KEY, SEALED, tag=TAG, sender=ANNA) == b"to all"
    assert len(SEALED) == len(b"to all") + OVERHEAD
    assert b"to all" not in SEALED


def test_a_broadcast_is_sealed_as_the_page_of_the_protocol_says() -> None:
    message_key = primitives.hkdf(KEY, salt=ENTROPY, info=b"qpq/1/channel-seal" + TAG + ANNA, length=32)
    assert b"\x01" + ENTROPY + primitives.aead_seal(message_key, bytes(12), b"to all") == SEALED


def test_another_key_tag_or_sender_does_not_open_a_broadcast() -> None:
    for key, tag, sender in ((bytes(32), TAG, ANNA), (KEY, day_tag(KEY, 1), ANNA), (KEY, TAG, BERT)):
        with pytest.raises(AuthenticationError):
            open_broadcast(key, SEALED, tag=tag, sender=sender)


@pytest.mark.parametrize("place", range(len(SEALED)))
def test_every_changed_byte_of_a_broadcast_is_found(place: int) -> None:
    for change in (1, 0x80):
        changed = bytearray(SEALED)
        changed[place] ^= change
        with pytest.raises((AuthenticationError, UnknownFormatError)):
            open_broadcast(KEY, bytes(changed), tag=TAG, sender=ANNA)


@pytest.mark.parametrize("length", range(len(SEALED)))
def test_every_cut_of_a_broadcast_is_found(length: int) -> None:
    with pytest.raises((AuthenticationError, UnknownFormatError)):
        open_broadcast(KEY, SEALED[:length], tag=TAG, sender=ANNA)


def test_a_later_format_says_so() -> None:
    with pytest.raises(UnknownFormatError, match="newer"):
        open_broadcast(KEY, b"\x02" + SEALED[1:], tag=TAG, sender=ANNA)


def test_equal_entropy_at_two_senders_or_days_gives_two_keys() -> None:
    others = [
        seal_broadcast(KEY, ENTROPY, b"to all", tag=TAG, sender=BERT),
        seal_broadcast(KEY, ENTROPY, b"to all", tag=day_tag(KEY, 1), sender=ANNA),
    ]
    assert len({sealed[17:] for sealed in [SEALED, *others]}) == 3


def test_entropy_tag_and_sender_of_another_length_are_refused() -> None:
    with pytest.raises(CryptoError):
        seal_broadcast(KEY, b"e" * 15, b"", tag=TAG, sender=ANNA)
    with pytest.raises(CryptoError):
        seal_broadcast(KEY, ENTROPY, b"", tag=TAG[1:], sender=ANNA)
    with pytest.raises(CryptoError):
        seal_broadcast(KEY, ENTROPY, b"", tag=TAG, sender=Address(b""))


# what a channel is


@pytest.mark.parametrize("topic", ["", " x", "x ", "\u00a0x", "a\nb", "a\x7fb", "a\x9bb", "x" * 65, "ü" * 33, "\ud800"])
def test_a_topic_that_is_no_plain_short_text_is_refused(topic: str) -> None:
    with pytest.raises(ChannelError):
        open_channel(topic)
    with pytest.raises(ChannelError):
        Channel(topic, KEY, ChannelKind.PRIVATE)


def test_an_open_channel_has_the_key_of_its_topic_and_no_other() -> None:
    with pytest.raises(ChannelError):
        Channel("freifunk", KEY, ChannelKind.OPEN)
    with pytest.raises(ChannelError):
        Channel("freifunk", KEY[1:], ChannelKind.PRIVATE)


@pytest.mark.parametrize(
    ("kind", "signers"),
    [
        (ChannelKind.PRIVATE, (ANNA,)),
        (ChannelKind.ANNOUNCEMENT, ()),
        (ChannelKind.ANNOUNCEMENT, (ANNA, ANNA)),
        (ChannelKind.ANNOUNCEMENT, (Address(ANNA[1:]),)),
        (ChannelKind.ANNOUNCEMENT, tuple(Address(bytes([number]) * 32) for number in range(9))),
    ],
)
def test_only_announcement_channels_have_signers_one_to_eight_each_once(
    kind: ChannelKind, signers: tuple[Address, ...]
) -> None:
    with pytest.raises(ChannelError):
        Channel("t", KEY, kind, signers)


def test_a_channel_does_not_show_its_key() -> None:
    assert repr(KEY) not in repr(PRIVATE)


# the text to share


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.topic[:12])
def test_a_share_text_gives_the_channel_back(channel: Channel) -> None:
    text = encode_share(channel)
    assert decode_share(text) == channel
    assert text == text.lower()
    assert len(text) <= 587


def test_white_space_and_capitals_do_not_matter() -> None:
    text = encode_share(ANNOUNCEMENT)
    wrapped = " \r\n" + "\n\t".join(text[at : at + 20] for at in range(0, len(text), 20)) + "\u2003\n"
    assert decode_share(wrapped) == decode_share(text.upper()) == decode_share(text.capitalize()) == ANNOUNCEMENT


def test_a_share_text_in_capitals_fits_the_alphanumeric_mode_of_a_qr_code() -> None:
    assert set(encode_share(LARGEST).upper()) <= set(ALPHANUMERIC)


def test_an_open_channels_text_holds_no_key() -> None:
    assert open_key("freifunk") not in data_of(open_channel("freifunk"))


def test_a_channels_key_is_not_remembered_with_the_ids_that_are() -> None:
    text_id.cache_clear()
    assert decode_share(encode_share(PRIVATE)) == PRIVATE
    assert text_id.cache_info().currsize == 0


@pytest.mark.parametrize("channel", [CHANNELS[0], PRIVATE, ANNOUNCEMENT], ids=lambda channel: channel.topic)
def test_every_cut_and_every_changed_letter_of_a_share_text_is_refused(channel: Channel) -> None:
    text = encode_share(channel)
    for end in range(len(text)):
        with pytest.raises(ChannelError):
            decode_share(text[:end])
    for place in range(len(text)):
        for letter in "q7":
            if text[place] != letter:
                with pytest.raises(ChannelError):
                    decode_share(text[:place] + letter + text[place + 1 :])


def test_two_letters_that_changed_places_are_found() -> None:
    text = encode_share(PRIVATE)
    for place in range(len(SHARE_PREFIX), len(text) - 1):
        if text[place] != text[place + 1]:
            with pytest.raises(ChannelError):
                decode_share(text[:place] + text[place + 1] + text[place] + text[place + 2 :])


def test_a_letter_from_another_alphabet_that_lowers_to_a_latin_one_is_refused() -> None:
    text = encode_share(PRIVATE).upper()
    assert "K" in text
    with pytest.raises(ChannelError):
        decode_share(text.replace("K", "\u212a"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "begins with"),
        ("hello", "begins with"),
        ("qpq-identity-1:aaaa", "begins with"),
        ("qpq-channel:", "damaged"),
        ("qpq-channel:a", "damaged"),
        ("qpq-channel:0189", "damaged"),
        ("qpq-channel:" + "a" * MAX_SHARE, "too many"),
        (share(b""), "damaged"),
        (share(b"\x01"), "no kind"),
        (share(b"\x01\x01"), "no kind"),
        (share(b"\x01\x03\x01x" + KEY), "no kind"),
        (share(b"\x01\x00\x01x" + open_key("x")), "ends with its topic"),
        (share(b"\x01\x00\x02x"), "ends with its topic"),
        (share(b"\x01\x00\x00"), "a topic is"),
        (share(b"\x01\x01\x01\xff" + KEY), "not text"),
        (share(b"\x01\x01\x03\xed\xa0\x80" + KEY), "not text"),
        (share(b"\x01\x01\x01x"), "no key"),
        (share(b"\x01\x01\x01x" + KEY[1:]), "cut"),
        (share(b"\x01\x01\x01x" + KEY + ANNA), "only an announcement"),
        (share(b"\x01\x02\x01x" + KEY), "1 to 8"),
        (share(b"\x01\x02\x01x" + KEY + ANNA * 2), "1 to 8"),
        (share(b"\x01\x02\xff" + b"x" * 64), "no key"),
    ],
)
def test_a_text_that_shares_no_channel_says_why(text: str, complaint: str) -> None:
    with pytest.raises(ChannelError, match=complaint):
        decode_share(text)


def test_a_share_text_of_a_later_version_says_so() -> None:
    with pytest.raises(UnknownFormatError, match="newer"):
        decode_share(share(b"\x02whatever follows"))


# base32


@pytest.mark.parametrize("size", range(12))
def test_base32_of_any_length_reads_back(size: int) -> None:
    data = bytes(range(250, 250 - size, -1))
    assert parse_base32(text_id(data)) == (data or None)


@pytest.mark.parametrize("text", ["", "a", "aaa", "aaaaaa", "ab", "A", "aA", "a1", "a=", "\u0661a"])
def test_what_is_no_base32_in_its_one_form_is_nothing(text: str) -> None:
    assert parse_base32(text) is None
