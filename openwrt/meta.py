"""What the package says of itself, read from the feed's Makefile, so that a build in OpenWrt's tree says the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from openwrt.errors import PackError

MAKEFILE = Path(__file__).resolve().parent / "Makefile"
# OpenWrt's build lets every package depend on it, and every image has it.
ALWAYS = "libc"
# What apk and opkg both order rightly: no letters, no dash.
_PLAIN_VERSION = re.compile(r"\d+(\.\d+)*-r\d+")
_VARIABLE = re.compile(r"^\s*(\w+):=(.*)$")
_DEFINE = re.compile(r"^define (\S+)\n(.*?)^endef$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Meta:
    """The package's own words; ``version`` is with the release (``1.2.3-r1``)."""

    name: str
    version: str
    description: tuple[str, ...]
    section: str
    licence: str
    licence_files: str
    cpe: str
    maintainer: str
    users: str
    depends: tuple[str, ...]
    conffiles: tuple[str, ...]
    postinst: tuple[str, ...]

    @property
    def source(self) -> str:
        """Where the package's Makefile lies in OpenWrt's tree."""
        return f"feeds/{self.name}/openwrt"


def read(text: str) -> Meta:
    """Read the metadata out of a feed Makefile with literal values.

    Raises:
        PackError: a value is missing or is not literal.
    """
    blocks = dict(_DEFINE.findall(text))
    values = _variables(_DEFINE.sub("", text))
    name = _literal(values, "PKG_NAME")
    values |= _variables(blocks.get(f"Package/{name}", ""))
    wanted = [word for word in values.get("DEPENDS", "").split() if not word.startswith("@")]
    version = f"{_literal(values, 'PKG_VERSION')}-r{_literal(values, 'PKG_RELEASE')}"
    if not _PLAIN_VERSION.fullmatch(version):
        msg = f"openwrt/Makefile: {version} is no version of numbers with dots, the kind that apk and opkg share"
        raise PackError(msg)
    return Meta(
        name=name,
        version=version,
        description=_lines(blocks, f"Package/{name}/description"),
        section=_literal(values, "SECTION"),
        licence=_literal(values, "PKG_LICENSE"),
        licence_files=_literal(values, "PKG_LICENSE_FILES"),
        cpe=_literal(values, "PKG_CPE_ID"),
        maintainer=_literal(values, "PKG_MAINTAINER"),
        users=_literal(values, "USERID"),
        depends=(ALWAYS, *(word.removeprefix("+") for word in wanted)),
        conffiles=_lines(blocks, f"Package/{name}/conffiles"),
        postinst=tuple(line.replace("$$", "$") for line in _lines(blocks, f"Package/{name}/postinst")),
    )


def _variables(text: str) -> dict[str, str]:
    return {found[1]: found[2].strip() for line in text.splitlines() if (found := _VARIABLE.match(line))}


def _literal(values: dict[str, str], name: str) -> str:
    value = values.get(name, "")
    if not value or "$" in value:
        msg = f"openwrt/Makefile: {name} must have a literal value"
        raise PackError(msg)
    return value


def _lines(blocks: dict[str, str], name: str) -> tuple[str, ...]:
    lines = tuple(line.strip() for line in blocks.get(name, "").splitlines() if line.strip())
    if not lines:
        msg = f"openwrt/Makefile: 'define {name}' must have at least one line"
        raise PackError(msg)
    return lines
