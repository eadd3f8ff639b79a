"""So many messages wait for ten people of another domain, whose relay comes back: how long until they are there?"""

from __future__ import annotations

import sys
import time

from domains_kit import domains, pair, run, secret, until
from qpq.federation.settings import Rates


async def drain() -> None:
    """Have them cross, and say how fast that went."""
    count = int(sys.argv[1])
    aachen, berlin = pair(rates=Rates(messages=1e6, message_burst=2 * count, bytes=1e9, byte_burst=1 << 30))
    for number in range(count):
        aachen.send("berlin.example", "anna", f"user {number % 10}", number)
    started = time.monotonic()
    async with domains(aachen, berlin):
        await until(lambda: not aachen.queue.waiting(), 50)
        took = time.monotonic() - started
        assert sorted(berlin.numbers()) == list(range(count))
        assert {taken.recipient for taken in berlin.took} == {secret(f"user {n}").address for n in range(10)}
    print(f"{count} messages for 10 people, none twice, in {took:.1f} s: {count / took:.0f} a second")


if __name__ == "__main__":
    run(drain)
