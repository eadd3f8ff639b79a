"""``python -m openwrt.mkpkg COMMAND``: packages of the programs in dist/, and a feed of them, for opkg and for apk."""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from cross.errors import CrossError
from cross.size import PACKED_LIMIT
from cross.targets import TARGETS, Target, target

from openwrt import clock, stage
from openwrt.errors import PackError
from openwrt.pack import apk, feed, ipk
from openwrt.pack.keys import ApkKey, UsignKey, apk_key, usign_key

INSTALLED_LIMIT = 4_700 * 1024  # bytes; a router with 16 MB flash has room for no more
SMALL = 32  # bits of the machines that have such flash: MIPS, ARM
FEED = stage.DIST / "feed"
NOTICES = ("NOTICE", "qpq.cdx.json")  # what goes with every copy of the program


@dataclass(frozen=True, slots=True)
class Packages:
    """One target's program in both formats."""

    ipk_name: str
    ipk: bytes
    control: str
    apk: apk.Package


def packages(machine: Target, key: ApkKey | None) -> Packages:
    """Pack the program of a target.

    Raises:
        PackError: something that belongs into the package is missing, or a package is over budget.
    """
    meta, content, time = stage.metadata(), stage.stage(machine.name), clock.epoch()
    installed = ipk.installed_size(content, time)
    made = Packages(
        ipk_name=ipk.file_name(meta, machine.name),
        ipk=ipk.build(content, meta, machine.name, time),
        control=ipk.control(meta, machine.name, time, installed),
        apk=apk.build(content, meta, machine.name, time, key),
    )
    for name, data in ((made.ipk_name, made.ipk), (made.apk.name, made.apk.data)):
        if len(data) >= PACKED_LIMIT:
            msg = f"{machine.name}: {name} has {len(data):,} bytes, over the budget of {PACKED_LIMIT:,}"
            raise PackError(msg)
    if machine.bits == SMALL and installed > INSTALLED_LIMIT:
        msg = f"{machine.name}: {installed:,} bytes installed, over the budget of {INSTALLED_LIMIT:,}"
        raise PackError(msg)
    _keep(machine, made, installed, signed=key is not None)
    return made


def _keep(machine: Target, made: Packages, installed: int, *, signed: bool) -> None:
    folder = stage.DIST / machine.name
    for old in (*folder.glob("*.ipk"), *folder.glob("*.apk")):
        old.unlink()
    (folder / made.ipk_name).write_bytes(made.ipk)
    (folder / made.apk.name).write_bytes(made.apk.data)
    where = f"dist/{machine.name}"
    print(f"package: {where}/{made.ipk_name}: {len(made.ipk):,} bytes, {installed:,} installed")
    told = "signed" if signed else "not signed: apk add --allow-untrusted"
    print(f"package: {where}/{made.apk.name}: {len(made.apk.data):,} bytes, {told}", flush=True)


def write_feed(machines: list[Target], usign: UsignKey | None, key: ApkKey | None) -> None:
    """Write dist/feed: opkg/<arch>/, apk/<arch>/, the public keys, and the notices that go with the programs.

    Raises:
        PackError: a package cannot be made.
    """
    made = {machine.name: packages(machine, key) for machine in machines}
    shutil.rmtree(FEED, ignore_errors=True)
    for name, row in made.items():
        _fill(f"opkg/{name}", {row.ipk_name: row.ipk})
        _fill(f"opkg/{name}", feed.opkg_index([(row.ipk_name, row.control, row.ipk)], usign))
        _fill(f"apk/{name}", {row.apk.name: row.apk.data, **feed.apk_index([row.apk], key)})
        _fill(f"notices/{name}", {file: _notice(name, file) for file in NOTICES})
    if usign is not None:
        _fill("keys", {usign.name: usign.public_text()})
    if key is not None:
        _fill("keys", {"qpq.pem": key.public_text()})
    told = "signed" if usign and key else "NOT SIGNED: opkg and apk refuse it unless told otherwise"
    print(f"feed: dist/feed: {', '.join(made)}; {told}")


def _notice(name: str, file: str) -> bytes:
    path = stage.DIST / name / file
    if not path.exists():
        msg = f"dist/{name}/{file} is missing, which must go with the program; run: make cross TARGET={name}"
        raise PackError(msg)
    return path.read_bytes()


def _fill(folder: str, files: dict[str, bytes]) -> None:
    (FEED / folder).mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (FEED / folder / name).write_bytes(data)


def _keys(given: argparse.Namespace) -> tuple[UsignKey | None, ApkKey | None]:
    """Return the keys of a feed; without any only where that was asked for.

    Raises:
        PackError: a key is missing or cannot be used.
    """
    if given.unsigned:
        return None, None
    if not (given.usign_key and given.apk_key):
        raise PackError(
            "a feed is signed: name both keys, USIGN_KEY=file and APK_KEY=file (openwrt/keys/README.md), "
            "or say UNSIGNED=1 for one that routers refuse unless told otherwise"
        )
    return usign_key(Path(given.usign_key)), apk_key(Path(given.apk_key))


def main(words: list[str]) -> int:
    """Carry out one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m openwrt.mkpkg", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    package = commands.add_parser("package", help="write the packages of targets into dist/<target>/")
    whole = commands.add_parser("feed", help="write a feed of them into dist/feed/")
    for command in (package, whole):
        command.add_argument("targets", nargs="*", help="all by default")
        command.add_argument("--apk-key", default="", help="file of the P-256 secret key")
    whole.add_argument("--usign-key", default="", help="file of usign's or signify's secret key")
    whole.add_argument("--unsigned", action="store_true", help="without signatures")
    given = parser.parse_args(words)
    try:
        machines = [target(name) for name in given.targets or TARGETS]
        if given.command == "feed":
            write_feed(machines, *_keys(given))
        else:
            key = apk_key(Path(given.apk_key)) if given.apk_key else None
            for machine in machines:
                packages(machine, key)
    except (PackError, CrossError) as error:
        print(f"package: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
