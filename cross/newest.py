"""`make cross-pins`: what each pin would be today. Nothing is changed; a person looks at it and edits pins.json."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cross import fetch
from cross.cache import cache_dir
from cross.errors import CrossError
from cross.process import run

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def proposals() -> Iterator[str]:
    """Yield a line for each pin: the same, or the row that would take its place."""
    known = fetch.pins()
    lists = _debian_lists(list(known.values()))
    for pin in known.values():
        try:
            if pin.registry == "pypi":
                row = _from_pypi(pin)
            else:
                row = _binary(pin, lists) if pin.package else _from_debian(pin, lists)
        except CrossError as error:
            yield f"{pin.name}: {error}"
            continue
        same = row["sha256"] in {pin.sha256, ""} and row["version"] == pin.version
        yield f"{pin.name} {pin.version}: {'the newest' if same else json.dumps(row)}"


def _debian_lists(known: list[fetch.Pin]) -> list[str]:
    """Return apt's options for private package lists of the pins' suites and architectures, fetched now."""
    folder = cache_dir() / "apt"
    for name in ("lists/partial", "cache", "etc"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").write_text("")
    mirror = fetch.debian_mirror()
    rows = [
        f"deb-src [signed-by={KEYRING}] {mirror} {suite} main"
        for suite in sorted({pin.suite for pin in known if pin.source})
    ]
    binaries = sorted({(pin.arch, pin.suite) for pin in known if pin.package})
    rows += [f"deb [signed-by={KEYRING} arch={arch}] {mirror} {suite} main" for arch, suite in binaries]
    (folder / "sources.list").write_text("\n".join(rows) + "\n")
    options = [
        f"Dir::Etc::sourcelist={folder}/sources.list",
        "Dir::Etc::sourceparts=-",
        f"Dir::State::lists={folder}/lists",
        f"Dir::State::status={folder}/status",
        f"Dir::Cache={folder}/cache",
        f"APT::Architectures={','.join(sorted({arch for arch, _ in binaries}))}",
    ]
    words = [word for option in options for word in ("-o", option)]
    run(["apt-get", *words, "update"])
    return words


def _binary(pin: fetch.Pin, options: list[str]) -> dict[str, str]:
    """Return the row of a binary package, or of what a package without files of its own depends on."""
    name = f"{pin.package}:{pin.arch}"
    for line in run(["apt-cache", *options, "depends", name]).splitlines():
        kind, _, other = line.strip().partition(": ")
        if kind == "Depends" and other.startswith("linux-image-"):
            name = f"{other.partition(':')[0]}:{pin.arch}"
    told = run(["apt-cache", *options, "show", "--no-all-versions", name])
    found = dict(re.findall(r"^(Filename|SHA256|Version): (\S+)$", told, re.MULTILINE))
    return {
        "debian": found["Filename"].removeprefix("pool/"),
        "sha256": found["SHA256"],
        "version": found["Version"].rpartition(":")[2],
    }


def _from_debian(pin: fetch.Pin, options: list[str]) -> dict[str, str]:
    """Return the newest row of a pin's suite."""
    wanted = ["apt-cache", *options, "showsrc", "--only-source", pin.source]
    best: dict[str, str] = {}
    for record in run(wanted).split("\n\n"):
        folder = re.search(r"^Directory: (?:pool/)?(\S+)", record, re.MULTILINE)
        version = re.search(r"^Version: (\S+)", record, re.MULTILINE)
        block = record.partition("Checksums-Sha256:")[2]
        file = re.search(r"^ ([0-9a-f]{64}) \d+ (\S+\.orig\.tar\.\w+)$", block, re.MULTILINE)
        if not (folder and version and file):
            continue
        row = {"debian": f"{folder[1]}/{file[2]}", "sha256": file[1], "version": _upstream(file[2])}
        if file[1] == pin.sha256:
            return {**row, "version": pin.version}
        best = row
    if not best:
        msg = f"{pin.source} is no longer in Debian {pin.suite}"
        raise CrossError(msg)
    return best


def _upstream(file: str) -> str:
    return re.sub(r"^.*(\+really|_)|(\+dfsg\d*)?\.orig\.tar\.\w+$", "", file)


def _from_pypi(pin: fetch.Pin) -> dict[str, str]:
    told = run([sys.executable, "-m", "pip", "index", "versions", "--disable-pip-version-check", pin.where])
    found = re.search(r"\((\S+)\)", told)
    if not found:
        msg = f"pip does not know {pin.where}"
        raise CrossError(msg)
    version = found[1]
    with tempfile.TemporaryDirectory() as folder:
        binary = "--only-binary" if pin.file.endswith(".whl") else "--no-binary"
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                binary,
                ":all:",
                "-d",
                folder,
                f"{pin.where}=={version}",
            ]
        )
        (file,) = Path(folder).iterdir()
        return {"file": file.name, "pypi": pin.where, "sha256": fetch.sha256_of(file), "version": version}
