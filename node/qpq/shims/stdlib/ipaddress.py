"""IPv4 and IPv6 addresses, for aioquic and zeroconf; networks and interfaces are not built in.

Pure Python that MicroPython runs too. Texts are those of the real module as of Python 3.13 (mapped IPv4 addresses are
shown with dots).
"""

from __future__ import annotations

_V4_BYTES, _V6_BYTES = 4, 16
_GROUPS = 8
_DIGITS = "0123456789"
_HEX_DIGITS = "0123456789abcdefABCDEF"


class AddressValueError(ValueError):
    """A text, number or bytes that are no address."""


class NetmaskValueError(ValueError):
    """Never raised."""


class _Address:
    """A number of ``max_prefixlen`` bits."""

    __slots__ = ("_ip",)

    version = 0
    max_prefixlen = 0
    _ip: int

    def __init__(self, address: object) -> None:
        if not isinstance(address, (int, bytes)):
            self._ip = self._parse(str(address))
        elif isinstance(address, int):
            if not 0 <= address < 1 << self.max_prefixlen:
                raise AddressValueError(str(address) + " is no IPv" + str(self.version) + " address")
            self._ip = address
        elif len(address) * 8 != self.max_prefixlen:
            raise AddressValueError(repr(address) + " is not " + str(self.max_prefixlen // 8) + " bytes long")
        else:
            self._ip = int.from_bytes(address, "big")

    def _parse(self, text: str) -> int:
        raise NotImplementedError

    @property
    def packed(self) -> bytes:
        """Return the address as it stands in a packet."""
        return self._ip.to_bytes(self.max_prefixlen // 8, "big")

    @property
    def compressed(self) -> str:
        """Return the short text."""
        return str(self)

    def __int__(self) -> int:
        return self._ip

    def _key(self) -> object:
        return self._ip

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Address):
            return NotImplemented
        return self.version == other.version and self._key() == other._key()

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, _Address):
            return NotImplemented
        if self.version != other.version:
            raise TypeError(str(self) + " and " + str(other) + " are not of the same version")
        return self._ip < other._ip

    def __le__(self, other: object) -> bool:
        return self == other or self < other

    def __gt__(self, other: object) -> bool:
        return not self <= other

    def __ge__(self, other: object) -> bool:
        return not self < other

    def __hash__(self) -> int:
        return hash((self.version, self._key()))

    def __repr__(self) -> str:
        return type(self).__name__ + "(" + repr(str(self)) + ")"

    def __reduce__(self) -> tuple[object, ...]:
        """Let pickle make it anew."""
        return type(self), (str(self),)

    def _in(self, prefix: int, bits: int) -> bool:
        return self._ip >> (self.max_prefixlen - bits) == prefix


class IPv4Address(_Address):
    """Four bytes."""

    __slots__ = ()

    version = 4
    max_prefixlen = 32

    def _parse(self, text: str) -> int:
        return int.from_bytes(_octets(text), "big")

    def __str__(self) -> str:
        """Return four numbers with dots."""
        return _dotted(self.packed)

    @property
    def exploded(self) -> str:
        """Return the text."""
        return str(self)

    @property
    def is_unspecified(self) -> bool:
        """Whether this is 0.0.0.0."""
        return self._ip == 0

    @property
    def is_loopback(self) -> bool:
        """Whether it never leaves the machine."""
        return self._in(127, 8)

    @property
    def is_link_local(self) -> bool:
        """Whether routers do not forward it (RFC 3927)."""
        return self._in(0xA9FE, 16)

    @property
    def is_multicast(self) -> bool:
        """Whether it is a group (RFC 3171)."""
        return self._in(0xE, 4)


class IPv6Address(_Address):
    """Sixteen bytes, with a scope where the text has one behind a percent sign."""

    __slots__ = ("_scope_id",)

    version = 6
    max_prefixlen = 128
    _scope_id: str | None

    def __init__(self, address: object) -> None:
        self._scope_id = None
        super().__init__(address)

    def _parse(self, text: str) -> int:
        host, percent, scope = text.partition("%")
        if percent:
            if not scope or "%" in scope:
                raise AddressValueError("Invalid IPv6 address: " + repr(text))
            self._scope_id = scope
        return _groups(host)

    @property
    def scope_id(self) -> str | None:
        """Return what stands behind the percent sign."""
        return self._scope_id

    @property
    def ipv4_mapped(self) -> IPv4Address | None:
        """Return the IPv4 address in ::ffff:0:0/96."""
        return IPv4Address(self._ip & 0xFFFF_FFFF) if self._in(0xFFFF, 96) else None

    def _key(self) -> object:
        return self._ip, self._scope_id

    def __str__(self) -> str:
        """Return the short text."""
        text = "::ffff:" + _dotted(self.packed[12:]) if self._in(0xFFFF, 96) else _short(self._ip)
        return text if self._scope_id is None else text + "%" + self._scope_id

    @property
    def exploded(self) -> str:
        """Return the text with every digit."""
        digits = self.packed.hex()
        text = ":".join([digits[start : start + 4] for start in range(0, 32, 4)])
        return text if self._scope_id is None else text + "%" + self._scope_id

    @property
    def is_unspecified(self) -> bool:
        """Whether this is ::."""
        mapped = self.ipv4_mapped
        return self._ip == 0 if mapped is None else mapped.is_unspecified

    @property
    def is_loopback(self) -> bool:
        """Whether it never leaves the machine."""
        mapped = self.ipv4_mapped
        return self._ip == 1 if mapped is None else mapped.is_loopback

    @property
    def is_link_local(self) -> bool:
        """Whether it is in fe80::/10 (RFC 4291)."""
        mapped = self.ipv4_mapped
        return self._in(0x3FA, 10) if mapped is None else mapped.is_link_local

    @property
    def is_multicast(self) -> bool:
        """Whether it is a group."""
        mapped = self.ipv4_mapped
        return self._in(0xFF, 8) if mapped is None else mapped.is_multicast


def ip_address(address: object) -> IPv4Address | IPv6Address:
    """Return the address of a text, number or bytes; raises ValueError."""
    for kind in (IPv4Address, IPv6Address):
        try:
            return kind(address)
        except AddressValueError:
            pass
    raise ValueError(repr(address) + " does not appear to be an IPv4 or IPv6 address")


def _octets(text: str) -> bytes:
    fields = text.split(".")
    for field in fields:
        plain = field and not field.strip(_DIGITS) and len(field) <= 3 and (field == "0" or field[0] != "0")
        if len(fields) != _V4_BYTES or not plain or int(field) > 0xFF:
            raise AddressValueError("Expected 4 octets in " + repr(text))
    return bytes([int(field) for field in fields])


def _groups(text: str) -> int:
    fields = text.split(":")
    if len(fields) < 3:
        raise AddressValueError("At least 3 parts expected in " + repr(text))
    if "." in fields[-1]:
        last = int.from_bytes(_octets(fields.pop()), "big")
        fields += ["%x" % (last >> 16), "%x" % (last & 0xFFFF)]
    head, gap, tail = ":".join(fields).partition("::")
    before = head.split(":") if head else []
    after = tail.split(":") if tail else []
    missing = _GROUPS - len(before) - len(after)
    if (missing < 1) if gap else missing:
        raise AddressValueError("Expected 8 groups in " + repr(text))
    number = 0
    for field in before + ["0"] * missing + after:
        if not field or len(field) > 4 or field.strip(_HEX_DIGITS):
            raise AddressValueError("Only hex digits permitted in " + repr(text))
        number = number << 16 | int(field, 16)
    return number


def _dotted(packed: bytes) -> str:
    return ".".join([str(octet) for octet in packed])


def _short(number: int) -> str:
    """Return the text of RFC 5952: the first of the longest runs of two or more zeros is left out."""
    groups = ["%x" % (number >> shift & 0xFFFF) for shift in range(112, -1, -16)]
    best_start, best = 0, 1
    start = 0
    while start < _GROUPS:
        length = 0
        while start + length < _GROUPS and groups[start + length] == "0":
            length += 1
        if length > best:
            best_start, best = start, length
        start += length or 1
    if best < 2:
        return ":".join(groups)
    return ":".join(groups[:best_start]) + "::" + ":".join(groups[best_start + best :])


def __getattr__(name: str) -> None:
    raise AttributeError("ipaddress." + name + " is not built into this program")
