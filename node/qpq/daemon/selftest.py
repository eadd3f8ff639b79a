"""``qpq selftest``: does this program compute right on this machine? Known answers, then two nodes on loopback.

Writes nothing and needs no daemon. A line for each check; exit status 0 when all are right, 1 when one is not.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import TYPE_CHECKING

from qpq.crypto.hpke import setup_recipient
from qpq.crypto.identity import SecretIdentity
from qpq.crypto.kem import standard_kem
from qpq.crypto.prekeys import SIGNED_ENTROPY_BYTES, make_bundle, make_one_time, make_signed, open_bundle
from qpq.crypto.primitives import aead_seal, ed25519_public, ed25519_sign, hkdf, sha256, x25519
from qpq.crypto.sessions import ENTROPY_BYTES, Session
from qpq.daemon import selftest_rpc, selftest_xwing
from qpq.daemon.lean import asyncio
from qpq.daemon.shell import Shell
from qpq.errors import QpqError
from qpq.link.endpoint import Endpoint
from qpq.mesh import effects, events
from qpq.mesh.core import Core
from qpq.mesh.effects import State
from qpq.store.database import Database
from qpq.threads import beside
from qpq.wire.envelope import decode_envelope, encode_envelope, envelope_id, verify_envelope

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 60.0
"""Seconds for the exchange; a router of 580 MHz needs a few."""
_TEXT = "Grüße, 网状网络, \U0001f9ed"
_AFTER_2038 = 2**33
_TTL = 600
_SCOPE = 3
_DEPTH = 400
"""Calls: half of what the interpreter allows, and several times what a stack of 128 KiB holds."""


def run() -> int:
    """Check everything, print a line each, and return the exit status."""
    results = [_checked(name, check) for name, check in CHECKS]
    wrong = results.count(False)
    sys.stdout.write(f"selftest: {len(results) - wrong} right, {wrong} wrong, on a {sys.byteorder}-endian machine\n")
    return 1 if wrong else 0


def _checked(name: str, check: Callable[[], bool]) -> bool:
    try:
        right, why = check(), ""
    except (QpqError, OSError, TimeoutError, ValueError) as error:
        right, why = False, f": {error or type(error).__name__}"
    sys.stdout.write(f"{'ok' if right else 'WRONG'}: {name}{why}\n")
    sys.stdout.flush()
    return right


# --- known answers ---------------------------------------------------------------------------


def _sha256() -> bool:
    """FIPS 180-4, its example "abc"."""
    return sha256(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def _hkdf() -> bool:
    """RFC 5869, test case 1."""
    salt, info = bytes(range(13)), bytes(range(0xF0, 0xFA))
    found = hkdf(b"\x0b" * 22, salt=salt, info=info, length=42).hex()
    return found == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"


def _ed25519() -> bool:
    """RFC 8032 section 7.1, test 1."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = ed25519_public(seed)
    return public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a" and ed25519_sign(
        seed, public, b""
    ).hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )


def _x25519() -> bool:
    """RFC 7748 section 5.2, first vector."""
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    return x25519(scalar, point).hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"


def _aead() -> bool:
    """RFC 8439 section 2.8.2."""
    text = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would"
        b" be it."
    )
    nonce, aad = bytes.fromhex("070000004041424344454647"), bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    return aead_seal(bytes(range(0x80, 0xA0)), nonce, text, aad)[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"


def _hpke() -> bool:
    """RFC 9180 appendix A.2.1, sequence number 0."""
    public = bytes.fromhex("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a")
    secret = bytes.fromhex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb")
    enc = bytes.fromhex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a")
    sealed = bytes.fromhex("1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28")
    context = setup_recipient(enc, secret, public, b"Ode on a Grecian Urn")
    return context.open(sealed, b"Count-0") == b"Beauty is truth, truth beauty"


def _session() -> bool:
    """A post-quantum session from a bundle to messages each way, with a KEM step."""
    kem, life = standard_kem(), 1
    one, two = SecretIdentity(os.urandom(32)), SecretIdentity(os.urandom(32))
    signed, one_time = make_signed(kem, os.urandom(SIGNED_ENTROPY_BYTES)), make_one_time(os.urandom(32))
    bundle = open_bundle(make_bundle(two, signed, one_time), two.address)
    first = Session.initiate(one, bundle, kem, os.urandom(ENTROPY_BYTES), life=life)
    payload = first.seal(_TEXT.encode(), kem, os.urandom(ENTROPY_BYTES), life=life)[0]
    second, opened = Session.respond(two, one.address, payload, signed, one_time, kem, life=life)
    texts = [opened.plaintext]
    for sender, reader in ((second, first), (first, second), (second, first)):
        payload = sender.seal(_TEXT.encode(), kem, os.urandom(ENTROPY_BYTES), life=life)[0]
        texts.append(reader.open(payload, kem, life=life).plaintext)
    return texts == [_TEXT.encode()] * 4


ENVELOPE = (
    "89085820abc8972d1f5e8ff93fb2125270de7f076ac800da7ffe9a89ec189a1f2f01deb15820217a8ab0406383925adac23512883449a4cc"
    "52e7d8270f13d21e005cfd5df5061a00093a8018201a6955b90050c3f303ceb4f52616dabc309f222fc36b586001e8f751fe2943b213ce7f"
    "37324f9d22ee41eb063ac3ab29c54204498df1355a61bb3542007bcb44d06da6acd372b40823591493e997f05800245048602932708f6e49"
    "7c2800506cbbb5fdfd9bd4b30b61c9b85a002e1d7414c812771975db51584021b2e81abc846eb7ab7fa50e4adb625a98747b624714318daa"
    "06a2ad254d94161c389073efad0ac44354db11398a283a0b73dec6d7af9847f5b4125108036406"
)
"""The first envelope of schemas/vectors/envelope.json (a test compares them), and its id."""
ENVELOPE_ID = "d01cc14d32a05c2b979182cff9381d92e4e0a397469f4f0e6f65f7716589f540"


def _envelope() -> bool:
    data = bytes.fromhex(ENVELOPE)
    envelope = decode_envelope(data)
    found = envelope_id(envelope)
    return found.hex() == ENVELOPE_ID and verify_envelope(envelope) and encode_envelope(envelope) == data


def _machine() -> bool:
    """Times after 2038 and text beyond ASCII; both have been wrong on 32-bit C libraries."""
    return time.gmtime(_AFTER_2038)[:3] == (2242, 3, 16) and os.fsdecode(os.fsencode(_TEXT)) == _TEXT


def _addresses() -> bool:
    """Host names go through a codec whose tables no router has; the scope of a link-local address is kept."""
    port, numeric = 7000, socket.AI_NUMERICHOST
    (plain, *_) = socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_DGRAM, flags=numeric)
    (scoped, *_) = socket.getaddrinfo(f"fe80::1%{_SCOPE}", port, type=socket.SOCK_DGRAM, flags=numeric)
    try:
        socket.getaddrinfo("\u2603.invalid", port, flags=numeric)
    except (OSError, UnicodeError):  # refused: it is no number, and on a router the codec knows ASCII only
        return (plain[4], scoped[4]) == (("127.0.0.1", port), ("fe80::1", port, 0, _SCOPE))
    return False


