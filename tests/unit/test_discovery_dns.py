"""The decoder of multicast DNS responses and the encoder of queries."""

from __future__ import annotations

import struct

import pytest
from discovery_kit import dns_name, dns_record, dns_response

from qpq.discovery.dns import (
    AAAA,
    MAX_MESSAGE,
    MAX_QUERY,
    MAX_QUESTIONS,
    MAX_RECORDS,
    PTR,
    SRV,
    TXT,
    A,
    HostAddress,
    Pointer,
    Question,
    Response,
    Service,
    Text,
    decode,
    encode_query,
    split_text,
)
from qpq.discovery.errors import DnsError

TYPE = "_quicproquo._udp.local."
SERVICE = struct.pack(">HHH", 0, 0, 7000)


def test_all_kinds_of_records_that_matter_are_read() -> None:
    message = dns_response(
        dns_record(TYPE, PTR, dns_name("Node." + TYPE), 4500, 1),
        dns_record("Node." + TYPE, SRV, SERVICE + dns_name("Host.local.")),
        dns_record("node." + TYPE, TXT, b"\5ver=1\0\4id=x", 4500),
        dns_record("host.local.", A, bytes([10, 0, 0, 9])),
        dns_record("host.local.", AAAA, bytes([0xFE, 0x80, *[0] * 13, 9])),
        identifier=77,
    )
    assert decode(message) == Response(
        77,
        (
            Pointer(TYPE, 4500, "node." + TYPE),
            Service("node." + TYPE, 120, 7000, "host.local."),
            Text("node." + TYPE, 4500, (b"ver=1", b"id=x")),
            HostAddress("host.local.", 120, "10.0.0.9"),
            HostAddress("host.local.", 120, "fe80::9"),
        ),
    )


def test_compressed_names_are_followed_backwards() -> None:
    question = dns_name(TYPE) + struct.pack(">HH", PTR, 1)
    pointer = b"\xc0\x0c"
    target = b"\4node" + pointer
    record = pointer + struct.pack(">HHIH", PTR, 1, 10, len(target)) + target
    at = 12 + len(question) + len(pointer) + 10
    service = struct.pack(">H", 0xC000 | at) + struct.pack(">HHIH", SRV, 1, 10, 8) + SERVICE + pointer
    assert decode(dns_response(record, service, questions=question)).records == (
        Pointer(TYPE, 10, "node." + TYPE),
        Service("node." + TYPE, 10, 7000, TYPE),
    )


def test_other_types_and_classes_are_skipped_whatever_they_hold() -> None:
    strange = dns_record("x.local.", 47, b"\xff\xff\xff"), dns_record("x.local.", A, b"?", kind_class=4)
    assert decode(dns_response(*strange, dns_record(b"\0", A, b"abcd"))).records == (
        HostAddress("", 120, "97.98.99.100"),
    )


GOOD = dns_record("x.local.", A, b"abcd")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        bytes(11),
        dns_response() + bytes(MAX_MESSAGE),
        dns_response(flags=0x0400),
        dns_response(flags=0x8403),
        dns_response(flags=0x8C00),
        dns_response(GOOD)[:-1],
        dns_response(GOOD) + b"\0",
        dns_response(*[GOOD] * (MAX_RECORDS + 1)),
        struct.pack(">HHHHHH", 0, 0x8400, MAX_QUESTIONS + 1, 0, 0, 0),
        struct.pack(">HHHHHH", 0, 0x8400, 1, 0, 0, 0) + dns_name("x.") + b"\0",
        struct.pack(">HHHHHH", 0, 0x8400, 0, 1, 0, 0) + dns_name("x.") + bytes(9),
        dns_response(dns_record("x.local.", A, b"abc")),
        dns_response(dns_record("x.local.", AAAA, b"abcd")),
        dns_response(dns_record("x.local.", TXT, b"\5abcd")),
        dns_response(dns_record("x.local.", SRV, SERVICE)),
        dns_response(dns_record("x.local.", SRV, SERVICE + dns_name("h.") + b"\0")),
        dns_response(dns_record("x.local.", PTR, b"")),
        dns_response(dns_record("x.local.", PTR, b"\3abcd")),
        dns_response(dns_record("x.local.", PTR, b"\xc0")),
        dns_response(dns_record("x.local.", PTR, b"\xc0\xff")),
        dns_response(dns_record("x.local.", PTR, b"\xc0\0")),
        dns_response(dns_record("x.local.", PTR, b"\x40" + bytes(64))),
        dns_response(dns_record("x.local.", PTR, b"\2\xff\xfe\0")),
        dns_response(dns_record(b"\xc0\x0c", A, b"abcd")),
        dns_response(dns_record(b"\1a\xc0\x0c", A, b"abcd")),
        dns_response(dns_record((b"\x3f" + b"a" * 63) * 4 + b"\0", A, b"abcd")),
        dns_response(b"\x3fabc"),
    ],
)
def test_what_is_not_well_formed_to_the_last_byte_is_refused(message: bytes) -> None:
    with pytest.raises(DnsError):
        decode(message)


def test_pointers_that_chase_each_other_are_refused() -> None:
    first = dns_record("a.local.", 99, b"\xc0\x0c")
    loop = dns_record(struct.pack(">H", 0xC000 | (12 + len(first) - 2)), A, b"abcd")
    assert decode(dns_response(first, loop)).records[0].name == "a.local."
    there = 12 + len(first)
    back = dns_record(struct.pack(">H", 0xC000 | there + 4), A, b"abcd")
    with pytest.raises(DnsError):
        decode(dns_response(first, back))


def test_queries_ask_for_unicast_answers_and_keep_an_instance_name_one_label() -> None:
    name = "my.node." + TYPE
    query = encode_query([Question(TYPE, PTR), Question(name, SRV, 7)], identifier=9)
    assert query == (
        struct.pack(">HHHHHH", 9, 0, 2, 0, 0, 0)
        + dns_name(TYPE)
        + struct.pack(">HH", PTR, 0x8001)
        + b"\7my.node"
        + dns_name(TYPE)
        + struct.pack(">HH", SRV, 0x8001)
    )
    assert encode_query([Question("x.local.", A)], unicast=False)[-4:] == struct.pack(">HH", A, 1)


def test_queries_stay_small() -> None:
    assert encode_query([Question("x.local.", A)] * 40)[4:6] == struct.pack(">H", MAX_QUESTIONS)
    long = ".".join(["a" * 60] * 4) + "."
    query = encode_query([Question(long, A)] * 9)
    assert len(query) <= MAX_QUERY
    assert query[4:6] == struct.pack(">H", 4)


@pytest.mark.parametrize("name", ["a..local.", "a" * 64 + ".local.", ".".join(["a" * 60] * 5), ""])
def test_names_that_cannot_be_are_not_asked(name: str) -> None:
    with pytest.raises(DnsError):
        encode_query([Question(name, A)])


def test_the_strings_of_a_text_record() -> None:
    assert split_text(b"") == split_text(b"\0\0") == ()
    assert split_text(b"\1a\0\2bc") == (b"a", b"bc")
    with pytest.raises(DnsError):
        split_text(b"\1a\2b")
