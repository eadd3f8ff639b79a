"""The decoder of rtnetlink, the interface table, and the sequence of dumps."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from discovery_kit import (
    DELADDR,
    DELLINK,
    DONE,
    ERROR,
    LINK_LOCAL,
    NEWADDR,
    NEWLINK,
    OVERRUN,
    USUAL,
    address,
    attribute,
    done,
    interface,
    link,
    loopback,
    netlink,
)

from qpq.discovery.errors import NetlinkError
from qpq.discovery.follower import Follower, Phase
from qpq.discovery.interfaces import (
    MAX_ADDRESSES,
    MAX_INTERFACES,
    Interface,
    InterfaceAddress,
    InterfaceTable,
    is_link_local,
)
from qpq.discovery.netlink import (
    IFA_F_DADFAILED,
    IFA_F_DEPRECATED,
    IFA_F_OPTIMISTIC,
    IFA_F_TENTATIVE,
    IFF_UP,
    AddressMessage,
    DumpEnd,
    Interrupted,
    LinkMessage,
    parse,
    request_addresses,
    request_links,
)

orders = pytest.mark.parametrize("order", ["<", ">"])

RECORDED = Path(__file__).parents[1] / "vectors" / "rtnetlink.txt"


@orders
def test_a_link_is_read_in_either_byte_order(order: str) -> None:
    info = attribute(18, attribute(1, b"veth\0", order) + attribute(4, b"bridge\0", order), order)
    message = link(7, "lan1", extra=info + attribute(10, struct.pack(order + "I", 9), order), sequence=5, order=order)
    assert parse(message, order) == [LinkMessage(5, False, 7, "lan1", USUAL, 9, "veth", "bridge")]


@orders
def test_addresses_are_read_in_either_byte_order(order: str) -> None:
    messages = address(2, "fe80::1", 64, 0x80, order=order) + address(2, "10.0.0.9", 24, kind=DELADDR, order=order)
    assert parse(messages, order) == [
        AddressMessage(0, False, 2, "fe80::1", 64, 253, 0x80),
        AddressMessage(0, True, 2, "10.0.0.9", 24, 0, 0),
    ]


@orders
def test_requests_are_whole_messages_for_a_dump(order: str) -> None:
    for request, kind, size in ((request_links(3, order), 18, 40), (request_addresses(3, order), 22, 24)):
        assert struct.unpack_from(order + "IHHII", request) == (size, kind, 0x301, 3, 0)
        assert len(request) == size


def test_what_the_kernel_wrote_is_read() -> None:
    table, messages = InterfaceTable(), []
    for line in RECORDED.read_text().splitlines():
        if not line.startswith("#"):
            messages += parse(bytes.fromhex(line), "<")
            table.apply(messages[-1])
            if len(messages) == 4:
                whole = list(table)
    assert [type(message) for message in messages] == [LinkMessage] * 2 + [AddressMessage] * 4 + [LinkMessage] * 2
    assert [(i.name, i.kind, i.slave_kind, i.up, i.multicast) for i in whole] == [
        ("veth8", "veth", "", False, True),
        ("veth9", "veth", "", False, True),
    ]
    assert whole[1].addresses == (
        InterfaceAddress("fd00:9::1", 64, 0, 0),
        InterfaceAddress("10.9.0.1", 24, 0, 0),
    )
    assert len(table) == 0


def test_a_point_to_point_link_gives_its_own_end_not_the_peers() -> None:
    (message,) = parse(address(3, "10.0.0.2", 32, local="10.0.0.1"))
    assert isinstance(message, AddressMessage)
    assert message.host == "10.0.0.1"


def test_flags_beyond_eight_bits_come_from_their_attribute() -> None:
    (message,) = parse(address(3, "fe80::2", 64, 0x840))
    assert isinstance(message, AddressMessage)
    assert message.flags == 0x840


def test_the_view_of_a_bridge_deletes_no_link() -> None:
    assert parse(link(7, "lan1", kind=DELLINK, family=7)) == []


def test_other_families_and_message_types_are_skipped() -> None:
    phonet = struct.pack("=BBBBI", 35, 0, 0, 0, 1)
    assert parse(netlink(NEWADDR, phonet) + netlink(1, b"") + netlink(9999, b"abcd")) == []


def test_the_end_of_a_dump_tells_its_error() -> None:
    assert parse(done(4)) == [DumpEnd(4, 0)]
    assert parse(netlink(DONE, b"", sequence=4)) == [DumpEnd(4, 0)]
    assert parse(netlink(ERROR, struct.pack("=i", -16) + bytes(16), sequence=4)) == [DumpEnd(4, 16)]


def test_interruptions_are_told() -> None:
    assert parse(netlink(OVERRUN, b"", sequence=4)) == [Interrupted(4)]
    message = link(2, "eth0", sequence=6, header=0x12)
    assert parse(message) == [LinkMessage(6, False, 2, "eth0", USUAL), Interrupted(6)]


@pytest.mark.parametrize(
    "datagram",
    [
        b"\0" * 15,
        netlink(NEWLINK, b"")[:-1],
        struct.pack("=IHHII", 15, 1, 0, 0, 0),
        struct.pack("=IHHII", 17, 1, 0, 0, 0),
        struct.pack("=IHHII", 0xFFFFFFFF, 1, 0, 0, 0),
        netlink(NEWLINK, bytes(15)),
        netlink(NEWADDR, bytes(7)),
        netlink(DONE, b"ab"),
        netlink(ERROR, b""),
        link(0, "eth0"),
        link(-1, "eth0"),
        link(1, ""),
        link(1, "a" * 16),
        link(1, "eth0", extra=b"\0\0"),
        link(1, "eth0", extra=struct.pack("=HH", 3, 1)),
        link(1, "eth0", extra=struct.pack("=HH", 5, 1)),
        link(1, "eth0", extra=attribute(10, b"\0\0\0")),
        link(1, "eth0", extra=attribute(18, b"\1")),
        address(1, "fe80::1", 129),
        address(0, "fe80::1"),
        address(0x80000000, "fe80::1"),
        netlink(NEWADDR, struct.pack("=BBBBI", 10, 64, 0, 0, 1)),
        netlink(NEWADDR, struct.pack("=BBBBI", 10, 64, 0, 0, 1) + attribute(1, bytes(4))),
    ],
)
def test_damaged_messages_are_refused(datagram: bytes) -> None:
    with pytest.raises(NetlinkError):
        parse(datagram)


def test_a_name_of_strange_bytes_is_made_harmless() -> None:
    (message,) = parse(netlink(NEWLINK, struct.pack("=BxHiII", 0, 1, 2, 0, 0) + attribute(3, b"\xff\xfe0\0")))
    assert isinstance(message, LinkMessage)
    assert message.name == "��0"


# --- the table ------------------------------------------------------------------------------


def applied(*datagrams: bytes) -> InterfaceTable:
    table = InterfaceTable()
    for message in parse(b"".join(datagrams)):
        assert isinstance(message, (LinkMessage, AddressMessage))
        table.apply(message)
    return table


def test_the_table_says_what_an_interface_is() -> None:
    table = applied(link(2, "eth0"), address(2, "10.0.0.9", 24), address(2, "fe80::1"), address(2, "fd00::1"))
    (eth0,) = table
    assert (eth0.up, eth0.running, eth0.multicast, eth0.loopback) == (True, True, True, False)
    assert eth0.link_local == InterfaceAddress("fe80::1", 64, 253)
    assert [a.host for a in eth0.ipv6] == ["fe80::1", "fd00::1"]
    assert [a.host for a in eth0.ipv4] == ["10.0.0.9"]
    assert table.get(2) == table.named("eth0") == eth0
    assert (table.get(3), table.named("eth1"), len(table)) == (None, None, 1)
    assert loopback().loopback


def test_only_true_changes_are_changes() -> None:
    table = applied(link(2, "eth0"), address(2, "fe80::1"))
    messages = [*parse(link(2, "eth0", USUAL | 0x20000)), *parse(address(2, "fe80::1", flags=0x80))]
    assert [table.apply(message) for message in messages] == [False, False]  # type: ignore[arg-type]
    messages = [*parse(link(2, "eth0", IFF_UP)), *parse(address(2, "fe80::1", flags=IFA_F_DEPRECATED))]
    assert [table.apply(message) for message in messages] == [True, True]  # type: ignore[arg-type]


def test_deleted_things_are_gone_and_unknown_ones_do_not_matter() -> None:
    table = applied(link(2, "eth0"), address(2, "fe80::1"), address(3, "fe80::2"))
    for datagram, changed in (
        (address(2, "fe80::1", kind=DELADDR), True),
        (address(2, "fe80::1", kind=DELADDR), False),
        (link(2, "eth0", kind=DELLINK), True),
        (link(2, "eth0", kind=DELLINK), False),
    ):
        (message,) = parse(datagram)
        assert table.apply(message) is changed  # type: ignore[arg-type]
    assert len(table) == 0


def test_the_table_is_capped() -> None:
    table = applied(*(link(n, f"i{n}") for n in range(1, MAX_INTERFACES + 3)))
    assert (len(table), table.ignored) == (MAX_INTERFACES, 2)
    table = applied(link(2, "eth0"), *(address(2, f"fd00::{n:x}") for n in range(MAX_ADDRESSES + 3)))
    (eth0,) = table
    assert (len(eth0.addresses), table.ignored) == (MAX_ADDRESSES, 3)


def test_tentative_and_deprecated_addresses_are_not_usable_but_optimistic_ones_are() -> None:
    def with_flags(flags: int) -> InterfaceAddress:
        return InterfaceAddress("fe80::1", 64, 253, flags)

    assert with_flags(0).usable
    assert with_flags(IFA_F_TENTATIVE | IFA_F_OPTIMISTIC).usable
    for flags in (IFA_F_TENTATIVE, IFA_F_DADFAILED, IFA_F_DEPRECATED):
        assert not with_flags(flags).usable
        assert interface(addresses=(with_flags(flags),)).link_local is None


def test_a_port_of_a_bridge_is_told_from_a_port_of_batman() -> None:
    assert interface(master=9, slave_kind="bridge").is_port
    assert not interface(master=9, kind="vlan").is_port


def test_prefixes_cover_what_lies_in_them() -> None:
    assert InterfaceAddress("10.1.2.3", 20).covers("10.1.15.255")
    assert not InterfaceAddress("10.1.2.3", 20).covers("10.1.16.0")
    assert InterfaceAddress("fd00::1", 64).covers("fd00::ffff:1")
    assert not InterfaceAddress("fd00::1", 64).covers("fd00:0:0:1::1")
    assert not InterfaceAddress("10.1.2.3", 0).covers("fd00::1")
    assert InterfaceAddress("0.0.0.1", 0).covers("10.0.0.1")
    table = applied(link(2, "eth0"), address(2, "10.0.0.9", 24))
    assert table.is_on_link("10.0.0.200")
    assert not table.is_on_link("10.0.1.1")


def test_link_local_addresses_are_known_in_both_families() -> None:
    assert [is_link_local(h) for h in ("fe80::1", "febf::1", "fec0::1", "169.254.1.1", "10.0.0.1")] == [
        *(True, True, False, True, False)
    ]
    assert LINK_LOCAL.is_link_local


# --- the sequence of dumps ------------------------------------------------------------------


def followed() -> Follower:
    follower = Follower()
    follower.dump()
    follower.feed(link(1, "lo", sequence=1) + link(2, "eth0", sequence=1))
    request, changed = follower.feed(done(1))
    assert (request, changed) == (request_addresses(2), False)
    assert follower.feed(address(2, "fe80::1", sequence=2) + done(2)) == (None, True)
    return follower


def test_links_are_asked_for_first_then_addresses_then_notifications_are_followed() -> None:
    follower = followed()
    assert follower.phase is Phase.IDLE
    assert [i.name for i in follower.table] == ["lo", "eth0"]
    assert follower.feed(address(2, "fd00::1")) == (None, True)
    assert follower.feed(address(2, "fd00::1")) == (None, False)
    assert len(list(follower.table)[1].addresses) == 2


def test_nobody_sees_half_a_dump() -> None:
    follower = followed()
    before = list(follower.table)
    follower.lost()
    assert follower.phase is Phase.AGAIN
    assert follower.dump() == request_links(3)
    assert follower.feed(link(5, "wlan0", sequence=3)) == (None, False)
    assert list(follower.table) == before
    follower.feed(done(3))
    assert follower.feed(done(4)) == (None, True)
    assert [i.name for i in follower.table] == ["wlan0"]


def test_a_notification_during_a_dump_is_not_lost() -> None:
    follower = Follower()
    follower.dump()
    follower.feed(link(2, "eth0", sequence=1))
    follower.feed(link(3, "usb0"))
    follower.feed(done(1))
    follower.feed(link(2, "eth0", kind=DELLINK))
    follower.feed(done(2))
    assert [i.name for i in follower.table] == ["usb0"]


def test_a_new_dump_with_the_same_result_is_no_change() -> None:
    follower = followed()
    follower.dump()
    follower.feed(link(1, "lo", sequence=3) + link(2, "eth0", sequence=3) + done(3))
    assert follower.feed(address(2, "fe80::1", sequence=4) + done(4)) == (None, False)


@pytest.mark.parametrize(
    "fault",
    [
        netlink(OVERRUN, b"", sequence=2) + done(2),
        address(2, "fe80::1", sequence=2, header=0x12) + done(2),
        done(2, -4),
        netlink(ERROR, struct.pack("=i", -16), sequence=2),
        b"\1\2\3",
    ],
)
def test_an_interrupted_refused_or_damaged_dump_is_asked_for_again(fault: bytes) -> None:
    follower = Follower()
    follower.dump()
    follower.feed(link(2, "eth0", sequence=1) + done(1))
    assert follower.feed(fault) == (None, False)
    assert follower.phase is Phase.AGAIN
    assert len(follower.table) == 0
    follower.dump()
    follower.feed(link(2, "eth0", sequence=3) + done(3))
    follower.feed(done(4))
    assert len(follower.table) == 1


def test_answers_to_an_older_request_end_nothing() -> None:
    follower = Follower()
    follower.dump()
    follower.dump()
    assert follower.feed(done(1)) == (None, False)
    assert follower.phase is Phase.LINKS
    follower = followed()
    assert follower.feed(done(2)) == (None, False)
    assert follower.phase is Phase.IDLE


def test_sequence_numbers_wrap_without_zero() -> None:
    follower = Follower()
    follower._sequence = 0x7FFF_FFFF
    assert follower.dump() == request_links(1)


def test_damaged_datagrams_are_counted() -> None:
    follower = followed()
    follower.feed(b"\0")
    assert (follower.damaged, follower.phase) == (1, Phase.AGAIN)
    assert isinstance(follower.table.get(2), Interface)
