"""`make bench-hot`: what it would bring to compile a module with Nuitka rather than to keep it as bytecode.

Builds this machine's binary once as it is and once for each module compiled, and measures each pair of a bytecode and
a compiled binary in turns: processor time a message, and the instructions of the node that takes the messages (counted
by qemu-user, so the steadier figure). The table of docs/cross.md is made from it.

usage: hot.py [MODULE...]
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import counted
import sides
from binary import BUILD, SIZE, WARM, linked, say, scratch
from cross import link
from cross.targets import target

MODULES = (
    "qpq.wire.cbor",
    "qpq.wire.codec",
    "qpq.mesh.core",
    "qpq.link.connection",
    "aioquic.quic.packet",
    "aioquic.quic.packet_builder",
    "aioquic.quic.crypto",
    "aioquic.quic.recovery",
    "aioquic.quic.connection",
)
HERE = "x86_64"
ROUNDS = 3
COUNT = 400  # messages of a round
SECONDS = 30.0  # for a round, at most
FLIGHT = 8


def main() -> int:
    """Build, measure, print."""
    modules = tuple(sys.argv[1:]) or MODULES
    plain = link.build(target(HERE)).elf
    print(f"{'compiled module':30}{'larger by':>12}{'CPU a message':>15}{'ratio':>8}{'instructions':>15}{'ratio':>8}")
    with scratch() as folder:
        own = instructions(plain, folder)
        for module in modules:
            say(f"build with {module} compiled")
            elf = link.build(target(HERE), (module,)).elf
            times: dict[Path, list[float]] = {plain: [], elf: []}
            for _ in range(ROUNDS):
                for program, values in times.items():
                    values.append(processor_ms(program, folder))
            ratio = statistics.median(b / a for a, b in zip(times[plain], times[elf], strict=True))
            count = instructions(elf, folder)
            larger = elf.stat().st_size - plain.stat().st_size
            spent = f"{statistics.median(times[elf]):.2f} ms"
            print(f"{module:30}{larger:>12,}{spent:>15}{ratio:>8.2f}{count:>15,.0f}{count / own:>8.2f}", flush=True)
        print(f"{'(none)':30}{0:>12}{'':>15}{'':>8}{own:>15,.0f}")
    return 0


def processor_ms(elf: Path, folder: Path) -> float:
    """Return milliseconds of processor time, of both ends, for a message with its receipt."""
    program = sides.binary(elf)
    with linked(program, program, folder) as pair:
        pair.burst(WARM, 1, SECONDS, SIZE)
        burst = pair.burst(COUNT, FLIGHT, SECONDS, SIZE)
        return burst.cpu_ms / len(burst.latencies)


def instructions(elf: Path, folder: Path) -> float:
    """Return the instructions of a node for a message that it takes, one after another."""
    qemu = counted.native_qemu()
    counter = counted.Counter(counted.build_plugin(BUILD / "bench", qemu[0]), folder / "count")
    program = sides.binary(elf)
    with linked(program, program, folder, tuple(counter.command(qemu))) as pair:
        pair.burst(WARM, 1, SECONDS, SIZE)
        before = counter.read()
        burst = pair.burst(COUNT // 2, 1, SECONDS, SIZE)
        return (counter.read() - before) / len(burst.latencies)


if __name__ == "__main__":
    sys.exit(main())
