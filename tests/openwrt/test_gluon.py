"""The Gluon package: its Lua under a real Lua 5.1, its hooks under BusyBox ash.

Gluon's modules are stand-ins (``gluon/lua``), written after what Gluon's own do.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import init_kit
import pytest

from qpq.daemon.config import ConfigError, load

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "openwrt/gluon/gluon-qpq"
UPGRADE = PACKAGE / "luasrc/lib/gluon/upgrade/450-qpq"
HERE = Path(__file__).parent / "gluon"
TIMEOUT = 30.0
needs_lua = pytest.mark.skipif(not shutil.which("lua5.1"), reason="lua5.1 is not installed (Debian: lua5.1)")

SITE = {
    "site_code": "ffxx",
    "prefix6": "fd00:1::/64",
    "extra_prefixes6": ["fd00:2::/64", "2001:db8::/48"],
}
WIRELESS = """
config wifi-device 'radio0'
    option band '2g'

config wifi-iface 'client_radio0'
    option mode 'ap'
    option ifname 'client0'

config wifi-iface 'mesh_radio0'
    option mode 'mesh'
    option ifname 'mesh0'

config wifi-iface 'mesh_radio1'
    option mode 'mesh'
    option ifname 'mesh1'
"""


def lua(value: object) -> str:
    """Write a value as Lua does."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"[{lua(key)}] = {lua(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "{ " + ", ".join(lua(each) for each in value) + " }"
    return json.dumps(value)


class Router:
    """The UCI files of a Gluon router and its site configuration."""

    def __init__(self, path: Path) -> None:
        self.uci = path / "config"
        self.uci.mkdir()
        self.site = path / "site.lua"
        (self.uci / "qpq").write_text((ROOT / "uci/qpq.config").read_text())
        (self.uci / "gluon").write_text("config gluon 'core'\n\toption domain 'xx'\n")
        (self.uci / "firewall").write_text("config rule 'mesh_ssh'\n\toption src 'mesh'\n\toption dest_port '22'\n")
        (self.uci / "wireless").write_text(WIRELESS)
        (self.uci / "network").write_text("config interface 'mesh_other'\n\toption ifname 'eth0'\n")

    def upgrade(self, **site: object) -> None:
        """Run the upgrade script with this site configuration."""
        self.site.write_text(f"return {lua({**SITE, **site})}")
        run("lua5.1", str(UPGRADE), SITE=str(self.site), UCI=str(self.uci))

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.uci.iterdir()}

    def options(self, config: str, section: str) -> dict[str, Any]:
        """Return a section's options; a list as a list."""
        found: dict[str, Any] = {}
        text = re.search(
            rf"^config \S+ '{section}'\n((?:[ \t].*\n|#.*\n|\n(?!config))*)", self.files()[config], re.MULTILINE
        )
        for kind, name, value in re.findall(r"^\s+(option|list) (\S+) '(.*)'$", text[1] if text else "", re.MULTILINE):
            if kind == "list":
                found.setdefault(name, []).append(value)
            else:
                found[name] = value
        return found

    def main(self) -> dict[str, Any]:
        return self.options("qpq", "main")

    def rules(self) -> set[str]:
        return set(re.findall(r"^config rule '(\S*qpq\S*)'", self.files()["firewall"], re.MULTILINE))

    def set(self, *lines: str) -> None:
        """Let the owner of the router set options of qpq."""
        names = [line.split()[1] for line in lines]
        kept = [line for line in self.files()["qpq"].splitlines() if line.split()[1:2] not in [[n] for n in names]]
        (self.uci / "qpq").write_text("\n".join([*kept, *(f"\t{line}" for line in lines), ""]))

    def config(self) -> Any:
        """Return what the node reads from the file; raises ConfigError."""
        return load(["--config", str(self.uci / "qpq")], {}).config


@pytest.fixture
def router(tmp_path: Path) -> Router:
    return Router(tmp_path)


def run(*argv: str, check: bool = True, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LUA_PATH": f"{HERE}/lua/?.lua;;", **variables}
    done = subprocess.run(argv, env=environment, cwd=cwd, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


# --- the site configuration ----------------------------------------------------------------


def check_site(tmp_path: Path, site: str) -> str:
    """Return what check_site.lua has against a site configuration; nothing: it is right."""
    (tmp_path / "site.lua").write_text(f"return {site}")
    variables = {"SITE": str(tmp_path / "site.lua")}
    done = run("lua5.1", str(HERE / "lua/check.lua"), str(PACKAGE / "check_site.lua"), check=False, **variables)
    assert done.returncode == bool(done.stderr)
    return done.stderr


@needs_lua
@pytest.mark.parametrize("page", ["README.md", "README.de.md"])
def test_the_site_configuration_of_the_readme_is_right_and_the_node_takes_it(
    tmp_path: Path, router: Router, page: str
) -> None:
    blocks = re.findall(r"^```lua\n(.*?)^```", (PACKAGE / page).read_text(), re.MULTILINE | re.DOTALL)
    (block,) = (text for text in blocks if "qpq = {" in text)
    assert check_site(tmp_path, block) == ""
    router.site.write_text(f"local site = {block}\nsite.prefix6 = 'fd00:1::/64'\nreturn site")
    run("lua5.1", str(UPGRADE), SITE=str(router.site), UCI=str(router.uci))
    config = router.config()
    assert (config.domain, config.role, config.store_size) == ("ffxx", "auto", 2 << 20)
    assert config.peer == ("[2001:db8::7000]:7000", "qpq.example.org:7000")
    assert config.mesh_interface == ("mesh0", "mesh1", "vx_mesh_other", "vx_mesh_uplink")
    named = set(re.findall(r"^    (\w+) = ", block, re.MULTILINE))
    known = re.findall(r"'(\w+)'", (PACKAGE / "check_site.lua").read_text().partition("}")[0])
    assert named == set(known)


@needs_lua
@pytest.mark.parametrize("site", ["{}", "{ qpq = {} }", "{ qpq = { peers = {} } }", "{ qpq = { role = 'leaf' } }"])
def test_every_option_of_the_site_may_be_left_out(tmp_path: Path, site: str) -> None:
    assert check_site(tmp_path, site) == ""


@needs_lua
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("enabled = 1", "qpq.enabled"),
        ("enable = true", "the name of an option in qpq"),
        ("role = 'gateway'", "qpq.role"),
        ("domain = 'a b'", "qpq.domain"),
        ("peers = 'a:1'", "qpq.peers"),
        ("peers = { 'a' }", "qpq.peers.1"),
        ("peers = { '$(reboot):1' }", "qpq.peers.1"),
        ("mesh_interfaces = { 'mesh0', 'a/b' }", "qpq.mesh_interfaces.2"),
        ("mesh_interfaces = { 'a_name_of_sixteen' }", "the length of"),
        ("store_size = 2", "qpq.store_size"),
        ("log_level = 'trace'", "qpq.log_level"),
        ("mdns = 'no'", "qpq.mdns"),
    ],
)
def test_a_site_configuration_that_is_wrong_is_refused_by_name(tmp_path: Path, options: str, told: str) -> None:
    assert told in check_site(tmp_path, f"{{ qpq = {{ {options} }} }}")


# --- the upgrade script --------------------------------------------------------------------


@needs_lua
def test_a_router_gets_community_mesh_interfaces_and_firewall(router: Router) -> None:
    router.upgrade()
    assert router.main() == {
        "enabled": "1",
        "jail": "1",
        "memory_limit": "0",
        "firewall_zone": ["none"],
        "domain": "ffxx",
        "mesh_interface": ["mesh0", "mesh1", "vx_mesh_other", "vx_mesh_uplink"],
    }
    assert router.config().mesh_interface == ("mesh0", "mesh1", "vx_mesh_other", "vx_mesh_uplink")
    ports = {name: router.options("firewall", name)["dest_port"] for name in router.rules()}
    assert ports == {
        "mesh_qpq_beacon": "7171", "wired_mesh_qpq_beacon": "7171", "mesh_qpq_ll": "7000", "wired_mesh_qpq_ll": "7000",
        "mesh_qpq_siteprefix": "7000", "mesh_qpq_extraprefix1": "7000", "mesh_qpq_extraprefix2": "7000",
        "mesh_qpq_mdns": "5353", "loc_client_qpq": "7000",
    }  # fmt: skip
    assert router.options("firewall", "mesh_qpq_ll") == {
        "name": "mesh_qpq_ll", "src": "mesh", "src_ip": "fe80::/64", "dest_port": "7000", "proto": "udp",
        "target": "ACCEPT",
    }  # fmt: skip
    assert router.options("firewall", "mesh_qpq_extraprefix2")["src_ip"] == "2001:db8::/48"
    assert "src_ip" not in router.options("firewall", "loc_client_qpq")
    zones = {router.options("firewall", name)["src"] for name in router.rules()}
    assert zones == {"mesh", "wired_mesh", "loc_client"}


@needs_lua
@pytest.mark.parametrize(
    "site", [{}, {"qpq": {"enabled": False}}, {"qpq": {"role": "leaf", "peers": ["a:1", "b:2"], "mdns": False}}]
)
def test_the_script_changes_nothing_when_it_runs_again(router: Router, site: dict[str, object]) -> None:
    router.upgrade(**site)
    before = {path.name: path.stat().st_mtime_ns for path in router.uci.iterdir()}
    files = router.files()
    router.upgrade(**site)
    assert router.files() == files
    assert {path.name: path.stat().st_mtime_ns for path in router.uci.iterdir()} == before


@needs_lua
def test_what_the_owner_has_set_wins_over_every_later_site(router: Router) -> None:
    router.upgrade(qpq={"role": "leaf", "peers": ["a:1"], "log_level": "error"})
    router.set("option role 'relay'", "list peer '192.0.2.1:7000'", "list peer '192.0.2.2:7000'")
    router.upgrade(qpq={"role": "hub", "peers": ["b:1"], "log_level": "debug"})
    assert router.main()["role"] == "relay"
    assert router.main()["peer"] == ["192.0.2.1:7000", "192.0.2.2:7000"]
    assert router.main()["log_level"] == "debug"
    router.upgrade()
    assert router.main()["role"] == "relay"
    assert "log_level" not in router.main()


@needs_lua
def test_an_option_that_the_owner_deletes_is_the_sites_again(router: Router) -> None:
    router.upgrade(qpq={"role": "leaf"})
    router.set("option role 'relay'")
    router.upgrade(qpq={"role": "leaf"})
    (router.uci / "qpq").write_text(router.files()["qpq"].replace("\toption role 'relay'\n", ""))
    router.upgrade(qpq={"role": "hub"})
    assert router.main()["role"] == "hub"
    router.upgrade(qpq={"role": "auto"})
    assert router.main()["role"] == "auto"


@needs_lua
def test_a_router_that_had_qpq_before_gluon_keeps_its_settings(router: Router) -> None:
    router.set("option enabled '0'", "option role 'leaf'", "option listen '[::]:7777'")
    router.upgrade(qpq={"enabled": True, "role": "relay"})
    assert router.main()["enabled"] == "0"
    assert router.main()["role"] == "leaf"
    assert router.rules() == set()


@needs_lua
def test_the_site_can_install_the_node_without_starting_it(router: Router) -> None:
    router.upgrade(qpq={"enabled": False})
    assert router.main()["enabled"] == "0"
    assert router.rules() == set()
    router.set("option enabled '1'")
    router.upgrade(qpq={"enabled": False})
    assert router.main()["enabled"] == "1"
    assert "mesh_qpq_ll" in router.rules()


@needs_lua
def test_the_firewall_follows_port_mdns_and_prefixes(router: Router) -> None:
    router.upgrade()
    router.set("option listen '[::]:7777'", "option mdns 'off'")
    with (router.uci / "firewall").open("a") as firewall:
        firewall.write("config rule 'my_qpq_rule'\n\toption src 'wan'\n")
    router.upgrade(extra_prefixes6=["fd00:3::/64"])
    assert router.options("firewall", "mesh_qpq_ll")["dest_port"] == "7777"
    assert router.options("firewall", "mesh_qpq_extraprefix1")["src_ip"] == "fd00:3::/64"
    assert router.rules() >= {"my_qpq_rule", "loc_client_qpq"}
    assert not router.rules() & {"mesh_qpq_extraprefix2", "mesh_qpq_mdns"}
    assert "mesh_ssh" in router.files()["firewall"]


@needs_lua
@pytest.mark.parametrize(
    ("network", "wireless", "interfaces"),
    [
        ("config interface 'mesh_other'\n\toption ifname 'eth0'\n", WIRELESS, ["mesh0", "mesh1", "eth0"]),
        (
            "config interface 'mesh_other'\n\toption type 'bridge'\n\tlist ifname 'lan1'\n\tlist ifname 'lan2'\n",
            WIRELESS,
            ["mesh0", "mesh1", "br-mesh_other"],
        ),
        ("config interface 'mesh_uplink'\n\toption ifname 'br-wan'\n", "", ["mesh0"]),
    ],
)
def test_without_vxlan_the_beacon_keeps_to_the_mesh(
    router: Router, network: str, wireless: str, interfaces: list[str]
) -> None:
    (router.uci / "network").write_text(network)
    (router.uci / "wireless").write_text(wireless)
    router.upgrade(mesh={"vxlan": False})
    assert router.main()["mesh_interface"] == interfaces


@needs_lua
@pytest.mark.parametrize("code", ["Freifunk X", "x" * 64])
def test_a_site_code_that_is_no_name_for_a_community_is_left_out(router: Router, code: str) -> None:
    router.upgrade(site_code=code)
    assert "domain" not in router.main()
    router.config()


@needs_lua
def test_a_router_without_our_section_gets_one(router: Router) -> None:
    (router.uci / "qpq").write_text("")
    router.upgrade()
    assert router.config().domain == "ffxx"


@needs_lua
def test_the_init_script_starts_the_node_with_what_the_site_says(router: Router, tmp_path: Path) -> None:
    router.upgrade(qpq={"role": "leaf", "peers": ["[2001:db8::1]:7000"], "log_level": "warning"})
    (tmp_path / "machine").mkdir()
    machine = init_kit.Router(tmp_path / "machine")
    machine.configure(router.files()["qpq"])
    ran = machine.run("start")
    assert ran.status == 0, ran.output
    assert ran.params()["netdev"] == ["mesh0", "mesh1", "vx_mesh_other", "vx_mesh_uplink"]
    assert not [words for words in ran.args("json_add_string") if words[:1] == ["dest_port"]]


def test_the_node_itself_would_refuse_what_the_test_takes_for_right(router: Router) -> None:
    router.set("option role 'gateway'")
    with pytest.raises(ConfigError, match="role"):
        router.config()


@pytest.mark.skipif(not shutil.which("luacheck"), reason="luacheck is not installed (Debian: lua-check)")
def test_luacheck_finds_nothing_in_the_package() -> None:
    files = [str(PACKAGE / "check_site.lua"), str(UPGRADE)]
    run("luacheck", "-q", "--config", str(PACKAGE.parent / ".luacheckrc"), *files)


# --- the autoupdater's hooks ---------------------------------------------------------------

HOOKS = [PACKAGE / f"files/usr/lib/autoupdater/{when}.d/70qpq" for when in ("download", "abort")]


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.parent.name)
def test_shellcheck_finds_nothing_in_the_hooks(hook: Path) -> None:
    run("shellcheck", "--shell=sh", "--enable=all", str(hook))


