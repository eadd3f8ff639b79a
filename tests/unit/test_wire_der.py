"""Strict DER: one form for each item, and a clear word for every other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qpq.wire.der import INTEGER, OCTET_STRING, SEQUENCE, Extension, Reader, tlv
from qpq.wire.errors import DerError

if TYPE_CHECKING:
    from collections.abc import Callable


def reader(text: str) -> Reader:
    return Reader(bytes.fromhex(text))


@pytest.mark.parametrize(
    ("text", "take", "words"),
    [
        ("04", lambda r: r.take(4), "not a certificate"),
        ("0301ff", lambda r: r.take(4), "not a certificate"),
        ("04817f" + "00" * 127, lambda r: r.take(4), "not strict DER"),
        ("04820080" + "00" * 128, lambda r: r.take(4), "not strict DER"),
        ("0480", lambda r: r.take(4), "not strict DER"),
        ("0483010000", lambda r: r.take(4), "not strict DER"),
        ("0402ff", lambda r: r.take(4), "is cut"),
        ("ff", lambda r: r.raw(2), "is cut"),
        ("ff", lambda r: r.end("it"), "bytes after it"),
        ("0200", lambda r: r.serial(), "none"),
        ("020180", lambda r: r.serial(), "none"),
        ("020100", lambda r: r.serial(), "none"),
        ("0215" + "01" * 21, lambda r: r.serial(), "none"),
        ("02020001", lambda r: r.serial(), "not strict DER"),
        ("0c01ff", lambda r: r.text(), "no text"),
        ("13012a", lambda r: r.text(), "no text"),
        ("1601ff", lambda r: r.text(), "no text"),
        ("0600", lambda r: r.oid(), "none"),
        ("060180", lambda r: r.oid(), "none"),
        ("0640" + "01" * 64, lambda r: r.oid(), "none"),
        ("06028001", lambda r: r.oid(), "not strict DER"),
        ("0605ffffffff01", lambda r: r.oid(), "too large"),
        ("0101fe", lambda r: r.boolean(), "not strict DER"),
        ("3100", lambda r: r.name(), "not a certificate"),
        ("30073105300306012a", lambda r: r.name(), "not a certificate"),
        ("30003000", lambda r: list(r.extensions()), "not a certificate"),
        ("300a06012a0101ff0400 0500", lambda r: list(r.extensions()), "after an extension"),
    ],
)
def test_whatever_is_not_strict_is_refused(text: str, take: Callable[[Reader], object], words: str) -> None:
    with pytest.raises(DerError, match=words):
        take(reader(text))


@pytest.mark.parametrize(
    ("tag", "digits", "words"),
    [
        ("17", b"491231235960Z", "a time that does not exist"),
        ("17", b"490229000000Z", "a day that does not exist"),
        ("17", b"491301000000Z", "a day that does not exist"),
        ("17", b"490100000000Z", "a day that does not exist"),
        ("17", b"4901010000Z", "not strict DER"),
        ("17", b"490101000000z", "not strict DER"),
        ("17", b"4901010000+1Z", "not strict DER"),
        ("18", b"20491231235959Z", "not strict DER"),
    ],
)
def test_a_time_that_is_none_is_refused(tag: str, digits: bytes, words: str) -> None:
    with pytest.raises(DerError, match=words):
        Reader(tlv(int(tag, 16), digits)).time()


@pytest.mark.parametrize(
    ("tag", "digits", "time"),
    [
        ("17", b"500101000000Z", 19500101000000),
        ("17", b"491231235959Z", 20491231235959),
        ("17", b"480229120000Z", 20480229120000),
        ("18", b"21000228000000Z", 21000228000000),
        ("18", b"24000229000000Z", 24000229000000),
    ],
)
def test_a_time_is_a_number_that_can_be_read(tag: str, digits: bytes, time: int) -> None:
    assert Reader(tlv(int(tag, 16), digits)).time() == time


def test_items_come_out_as_they_were_put_in() -> None:
    for size in (0, 127, 128, 255, 256, 60_000):
        data = Reader(tlv(OCTET_STRING, bytes(size)))
        assert data.take(OCTET_STRING) == bytes(size)
        data.end("the item")


def test_an_item_is_taken_with_its_head() -> None:
    data = reader("3003020105 0400")
    assert data.item(SEQUENCE) == bytes.fromhex("3003020105")
    assert data.is_at(OCTET_STRING)
    assert not data.skip(b"\x05")
    assert data.skip(b"\x04\x00")
    assert data.is_done()


def test_a_name_and_a_serial_are_taken_whole() -> None:
    data = reader("300c310a300806012a0c03717071 0202 00ff 1301 41 1601 40 0101ff")
    assert data.name() == bytes.fromhex("300c310a300806012a0c03717071")
    data.serial()
    data.text()
    data.text()
    assert data.boolean()
    assert not reader("0201").boolean()


def test_extensions_come_one_by_one() -> None:
    data = reader("3008 06012a 0101ff 0400 3006 06012b 0401 00")
    assert list(data.extensions()) == [Extension(b"\x2a", True, b""), Extension(b"\x2b", False, b"\0")]
    assert tlv(INTEGER, b"\1", b"\2") == b"\2\2\1\2"
