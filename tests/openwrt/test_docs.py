"""What docs/openwrt*.md tell people to type on a router is typed on one, in the order of the page.

Blocks marked ``sh router`` run one after the other on one OpenWrt 24.10 with the package of this tree, and with them
those marked ``sh pc`` that reach for the router (``ssh``); the rest of these is asked of ``make -n``. ``router-feed``,
``router-apk`` and ``router-apk-feed`` have a fresh router each. The router (docs_kit.py) is a root directory with
BusyBox, the real init script, the real binary and stand-ins for opkg, apk, uci and procd; the same package under a
kernel of each processor is the boot check's, ssh by a real dropbear is test_openwrt_ssh's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import docs_kit
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from docs_kit import Router
from test_openwrt_ssh import DOCUMENTED

from openwrt import stage
from openwrt.pack import apk, ipk
from openwrt.pack.keys import ApkKey, UsignKey
from qpq.daemon import places
from qpq.daemon.published import MAP_FIRST_SECONDS, MAP_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("openwrt.md", "openwrt.de.md")
TARGET = "mips_24kc"  # that of the pages
MADE_UP_KEY = "0123456789abcdef"
needs_router = pytest.mark.skipif(bool(docs_kit.why_not()), reason=docs_kit.why_not() or "none")
WRONG = """
uci set qpq.main.role=gateway; uci commit qpq; reload_config
qpq status >/dev/null
logread | grep "'gateway' is not allowed" | sed 's/^/told: /'
uci set qpq.main.role=relay; uci commit qpq; reload_config
"""
# What somebody sees who has typed the page so far.
AFTER = {
    "uci add_list qpq.main.peer='[2001:db8::1]:7000'\nuci commit qpq\nreload_config": WRONG,
    "qpq mesh user list": "qpq mesh send anna still-there >/dev/null; qpq mesh identity --no-qr >/tmp/who",
    ">>/etc/dropbear/authorized_keys": "cat /etc/dropbear/authorized_keys",
    "sysupgrade -b /tmp/backup.tar.gz": "tar -tzf /tmp/backup.tar.gz | sed 's/^/kept: /'",
    "metrics_file=/var/prometheus/qpq.prom": "grep '^qpq_links 0$' /var/prometheus/qpq.prom",
    "opkg remove qpq": "[ ! -e /usr/bin/qpq ]; [ -s /etc/qpq/identity.json ]; [ -s /etc/config/qpq ]; ! pidof qpq",
}


def blocks(page: str) -> list[tuple[str, str]]:
    """Return (mark, text) of every fenced block of a page."""
    text = (ROOT / "docs" / page).read_text()
    return re.findall(r"^```(\w+(?: [\w-]+)?)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def marked(page: str, *marks: str) -> list[str]:
    return [text for mark, text in blocks(page) if mark in marks]


def keys() -> tuple[UsignKey, ApkKey]:
    secret, p256 = Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    usign = UsignKey(os.urandom(8), secret.public_key().public_bytes_raw(), secret)
    numbers = p256.public_key().public_numbers()
    return usign, ApkKey(b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big"), p256)


@pytest.fixture
def typed(tmp_path: Path) -> Callable[[str, list[str]], str]:
    """Give a function that types blocks on a fresh router with the package manager, and returns what was seen."""

    def type_in(manager: str, texts: list[str]) -> str:
        router = Router(tmp_path / "root", manager)
        usign, key = keys()
        router.bring(usign, key)
        script = "\n".join(texts).replace(TARGET, docs_kit.TARGET).replace(MADE_UP_KEY, usign.name)
        done = router.run(script)
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    return type_in


# After an upgrade, and after a removal and a new installation.
AS_BEFORE = """
qpq mesh identity --no-qr | cmp - /tmp/who
qpq --user anna mesh inbox --all | grep still-there
grep -F "list peer '[2001:db8::1]:7000'" /etc/config/qpq
"""


@needs_router
@pytest.mark.parametrize("page", PAGES)
def test_the_page_for_opkg_works_from_top_to_bottom(page: str, typed: Callable[[str, list[str]], str]) -> None:
    texts = []
    for mark, text in blocks(page):
        if mark == "sh router-tty":
            text = f"echo a passphrase | {text.strip()} --passphrase-stdin\n[ -s /tmp/anna.qpq ]"  # noqa: PLW2901
        elif mark == "sh router-last":
            text = f"opkg install /tmp/qpq_*.ipk\n{AS_BEFORE}\n{text}\n[ ! -e /etc/qpq ] && [ ! -e /etc/config/qpq ]"  # noqa: PLW2901
        elif mark not in {"sh router", "sh pc"} or text.startswith("make"):
            continue
        texts.append(f"echo '=== block {len(texts)}'\n{text}")
        if mark == "sh router" and text.startswith("opkg install"):
            texts.append(AS_BEFORE)
        texts += [check for command, check in AFTER.items() if f"{command}\n" in text and "rm -rf" not in text]
    seen = typed("opkg", texts)
    assert "24.10 x86_64" in seen
    assert re.search(r"^anna +[a-z2-7]{52}", seen, re.MULTILINE), seen
    assert {"kept: etc/config/qpq", "kept: etc/qpq/identity.json"} <= set(seen.splitlines())
    assert "qpq_links 0" in seen
    assert len(re.findall(r"^told: .*role.*leaf, relay, hub, auto", seen, re.MULTILINE)) == 1, seen
    assert f"{DOCUMENTED} {docs_kit.PUBLIC_KEY}" in seen.splitlines()


@needs_router
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("mark", ["router-feed", "router-apk", "router-apk-feed"])
def test_the_other_ways_to_install_end_with_a_node_that_runs(
    page: str, mark: str, typed: Callable[[str, list[str]], str]
) -> None:
    texts = marked(page, f"sh {mark}")
    assert len(texts) == 1
    remove = "apk del qpq" if "apk" in mark else "opkg remove qpq"
    assert f"`{remove}`" in (ROOT / "docs" / page).read_text() or remove in "".join(marked(page, "sh router"))
    numbers = f"sleep {MAP_FIRST_SECONDS + 1}; cat {places.RUNTIME}/{MAP_NAME}" if mark == "router-feed" else ""
    gone = "[ ! -e /usr/bin/qpq ]; [ -s /etc/qpq/identity.json ]; ! pidof qpq"
    seen = typed("apk" if "apk" in mark else "opkg", [*texts, "qpq status", numbers, remove, gone])
    assert bool(numbers) == ('"relayed": 0' in seen), "the numbers for the map, under the init script"


@pytest.mark.parametrize("page", PAGES)
def test_what_is_typed_on_a_pc_are_targets_that_make_knows(page: str) -> None:
    (command,) = (text for text in marked(page, "sh pc") if text.startswith("make"))
    argv = ["make", "-n", "-C", str(ROOT), *command.split()[1:]]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_name_the_files_that_are_built(page: str) -> None:
    text, meta = (ROOT / "docs" / page).read_text(), stage.metadata()
    assert set(re.findall(r"\bqpq_[\w.-]+\.ipk", text)) == {ipk.file_name(meta, TARGET)}
    assert set(re.findall(r"\bqpq-[\w.-]+\.apk", text)) == {apk.file_name(meta)}


@pytest.mark.parametrize("page", PAGES)
def test_the_sizes_on_the_pages_are_those_that_make_size_accepts(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    told, packed = (
        [float(cell.replace(",", ".")) for cell in cells.split("|")]
        for name in ("`opkg`", "(?:package's file|Paketdatei)")
        for cells in re.findall(rf"^\| [^|]*{name}[^|]* \|(.*)\|$", text, re.MULTILINE)
    )
    accepted = json.loads((ROOT / "cross/size-baseline.json").read_text())
    targets = ("mips_24kc", "arm_cortex-a7_neon-vfpv4", "aarch64_cortex-a53", "x86_64")
    for size, target in zip(told, targets, strict=True):
        # the other files of the package are 30 KB
        assert abs(size - (accepted[target]["elf"] + 30_000) / 1e6) < 0.15, target
    for size, target in zip(packed, targets, strict=True):
        for built in (stage.DIST / target).glob("*.ipk"):
            assert abs(size - built.stat().st_size / 1e6) < 0.1, target


def test_both_languages_say_the_same_to_type() -> None:
    english, german = ([block for block in blocks(page) if block[0] != "yaml rules"] for page in PAGES)
    assert [mark for mark, _ in english] == [mark for mark, _ in german]
    for (_, one), (_, other) in zip(english, german, strict=True):
        assert re.sub(r'\|\| echo ".*"', "", one) == re.sub(r'\|\| echo ".*"', "", other)


def test_every_block_of_the_pages_has_a_test() -> None:
    known = {
        "sh router", "sh pc", "sh router-feed", "sh router-apk", "sh router-apk-feed", "sh router-tty",
        "sh router-last", "text prometheus", "yaml scrape", "yaml rules",
    }  # fmt: skip
    for page in PAGES:
        assert {mark for mark, _ in blocks(page)} == known
