"""Stands for OpenWrt's ``uci``, as far as our scripts use it: get, set, delete, rename, show, changes, commit.

As there, changes wait beside the file until they are committed, and a commit drops comments and keeps the mode.
``QPQ_TEST_ROOT`` is where etc/config lies.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "node"))

from qpq.daemon import uci

_NAME = re.compile(r"(\w+)\.(\w+|@\w+\[\d+\])(?:\.(\w+))?(?:=(.*))?", re.DOTALL)


class Package:
    """One file of /etc/config with what is not committed yet."""

    def __init__(self, name: str) -> None:
        """Read what is there. Raises FileNotFoundError."""
        root = Path(os.environ["QPQ_TEST_ROOT"])
        self.path = root / "etc/config" / name
        self.waiting = root / "tmp" / f"uci-{name}"
        source = self.waiting if self.waiting.exists() else self.path
        self.sections = uci.parse(source.read_bytes()).sections

    def find(self, name: str) -> uci.UciSection | None:
        """Return a section by its name or as ``@type[number]``."""
        if name.startswith("@"):
            kind, number = name[1:-1].split("[")
            alike = [section for section in self.sections if section.type == kind]
            return alike[int(number)] if int(number) < len(alike) else None
        return next((section for section in self.sections if section.name == name), None)

    def text(self) -> str:
        """Return the sections as uci writes them."""
        lines: list[str] = []
        for section in self.sections:
            name = f" '{section.name}'" if section.name else ""
            lines += ["", f"config {section.type}{name}"]
            for option in section.options.values():
                verb = "list" if option.is_list else "option"
                for item in option.items:
                    quoted = item.text.replace("'", "'\\''")
                    lines.append(f"\t{verb} {option.name} '{quoted}'")
        return "\n".join([*lines, ""])

    def shown(self, name: str) -> Iterator[str]:
        """Yield the lines of ``uci show``."""
        for section in self.sections:
            begin = f"{name}.{section.name or f'@{section.type}[0]'}"
            yield f"{begin}={section.type}\n"
            for option in section.options.values():
                values = " ".join(f"'{item.text}'" for item in option.items)
                yield f"{begin}.{option.name}={values}\n"


def main(argv: list[str]) -> int:
    """Carry out one command; return 1 where its object is not there."""
    verb, name, *_ = [word for word in argv if word != "-q"]
    match = _NAME.fullmatch(name)
    package = Package(match[1] if match else name)
    if verb == "changes":
        sys.stdout.write(package.waiting.read_text() if package.waiting.exists() else "")
        return 0
    if verb == "show":
        sys.stdout.writelines(package.shown(name))
        return 0
    if verb == "commit":
        if package.waiting.exists():
            package.path.write_text(package.text())
            package.waiting.unlink()
        return 0
    assert match is not None, name
    if verb == "get":
        return _get(package, match)
    done = {"set": _set, "delete": _delete, "rename": _rename}[verb](package, match)
    if done:
        package.waiting.write_text(package.text())
    return 0 if done else 1


def _get(package: Package, match: re.Match[str]) -> int:
    section = package.find(match[2])
    if section is None or (match[3] and match[3] not in section.options):
        return 1
    items = section.options[match[3]].items if match[3] else []
    sys.stdout.write(" ".join(item.text for item in items) + "\n" if match[3] else section.type + "\n")
    return 0


def _set(package: Package, match: re.Match[str]) -> bool:
    section = package.find(match[2])
    if not match[3]:
        package.sections.append(uci.UciSection(match[4], match[2], 0))
        return True
    if section is not None:
        section.options[match[3]] = uci.UciOption(match[3], [uci.UciItem(match[4], 0)], is_list=False)
    return section is not None


def _delete(package: Package, match: re.Match[str]) -> bool:
    section = package.find(match[2])
    return section is not None and section.options.pop(match[3], None) is not None


def _rename(package: Package, match: re.Match[str]) -> bool:
    section = package.find(match[2])
    if section is None or (match[3] and match[3] not in section.options):
        return False
    if not match[3]:
        section.name = match[4]
        return True
    option = section.options.pop(match[3])
    option.name = match[4]
    section.options[match[4]] = option
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
