"""Runs one Discovery for a test: events as JSON lines on stdout, one-word commands on stdin.

Arguments: one JSON object: seed (0..255), port and any field of DiscoveryConfig.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from qpq.crypto.identity import SecretIdentity, text_id
from qpq.discovery.config import DiscoveryConfig, MdnsMode
from qpq.discovery.discovery import Discovery


def tell(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def rss_kib() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


async def main() -> None:
    options = json.loads(sys.argv[1])
    identity = SecretIdentity(bytes([options.pop("seed")]) * 32).identity
    mode = MdnsMode(options.pop("mdns", "off"))
    discovery = Discovery(
        DiscoveryConfig(identity, mdns=mode, **options),
        lambda found: tell(
            event="found",
            address=found.address,
            via=found.via.value,
            id=text_id(found.identity) if found.identity else None,
        ),
        lambda: tell(event="changed"),
        random=os.urandom,
    )
    await discovery.start()
    await discovery.settled()
    tell(event="ready", id=text_id(identity))
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = line.strip()
        if command == b"status":
            tell(event="status", status=discovery.status(), counters=discovery.counters)
        elif command == b"interfaces":
            tell(
                event="interfaces",
                interfaces=[[i.name, sorted(a.host for a in i.addresses)] for i in discovery.interfaces],
            )
        elif command == b"modules":
            tell(event="modules", modules=sorted(sys.modules), rss_kib=rss_kib())
        elif command == b"stop":
            break
    await discovery.stop()
    tell(event="stopped")


asyncio.run(main())