@pytest.mark.skipif(not shutil.which("busybox"), reason="busybox is not installed (Debian: busybox-static)")
@pytest.mark.parametrize(("enabled", "calls"), [(0, [["stop"], ["enabled", "start"]]), (1, [["stop"], ["enabled"]])])
def test_an_update_stops_the_node_and_an_abandoned_one_starts_it_again(
    tmp_path: Path, enabled: int, calls: list[list[str]]
) -> None:
    init, noted = tmp_path / "qpq", tmp_path / "calls"
    for hook, expected in zip(HOOKS, calls, strict=True):
        assert os.access(hook, os.X_OK)
        script = hook.read_text().replace("/etc/init.d/qpq", str(init))
        if init.exists():
            init.unlink()
        assert run("busybox", "ash", "-eu", "-c", script).stdout == ""
        init.write_text(f'#!/bin/sh\necho "$1" >>{noted}\n[ "$1" != enabled ] || exit {enabled}\n')
        init.chmod(0o755)
        noted.write_text("")
        run("busybox", "ash", "-eu", "-c", script)
        assert noted.read_text().split() == expected


# --- the package as a whole ----------------------------------------------------------------


def names(pattern: str, text: str) -> Sequence[str]:
    return re.findall(pattern, text, re.MULTILINE)


def test_the_package_says_what_it_is_and_keeps_to_gluons_form() -> None:
    makefile = (PACKAGE / "Makefile").read_text()
    assert "PKG_LICENSE:=Apache-2.0" in makefile
    assert "include $(TOPDIR)/../package/gluon.mk" in makefile
    assert names(r"BuildPackageGluon,(\S+)\)\)", makefile) == ["gluon-qpq"]
    assert names(r"^  DEPENDS:=(.*)$", makefile) == ["+gluon-core +qpq +libjson-c"]
    for path in PACKAGE.rglob("*"):
        if path.is_file():
            text = path.read_bytes().decode("utf-8")  # this and the next four: Gluon's .editorconfig
            assert text.endswith("\n"), path
            assert "\r" not in text, path
            # But what the text of a page, a package's fields and C's comments begin with.
            plain = path.suffix == ".md" or path.name == "Makefile"
            assert plain or not re.search(r"^ +[^ *]", text, re.MULTILINE), path
            assert not re.search(r"[ \t]$", text, re.MULTILINE), path
            assert "nft" not in text or path.suffix == ".md", path
