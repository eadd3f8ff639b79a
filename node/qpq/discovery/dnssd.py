"""What mDNS records say about other nodes: instances of the service, completed, checked and bounded.

Fed by zeroconf or by the one-shot browser. Records prove nothing, so what they can make the node
do is bounded: it dials addresses on its own links only, and the tables and rates are capped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpq.crypto.errors import IdentityError
from qpq.crypto.identity import Identity, parse_id, text_id
from qpq.discovery.dns import AAAA, SRV, TXT, A, HostAddress, Pointer, Question, Service, Text, can_be_asked
from qpq.discovery.interfaces import is_link_local, packed
from qpq.discovery.limits import TokenBucket
from qpq.mesh.events import PeerFound, Via
from qpq.netaddress import NetAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qpq.discovery.dns import Record

SERVICE_TYPE: Final = "_quicproquo._udp.local."
VERSION: Final = "1"

MAX_INSTANCES: Final = 128
"""Instances remembered: expired ones go first, then the oldest of no use; else the newcomer is refused."""

MAX_HOST_ADDRESSES: Final = 8
"""Addresses remembered of one host; the oldest goes."""

MAX_REPORTED: Final = 4
"""Addresses of one instance told to the core: IPv6 link-local first, IPv4 last."""

MAX_LIFE: Final = 1200
"""Seconds for which a record is believed, whatever its TTL says."""

TELL_AGAIN: Final = 300.0
"""Seconds before an unchanged instance is told to the core again."""

NEWCOMER_RATE, NEWCOMER_BURST = 4.0, 64.0
REPORT_RATE, REPORT_BURST = 4.0, 64.0
ASK_AGAIN: Final = 2.0
MAX_ASKED: Final = 3
_MAX_QUESTIONS = 12
_FIRST_MULTICAST = 224


@dataclass(slots=True)
class _Instance:
    heard: float
    ttl: int
    host: str = ""
    port: int = 0
    has_text: bool = False
    refused: bool = False
    identity: Identity | None = None
    asked: int = 0
    asked_at: float = -ASK_AGAIN
    told_at: float = 0.0
    told: tuple[PeerFound, ...] = ()

    def alive(self, now: float) -> bool:
        return now - self.heard < min(self.ttl, MAX_LIFE)


class ServiceTable:
    """Instances of the service on the links, turned into PeerFound.

    ``place(host, scope)`` says on which interface ``host`` can be reached: its index for a link-local
    address, 0 for another one, None when it lies on none of this machine's links.
    """

    __slots__ = ("_hosts", "_instances", "_newcomers", "_own", "_place", "_reports", "counters")

    def __init__(self, own: Identity, place: Callable[[str, int], int | None]) -> None:
        self._own = own
        self._place = place
        self._instances: dict[str, _Instance] = {}
        self._hosts: dict[str, dict[tuple[str, int], float]] = {}
        self._newcomers = TokenBucket(NEWCOMER_RATE, NEWCOMER_BURST)
        self._reports = TokenBucket(REPORT_RATE, REPORT_BURST)
        self.counters = dict.fromkeys(
            ("mdns_records", "mdns_ignored", "mdns_own", "mdns_refused", "mdns_off_link", "mdns_peers_found"), 0
        )

    def __len__(self) -> int:
        """How many instances are remembered."""
        return len(self._instances)

    def feed(self, records: Iterable[Record], now: float) -> list[PeerFound]:
        """Take the records of one message, in any order; return what the core should know."""
        touched: dict[str, None] = {}
        for record in sorted(records, key=_turn):
            self.counters["mdns_records"] += 1
            touched.update(dict.fromkeys(self._enter(record, now)))
        return [found for name in touched if name in self._instances for found in self._report(name, now)]

    def questions(self, now: float) -> list[Question]:
        """Return what to ask to complete instances half known; of each a few times only."""
        questions: dict[Question, None] = {}
        for name, instance in self._instances.items():
            missing = self._missing(name, instance, now)
            if not missing or instance.asked >= MAX_ASKED or now - instance.asked_at < ASK_AGAIN:
                continue
            if len(questions) + len(missing) > _MAX_QUESTIONS:
                break
            instance.asked += 1
            instance.asked_at = now
            questions.update(dict.fromkeys(missing))
        return list(questions)

    def known(self, now: float) -> list[tuple[str, int]]:
        """Return the instances that need not answer again, with what is left of their TTL (RFC 6762 section 7.1)."""
        found = []
        for name, instance in self._instances.items():
            left = int(instance.ttl - (now - instance.heard))
            if instance.told and left > instance.ttl // 2:
                found.append((name, left))
        return found

    def forget(self) -> None:
        """The interfaces changed: whatever is heard from now on is new."""
        self._instances.clear()
        self._hosts.clear()

    def _enter(self, record: Record, now: float) -> list[str]:
        """Note one record; return the names of the instances it concerns."""
        if isinstance(record, Pointer):
            return self._enter_pointer(record, now)
        if isinstance(record, HostAddress):
            return self._enter_address(record, now)
        instance = self._instances.get(record.name)
        if instance is None or not record.ttl:
            return []
        if isinstance(record, Service):
            if can_be_asked(Question(record.host, A)):
                instance.host, instance.port = record.host, record.port
                self._drop_unused_hosts()
        else:
            self._enter_text(instance, record)
        return [record.name]

    def _enter_pointer(self, record: Pointer, now: float) -> list[str]:
        if record.name != SERVICE_TYPE or not record.target.endswith("." + SERVICE_TYPE):
            return []
        instance = self._instances.get(record.target)
        if record.ttl == 0:
            self._instances.pop(record.target, None)
            return []
        if instance is None:
            if not can_be_asked(_about(record.target, SRV)):
                return []
            if not self._newcomers.take(now) or not self._make_room(now):
                self.counters["mdns_ignored"] += 1
                return []
            instance = self._instances[record.target] = _Instance(now, record.ttl)
        if now - instance.heard > TELL_AGAIN:
            instance.asked = 0
        instance.heard, instance.ttl = now, record.ttl
        return [record.target]

    def _enter_text(self, instance: _Instance, record: Text) -> None:
        entries = dict(entry.partition(b"=")[::2] for entry in reversed(record.entries))  # the first of a key counts
        try:
            text = entries.get(b"id", b"").decode("ascii")
            instance.identity = Identity(parse_id(text)) if text else None
        except (UnicodeDecodeError, IdentityError):
            instance.refused = True
        else:
            instance.refused = entries.get(b"ver", VERSION.encode()) != VERSION.encode()
        instance.has_text = True
        if instance.refused:
            self.counters["mdns_refused"] += 1
        elif instance.identity == self._own:
            instance.refused = True
            self.counters["mdns_own"] += 1

    def _enter_address(self, record: HostAddress, now: float) -> list[str]:
        names = [name for name, instance in self._instances.items() if instance.host == record.name]
        if names:
            key = (record.host, record.scope if is_link_local(record.host) else 0)
            addresses = self._hosts.setdefault(record.name, {})
            addresses.pop(key, None)
            if record.ttl:
                while len(addresses) >= MAX_HOST_ADDRESSES:
                    del addresses[next(iter(addresses))]
                addresses[key] = now + min(record.ttl, MAX_LIFE)
        return names

    def _missing(self, name: str, instance: _Instance, now: float) -> list[Question]:
        if instance.refused or instance.told or not instance.alive(now):
            return []
        missing = [] if instance.port else [_about(name, SRV)]
        if not instance.has_text:
            missing.append(_about(name, TXT))
        if instance.host and instance.host not in self._hosts:
            missing += [Question(instance.host, AAAA), Question(instance.host, A)]
        return missing

    def _report(self, name: str, now: float) -> list[PeerFound]:
        instance = self._instances[name]
        addresses = self._hosts.get(instance.host, {})
        if instance.refused or not instance.has_text or not instance.port or not addresses:
            return []
        reached = [self._reach(*key, instance.port) for key, dies in addresses.items() if dies > now]
        found = tuple(
            PeerFound(str(address), Via.MDNS, instance.identity)
            for address in sorted({address for address in reached if address}, key=_preference)[:MAX_REPORTED]
        )
        if not found:
            self.counters["mdns_off_link"] += 1
        elif found != instance.told or now - instance.told_at >= TELL_AGAIN:
            if not self._reports.take(now):
                self.counters["mdns_ignored"] += 1
                return []
            instance.told, instance.told_at = found, now
            self.counters["mdns_peers_found"] += 1
            return list(found)
        return []

    def _reach(self, host: str, scope: int, port: int) -> NetAddress | None:
        index = self._place(host, scope) if _is_dialable(host) else None
        return None if index is None else NetAddress(host, port, index)

    def _make_room(self, now: float) -> bool:
        if len(self._instances) < MAX_INSTANCES:
            return True
        for name in [name for name, instance in self._instances.items() if not instance.alive(now)]:
            del self._instances[name]
        if len(self._instances) >= MAX_INSTANCES:
            useless = next((name for name, instance in self._instances.items() if not instance.told), None)
            if useless is None:
                return False
            del self._instances[useless]
        self._drop_unused_hosts()
        return True

    def _drop_unused_hosts(self) -> None:
        used = {instance.host for instance in self._instances.values()}
        for host in [host for host in self._hosts if host not in used]:
            del self._hosts[host]


def instance_name(identity: Identity) -> str:
    """Return the name under which a node publishes itself: the first 16 characters of its id."""
    return text_id(identity)[:16]


def text_entries(identity: Identity, server: str, domain: str) -> dict[str, str]:
    """Return the TXT record of a node; ``server`` is host:port, ``domain`` the local domain."""
    return {"ver": VERSION, "server": server, "domain": domain, "id": text_id(identity)}


def _about(instance: str, kind: int) -> Question:
    """Return a question about an instance, whose own part is one label whatever dots are in it."""
    return Question(instance, kind, len(instance) - len(SERVICE_TYPE) - 1)


def _turn(record: Record) -> int:
    """Pointers make instances, services name hosts, so they are read in this order."""
    return (Pointer, Service, Text, HostAddress).index(type(record))


def _preference(address: NetAddress) -> tuple[bool, bool, NetAddress]:
    return (not address.is_link_local, not address.is_ipv6, address)


def _is_dialable(host: str) -> bool:
    """Whether ``host`` can be another machine: no loopback, multicast, unspecified or mapped address."""
    raw = packed(host)
    if len(raw) == 4:  # noqa: PLR2004 (IPv4)
        return raw[0] not in (0, 127) and raw[0] < _FIRST_MULTICAST
    return raw[0] != 0xFF and any(raw[:10])  # noqa: PLR2004 (ff00::/8)
