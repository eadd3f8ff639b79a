"""All that this program uses of the zeroconf package, behind names of our own.

Import this module only when mDNS is on: zeroconf costs 4 MB. ``qpq.discovery.adapters`` must be
installed before. zeroconf's ServiceBrowser is not used: it schedules a refresh for every PTR
record anybody sends, without a bound (0.154: 30,000 fakes, 30,000 timers).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

from zeroconf import (  # type: ignore[attr-defined]  # the DNS names are there, but not in its __all__
    DNSAddress,
    DNSOutgoing,
    DNSPointer,
    DNSQuestion,
    DNSRecord,
    DNSService,
    DNSText,
    Error,
    IPVersion,
    NonUniqueNameException,
    RecordUpdate,
    RecordUpdateListener,
    ServiceInfo,
    Zeroconf,
)
from zeroconf.asyncio import AsyncZeroconf

from qpq.discovery.dns import PTR, A, HostAddress, Pointer, Service, Text, split_text
from qpq.discovery.errors import MdnsUnavailableError, NameTakenError
from qpq.discovery.gate import MdnsGate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from qpq.discovery.dns import Question, Record
    from qpq.discovery.mdns import Publication

START_DEADLINE, CLOSE_DEADLINE = 5.0, 3.0

MAX_CACHE: Final = 1024
"""Records in zeroconf's own cache (it would take 10,000); when there are more, it is emptied."""

_INTERNET = 1


class Bridge:
    """One zeroconf instance on port 5353; ``take`` gets the records of each message heard."""

    def __init__(self, take: Callable[[Sequence[RecordUpdate]], None]) -> None:
        self._listener = _Listener(take)
        self._gate = MdnsGate()
        self._info: ServiceInfo | None = None
        self.ipv6 = _has_ipv6()
        self._version = IPVersion.All if self.ipv6 else IPVersion.V4Only
        self._zeroconf: AsyncZeroconf | None = None

    async def start(self, interfaces: list[str | int]) -> None:
        """Bind port 5353; ``interfaces``: IPv4 addresses, and indexes for IPv6. Raises MdnsUnavailableError."""
        logging.getLogger("zeroconf").setLevel(logging.ERROR)
        try:
            self._zeroconf = AsyncZeroconf(interfaces=interfaces, ip_version=self._version)
            await self._zeroconf.zeroconf.async_wait_for_start(timeout=START_DEADLINE)
        except (OSError, Error) as error:
            await self.close()
            raise MdnsUnavailableError(f"UDP port 5353: {error}") from error
        self._zeroconf.zeroconf.async_add_listener(self._listener, None)
        self._guard(self._zeroconf)

    async def close(self) -> None:
        """Say goodbye to the network and close; may be called twice."""
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            with suppress(OSError):  # the deadline's TimeoutError, or a socket whose interface is gone
                async with asyncio.timeout(CLOSE_DEADLINE):
                    await zeroconf.async_close()

    async def use(self, interfaces: list[str | int]) -> None:
        """Speak on these interfaces from now on; raises MdnsUnavailableError."""
        try:
            zeroconf = self._running()
            await zeroconf.async_update_interfaces(interfaces, self._version)
        except (OSError, RuntimeError, Error) as error:
            raise _unavailable(error) from error
        self._guard(zeroconf)

    async def publish(self, publication: Publication) -> None:
        """Probe for the name and announce it, or change what is published.

        Raises NameTakenError when somebody else has the name, MdnsUnavailableError for other failures.
        """
        info = ServiceInfo(
            publication.kind,
            publication.name,
            port=publication.port,
            properties=dict(publication.text),
            server=publication.host,
            parsed_addresses=list(publication.addresses),
        )
        try:
            if self._info is None:
                await self._running().async_register_service(info)
            else:
                await self._running().async_update_service(info)
        except NonUniqueNameException as error:
            raise NameTakenError(publication.name) from error
        except (OSError, RuntimeError, Error) as error:
            raise _unavailable(error) from error
        self._info = info

    def ask(self, questions: Iterable[Question], known: Iterable[tuple[str, str, int]], *, unicast: bool) -> None:
        """Send a query with known answers (type, instance, seconds left; RFC 6762 section 7.1)."""
        if self._zeroconf is None:
            return
        out = DNSOutgoing(0)
        for question in questions:
            asked = DNSQuestion(question.name, question.kind, _INTERNET)
            asked.unicast = unicast
            out.add_question(asked)
        for kind, name, left in known:
            out.add_answer_at_time(DNSPointer(kind, PTR, _INTERNET, left, name), 0)
        self._zeroconf.zeroconf.async_send(out)

    def trim(self) -> bool:
        """Empty zeroconf's cache if it has grown beyond MAX_CACHE; True when it was."""
        if self._zeroconf is None:
            return False
        cache = self._zeroconf.zeroconf.cache
        if sum(len(records) for records in cache.cache.values()) <= MAX_CACHE:
            return False
        for name in cache.names():
            cache.async_remove_records(cache.entries_with_name(name))
        return True

    @staticmethod
    def convert(update: RecordUpdate) -> Record | None:
        """Return one of zeroconf's records as ours, None if it is of no interest; raises DnsError for a damaged TXT."""
        record: DNSRecord = update.new
        name, ttl = record.name.lower(), int(record.ttl)
        if isinstance(record, DNSPointer) and record.type == PTR:
            return Pointer(name, ttl, record.alias.lower())
        if isinstance(record, DNSService):
            return Service(name, ttl, record.port, record.server.lower())
        if isinstance(record, DNSText):
            return Text(name, ttl, split_text(record.text))
        if isinstance(record, DNSAddress):
            family = socket.AF_INET if record.type == A else socket.AF_INET6
            return HostAddress(name, ttl, socket.inet_ntop(family, record.address), record.scope_id or 0)
        return None

    @property
    def refused(self) -> int:
        """How many messages were not even read, for their size or their number."""
        return self._gate.refused

    def _guard(self, zeroconf: AsyncZeroconf) -> None:
        """Put the gate between all sockets and zeroconf."""
        for reader in zeroconf.zeroconf.engine.readers:
            protocol = reader.transport.get_protocol()
            if not isinstance(protocol, _Guard):
                reader.transport.set_protocol(_Guard(self._gate, protocol))

    def _running(self) -> AsyncZeroconf:
        if self._zeroconf is None:
            raise MdnsUnavailableError("zeroconf is closed")
        return self._zeroconf


class _Guard(asyncio.DatagramProtocol):
    """Stands before zeroconf's protocol of one socket and passes on what the gate admits."""

    def __init__(self, gate: MdnsGate, inner: asyncio.BaseProtocol) -> None:
        self._gate = gate
        self._inner = cast("asyncio.DatagramProtocol", inner)
        self._loop = asyncio.get_running_loop()

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        """Take one message."""
        if self._gate.admit(data, str(addr[0]), self._loop.time()):
            self._inner.datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        """Pass on what the socket complains of."""
        self._inner.error_received(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the end."""
        self._inner.connection_lost(exc)


class _Listener(RecordUpdateListener):
    """Passes every batch of records on, whatever it is about."""

    def __init__(self, take: Callable[[Sequence[RecordUpdate]], None]) -> None:
        super().__init__()
        self._take = take

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:  # noqa: ARG002
        self._take(records)

    def async_update_records_complete(self) -> None:
        """Nothing is kept between records and their end."""


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError:
        return False
    return True


def _unavailable(error: Exception) -> MdnsUnavailableError:
    return MdnsUnavailableError(f"{type(error).__name__} {error}".strip())
