"""What procd and reload_config do with a running service, and what the package makes of it: the real init script and
binary on a router of the pages' kind (docs_kit), whose stand-ins do as procd's and base-files' sources say.

procd waits a tenth of its time here before it starts again what ended.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import docs_kit
import pytest
from docs_kit import TARGET, Router

from openwrt import clock, stage
from openwrt.pack import ipk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(bool(docs_kit.why_not()), reason=docs_kit.why_not() or "none")

# The store in RAM, as on flash; quiet, since there is no network.
SETTINGS = """
uci set qpq.main.store_dir=/tmp/qpq; uci set qpq.main.mdns=0; uci set qpq.main.beacon=0; uci set qpq.main.group=0
uci commit qpq
"""
FUNCTIONS = """
role() { qpq status --json | sed -n 's/.*"role": *"\\([a-z]*\\)".*/\\1/p'; }
node() { cat /var/run/procd/qpq/instance1.child; }
change() { uci set "qpq.main.role=$1"; uci commit qpq; }
is() { [ "$1" = "$2" ] || { echo "$3: $1, wanted $2"; logread; exit 1; }; }
flash() { find /etc/qpq -type f -exec stat -c '%n %s %y' {} + | sort; md5sum /etc/qpq/*; }
starts() { logread | grep -c 'not started: '; }
wait_for() { tries=0; until eval "$1"; do tries=$((tries + 1)); is $((tries < 200)) 1 "$1"; sleep 0.1; done; }
"""


@pytest.fixture
def shell(tmp_path: Path) -> Callable[[str], str]:
    """Give a function that runs a script on a router with the package's file in /tmp, and returns what it printed."""
    router = with_package(tmp_path / "root")
    keeper = router.root / "sbin/procd-instance"
    text = keeper.read_text()
    assert 'sleep "$delay"' in text
    keeper.write_text(text.replace('sleep "$delay"', 'sleep "$((delay / 10))"'))

    return lambda script: typed(router, script)


def with_package(root: Path) -> Router:
    """Return a router with the package's file in /tmp."""
    router = Router(root, "opkg")
    package = ipk.build(stage.stage(TARGET), stage.metadata(), TARGET, clock.epoch())
    (router.root / "page/tmp/qpq.ipk").write_bytes(package)
    return router


def typed(router: Router, script: str) -> str:
    done = router.run(FUNCTIONS + script)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


# --- reload_config compares with /var/run/config.md5, which nothing else changes ---------------


def test_the_first_change_after_an_installation_holds(shell: Callable[[str], str]) -> None:
    """The list is from the boot: of a package that came later reload_config tells nobody."""
    shell(f"""
        echo "config system" >/etc/config/system; /sbin/reload_config --quiet
        opkg install /tmp/qpq.ipk; {SETTINGS} reload_config
        change leaf; reload_config; is "$(role)" leaf first
        grep -q '  system$' /var/run/config.md5
    """)


def test_an_old_value_that_is_set_back_holds_however_it_was_changed(shell: Callable[[str], str]) -> None:
    shell(f"""
        opkg install /tmp/qpq.ipk; {SETTINGS} change relay; reload_config; is "$(role)" relay begin
        change leaf; /etc/init.d/qpq reload; settle; is "$(role)" leaf reload
        change relay; reload_config; is "$(role)" relay "set back"
        change leaf; /etc/init.d/qpq restart; settle; is "$(role)" leaf restart
        change relay; reload_config; is "$(role)" relay "set back again"
    """)


def test_what_is_applied_already_restarts_nothing(shell: Callable[[str], str]) -> None:
    shell(f"""
        opkg install /tmp/qpq.ipk; {SETTINGS} change leaf; /etc/init.d/qpq reload; settle
        before=$(node)
        reload_config; is "$(node)" "$before" reload_config
        event interface.lan.up; is "$(node)" "$before" interface
    """)


def test_a_node_that_a_wrong_value_kept_from_starting_starts_with_the_old_one(shell: Callable[[str], str]) -> None:
    shell(f"""
        opkg install /tmp/qpq.ipk; {SETTINGS} change relay; reload_config
        change king; /etc/init.d/qpq restart || true; is "$(pidof qpq)" "" refused
        change relay; command reload_config; settle; is "$(role)" relay "set back"
        change king; ! /etc/init.d/qpq reload; is "$(role)" relay "what runs stays"
        change relay; reload_config; is "$(role)" relay "the same"
    """)


# --- procd starts again what ends, until it has crashed too often ------------------------------

TAKEN = f"""
    mkdir /tmp/other; cd /tmp/other; : >conf; quiet='--no-mdns --no-beacon --no-group'
    qpq daemon --config conf --data-dir /tmp/other --socket /tmp/other/s $quiet 2>log & other=$!
    wait_for 'grep -q ready: log'
    opkg() {{ command opkg "$@"; }}; reload_config() {{ command reload_config "$@"; }}
    {SETTINGS}
"""


def test_a_node_whose_port_is_taken_is_tried_until_it_is_free_and_wears_no_flash(shell: Callable[[str], str]) -> None:
    """Ten seconds apart for ever, since nobody looks after a router: so a try must cost next to nothing."""
    said = shell(f"""
        opkg install /tmp/qpq.ipk; settle; /etc/init.d/qpq stop
        {TAKEN}
        /etc/init.d/qpq start
        wait_for '[ $(starts) -ge 1 ]'; before=$(flash)
        wait_for '[ $(starts) -ge 4 ]'; is "$(flash)" "$before" flash
        ! logread | grep 'crash loop'
        logread | sed 's/^/said: /'
        kill $other; wait_for '[ "$(pidof qpq | wc -w)" = 1 ] && qpq status >/dev/null 2>&1'
    """)
    rows = [row for row in said.splitlines() if row.startswith("said: ")]
    tries = [row for row in rows if "not started: " in row]
    assert all("cannot listen on UDP [::]:7000: Address in use" in row for row in tries)
    assert len(rows) <= 3 * len(tries) + 6


def test_what_procd_gives_up_after_four_crashes_a_reload_brings_back(shell: Callable[[str], str]) -> None:
    """With another respawn than ours: the interface that comes up, or the next change, starts it all the same."""
    shell(f"""
        opkg install /tmp/qpq.ipk; settle; /etc/init.d/qpq stop
        sed -i 's/respawn 3600 10 0/respawn 3600 10 3/' /etc/init.d/qpq
        {TAKEN}
        /etc/init.d/qpq start
        wait_for "logread | grep 'in a crash loop 4 crashes'"; is "$(starts)" 4 tries
        sleep 2; is "$(starts)" 4 "given up"
        kill $other; wait $other || true
        event interface.lan.up; settle
    """)


# --- another firmware: only what conffiles and keep.d name is carried over ----------------------


def test_after_another_firmware_the_package_finds_identities_settings_and_messages(tmp_path: Path) -> None:
    """The new system has another number for the user qpq; its owner installs the package again."""
    show = "qpq mesh identity --no-qr; qpq --user anna mesh inbox --all | sed 's/[0-9]* s ago//'; uci get qpq.main.role"
    old, new = with_package(tmp_path / "old"), with_package(tmp_path / "new")
    before = typed(
        old,
        f"""
        opkg install /tmp/qpq.ipk >&2; {SETTINGS} change relay; reload_config
        qpq mesh user add anna >&2; qpq mesh send anna kept-for-anna >&2
        sleep 6; sysupgrade -b /etc/backup.tgz; {show}
    """,
    )
    assert "kept-for-anna" in before
    subprocess.run(["tar", "-xzf", old.root / "etc/backup.tgz", "-C", new.root], check=True, timeout=30)
    passwd = new.root / "etc/passwd"
    passwd.write_text(f"{passwd.read_text()}other:x:32768:32768:other:/var:/bin/false\n")
    assert typed(new, f"opkg install /tmp/qpq.ipk >&2; {show}") == before
