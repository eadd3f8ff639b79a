"""What sealing costs the machine that runs this: an operation's name on stdin, how often, milliseconds on stdout.

Started by ``sealing.py``, on a target's own interpreter or on this machine's; needs nothing but ``qpq``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

from qpq.crypto.identity import SecretIdentity
from qpq.crypto.kem import standard_kem
from qpq.crypto.prekeys import SIGNED_ENTROPY_BYTES, make_bundle, make_one_time, make_signed, open_bundle
from qpq.crypto.primitives import argon2id
from qpq.crypto.sessions import ENTROPY_BYTES, Session
from qpq.store.vault import sized

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = b"x" * 200
LIFE = 1
TURNS = 4  # until the first fresh ML-KEM step is through
AVAILABLE = 40 << 20  # bytes of a router with 64 MB


class Machine:
    """Two users with a session between them; each method is one operation."""

    def __init__(self) -> None:
        self.kem = standard_kem()
        self.one, self.two = SecretIdentity(os.urandom(32)), SecretIdentity(os.urandom(32))
        self.prekeys()
        self.begin()
        self.respond()
        for _ in range(TURNS):
            self.turn()

    def prekeys(self) -> None:
        """Make a week's signed prekey, a one-time prekey, and the bundle of both."""
        self.signed, self.one_time = (
            make_signed(self.kem, os.urandom(SIGNED_ENTROPY_BYTES)),
            make_one_time(os.urandom(32)),
        )
        self.bundle = make_bundle(self.two, self.signed, self.one_time)

    def begin(self) -> None:
        """Check a bundle, begin a session with it, and seal a first message."""
        bundle = open_bundle(self.bundle, self.two.address)
        self.near = Session.initiate(self.one, bundle, self.kem, os.urandom(ENTROPY_BYTES), life=LIFE)
        self.first = self.seal(self.near)

    def respond(self) -> None:
        """Open a first message."""
        near = self.one.address
        self.far, _ = Session.respond(self.two, near, self.first, self.signed, self.one_time, self.kem, life=LIFE)

    def turn(self) -> None:
        """Seal and open an answer and its answer: the ratchet turns twice."""
        self.near.open(self.seal(self.far), self.kem, life=LIFE)
        self.far.open(self.seal(self.near), self.kem, life=LIFE)

    def message(self) -> None:
        """Seal and open one more message in the same direction."""
        self.far.open(self.seal(self.near), self.kem, life=LIFE)

    def argon2id(self) -> None:
        """Try a passphrase, at the size that a router's node chooses."""
        cost = sized(AVAILABLE)
        argon2id(b"correct horse battery", bytes(16), ops=cost.ops, memory=cost.memory_kib << 10)

    def seal(self, session: Session) -> bytes:
        """Return the payload of a message."""
        return session.seal(TEXT, self.kem, os.urandom(ENTROPY_BYTES), life=LIFE)[0]

    def sizes(self) -> dict[str, int]:
        """Return bytes: of the bundle, of what sessions keep, of payloads."""
        return {
            "bundle": len(self.bundle),
            "state_begun": len(
                Session.initiate(
                    self.one, open_bundle(self.bundle, self.two.address), self.kem, os.urandom(ENTROPY_BYTES), life=LIFE
                ).encode()
            ),
            "state_running": len(self.near.encode()),
            "first_overhead": len(self.first) - len(TEXT),
            "overhead": len(self.seal(self.near)) - len(TEXT),
        }


def main() -> None:
    """Answer until stdin ends."""
    machine = Machine()
    print(json.dumps(machine.sizes()), flush=True)
    for line in sys.stdin:
        name, count = json.loads(line)
        call: Callable[[], None] = getattr(machine, name)
        begin = time.process_time()
        for _ in range(count):
            call()
        print(json.dumps((time.process_time() - begin) * 1e3 / count), flush=True)


if __name__ == "__main__":
    main()
