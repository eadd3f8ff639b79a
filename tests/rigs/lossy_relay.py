"""A UDP relay that loses and delays datagrams by a seed: a bad radio link where the kernel has no netem.

usage: lossy_relay.py PORT TARGET_HOST TARGET_PORT LOSS_PERCENT DELAY_MS SEED
"""

from __future__ import annotations

import heapq
import random
import select
import socket
import sys
import time

MAX_PACKETS = 1000  # on their way; a real queue is no longer


def main() -> None:
    """Relay between one client and the target until killed."""
    port, host, target_port, loss, delay, seed = sys.argv[1:7]
    chance = random.Random(int(seed))  # noqa: S311 (repeatable losses, no secret)
    outer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    outer.bind(("", int(port)))
    inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inner.connect((host, int(target_port)))
    client: tuple[str, int] | None = None
    queue: list[tuple[float, int, bytes, bool]] = []
    count = 0
    print("ready", flush=True)
    while True:
        wait = max(0.0, queue[0][0] - time.monotonic()) if queue else None
        for ready in select.select([outer, inner], [], [], wait)[0]:
            try:
                data, source = ready.recvfrom(65536)
            except OSError:  # the target is not there (ICMP); a radio says nothing either
                continue
            if ready is outer:
                client = source
            if chance.random() * 100 >= float(loss) and len(queue) < MAX_PACKETS:
                count += 1
                heapq.heappush(queue, (time.monotonic() + float(delay) / 1000, count, data, ready is outer))
        while queue and queue[0][0] <= time.monotonic():
            _, _, data, inward = heapq.heappop(queue)
            try:
                if inward:
                    inner.send(data)
                elif client:
                    outer.sendto(data, client)
            except OSError:
                continue


if __name__ == "__main__":
    main()