def _threads() -> bool:
    """A thread has room for calls through C code; musl's own 128 KiB a thread are too few."""
    return asyncio.run(beside(lambda: _nested(_DEPTH))) == _DEPTH


def _nested(depth: int) -> int:
    """Return ``depth``, by as many calls of Python from C."""
    return max((depth - 1,), key=_nested) + 1 if depth else 0


# --- the exchange ----------------------------------------------------------------------------


class _Station:
    """A whole node but for disk, discovery and console: store in memory, links on loopback."""

    def __init__(self) -> None:
        self.user = SecretIdentity(os.urandom(32))
        self.texts: list[str] = []
        self.states: list[State] = []
        node = SecretIdentity(os.urandom(32))
        self._links = Endpoint(node, self.put)
        self._links.listen("127.0.0.1:0")
        self._shell = Shell(Core(node, boot=1, random=os.urandom), Database(":memory:"), self._links, self, group=False)
        self.put(events.UserAdded(self.user.seed))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._links.port}"

    def put(self, event: events.Event) -> None:
        self._shell.put(event)

    async def close(self) -> None:
        self._shell.close()
        await self._links.close_all(1.0)

    def delivered(self, effect: effects.Deliver) -> None:
        """Note a message."""
        self.texts.append(effect.text)

    def state_changed(self, effect: effects.StateChanged) -> None:
        """Note a state."""
        self.states.append(effect.state)

    def probed(self, effect: effects.ProbeDone) -> None:
        """Take no notice."""

    def neighbour_changed(self, effect: effects.NeighbourChanged) -> None:
        """Take no notice."""

    def outside(self, effect: effects.Effect) -> None:
        """Take no notice."""


async def _meet() -> bool:
    one, two = _Station(), _Station()
    try:
        one.put(events.Dial(two.address))
        for sender, reader in ((one, two), (two, one)):
            message = events.SendText(sender.user.address, reader.user.address, os.urandom(16), _TEXT, _TTL)
            sender.put(message)
        async with asyncio.timeout(DEADLINE):
            while not all(State.DELIVERED in station.states for station in (one, two)):
                await asyncio.sleep(0.01)
        return one.texts == two.texts == [_TEXT]
    finally:
        await one.close()
        await two.close()


def _exchange() -> bool:
    return asyncio.run(_meet())


CHECKS: tuple[tuple[str, Callable[[], bool]], ...] = (
    ("SHA-256 (FIPS 180-4)", _sha256),
    ("HKDF-SHA-256 (RFC 5869)", _hkdf),
    ("Ed25519 (RFC 8032)", _ed25519),
    ("X25519 (RFC 7748)", _x25519),
    ("ChaCha20-Poly1305 (RFC 8439)", _aead),
    ("HPKE (RFC 9180)", _hpke),
    ("X-Wing (draft-connolly-cfrg-xwing-kem)", selftest_xwing.agrees),
    ("a session with ML-KEM-768, messages each way", _session),
    ("envelope, wire version 1", _envelope),
    ("times after 2038, text beyond ASCII", _machine),
    ("names and scopes of addresses", _addresses),
    ("calls in a thread", _threads),
    ("a call over Cap'n Proto RPC", selftest_rpc.agrees),
    ("two nodes on loopback, a message each way", _exchange),
)
