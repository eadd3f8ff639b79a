"""Peers whose program ends without a word: the network says so (ICMP), and that is believed only so far."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from test_link_endpoint import PING, run, stations

from qpq.link.limits import LinkLimits
from qpq.link.sockets import UdpSocket
from qpq.mesh.events import DialFailed, FrameReceived, LinkDown, LinkUp
from qpq.netaddress import NetAddress

if TYPE_CHECKING:
    from qpq.link.sources import SockAddr

LIMITS = LinkLimits(patience_s=30.0, kicked_patience_s=0.5, handshake_s=2.0)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_peer_that_was_killed_is_given_up_sooner_than_one_that_is_silent(host: str) -> None:
    async def scenario() -> None:
        async with stations("anna", "ben", limits=LIMITS) as (anna, ben):
            anna.endpoint.connect(f"{host}:{ben.endpoint.port}")
            up = await anna.some(LinkUp)
            ben.endpoint._stop()
            began = time.monotonic()
            anna.endpoint.send(up.link, PING)
            down = await anna.some(LinkDown)
            assert time.monotonic() - began < 10
            assert "no answer" in down.reason

    run(scenario)


def test_a_peer_that_answers_stays_whatever_is_said_of_it() -> None:
    async def scenario() -> None:
        async with stations("anna", "ben", limits=LIMITS) as (anna, ben):
            anna.endpoint.connect(f"[::1]:{ben.endpoint.port}")
            up = await anna.some(LinkUp)
            for _ in range(20):
                anna.endpoint._doubt(("::1", ben.endpoint.port, 0, 0))
                anna.endpoint.send(up.link, PING)
                await asyncio.sleep(0.1)
            assert len(ben.of(FrameReceived)) == 20
            assert not anna.of(LinkDown)

    run(scenario)


def test_a_call_goes_on_whatever_is_said_of_who_is_called() -> None:
    async def scenario() -> None:
        async with stations("anna", "ben", limits=LIMITS) as (anna, ben):
            port = ben.endpoint.port
            ben.endpoint._stop()
            anna.endpoint.connect(f"[::1]:{port}")
            assert (await anna.some(DialFailed)).reason == "no answer"

    run(scenario)


@pytest.mark.parametrize(("host", "far"), [("127.0.0.1", ("127.0.0.1", 9)), ("::", ("::ffff:127.0.0.1", 9))])
def test_what_is_said_of_one_costs_another_nothing(host: str, far: tuple[str, int]) -> None:
    heard: list[SockAddr] = []
    here, there = UdpSocket(NetAddress(host, 0), heard.append), UdpSocket(NetAddress("127.0.0.1", 0))
    assert here.send(b"to nobody", far) == ""
    time.sleep(0.05)  # the answer is there
    assert here.send(b"to somebody", here.sockaddr(NetAddress("127.0.0.1", there.port))) == ""
    assert [address[:2] for address in heard] == [far]
    assert here.lost == 0
    time.sleep(0.05)
    found = there.receive()
    assert found is not None
    assert found[0] == b"to somebody"
    here.send(b"to nobody", far)
    time.sleep(0.05)
    assert here.receive() is None
    assert here.lost == 0
    assert len(heard) == 2
    assert not here.hear()
    here.close()
    there.close()
