"""Build _qpq_native for this machine, so that the stand-ins can be tested beside the real packages.

``python cross/ext/build_host.py [--output build/host-ext] [--source PIN=FOLDER]... [--sizes]`` with the Python that
shall import it. Sources come through cross/fetch.py (pinned, cached) unless given. $CC is honoured. Nothing is done
when the result is newer than its inputs; the result's path is printed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from cross.cache import digest  # noqa: E402 (the path above comes first)
from cross.errors import CrossError  # noqa: E402
from cross.ext.plan import MODULE, Unit, own_files, units  # noqa: E402
from cross.fetch import pins as all_pins  # noqa: E402
from cross.fetch import unpacked  # noqa: E402
from cross.process import run_all  # noqa: E402

OUTPUT = ROOT / "build" / "host-ext"
OPTIMISE = ("-Os", "-fPIC", "-ffunction-sections", "-fdata-sections", "-fvisibility=hidden")


def build(output: Path = OUTPUT, sources: dict[str, Path] | None = None) -> Path:
    """Build the extension if need be and return its path.

    Raises:
        CrossError: a source cannot be had or does not compile.
    """
    given = sources or {}
    compiler = shlex.split(os.environ.get("CC", "cc"))
    result = output / f"{MODULE}{sysconfig.get_config_var('EXT_SUFFIX')}"
    stamp = output / f"{result.name}.inputs"
    inputs = _inputs(compiler, given)
    if result.exists() and stamp.exists() and stamp.read_text() == inputs:
        return result
    objects = output / "objects"
    objects.mkdir(parents=True, exist_ok=True)
    todo = units(lambda pin: given.get(pin) or unpacked(pin))
    run_all([_compile(compiler, unit, objects) for unit in todo], cwd=output)
    made = [str(objects / f"{unit.name}.o") for unit in todo]
    fresh = output / f"{result.name}.new"
    run_all([[*compiler, "-shared", "-o", str(fresh), *made, "-Wl,--gc-sections", "-Wl,-s"]], cwd=output)
    fresh.replace(result)
    stamp.write_text(inputs)
    return result


def sizes(output: Path = OUTPUT) -> dict[str, int]:
    """Return text and data bytes of the objects by package, before unused functions are dropped."""
    sums: dict[str, int] = {}
    for path in sorted((output / "objects").glob("*.o")):
        row = subprocess.run(["size", str(path)], capture_output=True, text=True, check=True).stdout.splitlines()[1]
        package = path.name.split("-", 1)[0]
        sums[package] = sums.get(package, 0) + sum(int(word) for word in row.split()[:2])
    return sums


def _compile(compiler: list[str], unit: Unit, objects: Path) -> list[str]:
    include = [f"-I{sysconfig.get_path('include')}"] if unit.is_own else []
    target = str(objects / f"{unit.name}.o")
    return [*compiler, *OPTIMISE, *unit.flags, *include, "-c", str(unit.source), "-o", target]


def _inputs(compiler: list[str], given: dict[str, Path]) -> str:
    pins = all_pins()
    parts = [
        " ".join(compiler),
        sys.version,
        *(f"{pin}={pins[pin].sha256}" for pin in ("libsodium", "mbedtls", "aws-lc")),
    ]
    parts += [f"{name}={folder}" for name, folder in sorted(given.items())]
    return digest(*parts, *(path.read_bytes() for path in own_files()))


def main() -> int:
    """Build as the arguments say."""
    parser = argparse.ArgumentParser(description="build _qpq_native for this machine")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--source", action="append", default=[], metavar="PIN=FOLDER")
    parser.add_argument("--sizes", action="store_true", help="print the bytes of the objects by package")
    arguments = parser.parse_args()
    given = {name: Path(folder).resolve() for name, _, folder in (row.partition("=") for row in arguments.source)}
    try:
        print(build(arguments.output.resolve(), given))
    except CrossError as error:
        print(f"build_host: {error}", file=sys.stderr)
        return 1
    if arguments.sizes:
        for package, size in sizes(arguments.output.resolve()).items():
            print(f"{package:10} {size:8}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
