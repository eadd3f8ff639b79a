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
    sources = _debian_sources(sorted({pin.suite for pin in known.values() if pin.suite}))
    for pin in known.values():
        try:
            row = _from_debian(pin, sources) if pin.registry == "debian" else _from_pypi(pin)
        except CrossError as error:
            yield f"{pin.name}: {error}"
            continue
        same = row["sha256"] in {pin.sha256, ""} and row["version"] == pin.version
        yield f"{pin.name} {pin.version}: {'the newest' if same else json.dumps(row)}"


def _debian_sources(suites: list[str]) -> list[str]:
    """Return apt's options for private package lists of these suites, fetched now."""
    folder = cache_dir() / "apt"
    for name in ("lists/partial", "cache", "etc"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    mirror = fetch.debian_mirror()
    rows = [f"deb-src [signed-by={KEYRING}] {mirror} {suite} main" for suite in suites]
    (folder / "sources.list").write_text("\n".join(rows) + "\n")
    options = [
        f"Dir::Etc::sourcelist={folder}/sources.list",
        "Dir::Etc::sourceparts=-",
        f"Dir::State::lists={folder}/lists",
    ]
    options += [f"Dir::Cache={folder}/cache"]
    words = [word for option in options for word in ("-o", option)]
    run(["apt-get", *words, "update"])
    return words


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
