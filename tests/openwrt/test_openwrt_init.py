"""The init script under BusyBox ash: what procd is told, in which order, and what it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import ubox
from hypothesis import given, reject
from hypothesis import strategies as st
from init_kit import INIT, ROOT, Router, ash

from qpq.daemon.kinds import BadValueError, Kind, parse_value
from qpq.daemon.options import OPTIONS

if TYPE_CHECKING:
    from qpq.daemon.kinds import Option

IN_FILE = [option for option in OPTIONS if option.uci]
JAIL_RO = ["/var/etc/qpq", "/etc/openwrt_release", "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf"]


@pytest.fixture
def router(tmp_path: Path) -> Router:
    return Router(tmp_path)


def test_the_shipped_configuration_starts_one_jailed_instance(router: Router) -> None:
    ran = router.run("start")
    assert (ran.status, ran.output) == (0, "")
    params = ran.params()
    assert params["command"] == ["/qpq", "daemon", "--config", "/var/etc/qpq", "--data-dir", "/etc/qpq"]
    assert params["file"] == ["/var/etc/qpq"]
    assert params["respawn"] == ["3600", "10", "0"]
    assert params["term_timeout"] == ["15"]
    assert (params["user"], params["group"]) == (["qpq"], ["qpq"])
    assert (params["stdout"], params["stderr"]) == (["1"], ["1"])
    assert (params["no_new_privs"], params["capabilities"]) == (["1"], ["/etc/capabilities/qpq.json"])
    assert "netdev" not in params
    assert ran.args("procd_add_jail") == [["qpq", "procfs", "sysfs"]]
    assert ran.args("procd_add_jail_mount") == [JAIL_RO]
    assert ran.args("procd_add_jail_mount_rw") == [["/etc/qpq", "/var/run/qpq", "/tmp/qpq"]]  # noqa: S108


def test_procds_functions_are_called_in_the_order_that_they_need(router: Router) -> None:
    names = [call[0] for call in router.run("start").calls]
    order = [
        "procd_open_service", "procd_open_instance", "procd_add_jail", "procd_add_jail_mount", "procd_open_data",
        "json_add_array", "json_close_array", "procd_close_data", "procd_close_instance", "procd_open_trigger",
        "procd_add_reload_trigger", "procd_close_service", "procd_set_config_changed",
    ]  # fmt: skip
    assert [name for name in names if name in order] == [
        *order[:6], *["json_close_array"], *order[7:]
    ]  # fmt: skip
    inside = range(names.index("procd_open_instance"), names.index("procd_close_instance"))
    assert all(at in inside for at, name in enumerate(names) if name.startswith(("procd_set_param", "json_")))
    depth = 0
    for name in names:
        depth += {"json_add_object": 1, "json_add_array": 1, "json_close_object": -1, "json_close_array": -1}.get(
            name, 0
        )
        assert depth >= 0
    assert depth == 0
    assert names.count("procd_open_data") == 1  # a second one would take the place of the first


def test_the_firewall_is_told_of_the_ports_while_the_node_runs(router: Router) -> None:
    ran = router.run("start")
    rules = _rules(ran.calls)
    assert rules == [
        {"type": "rule", "name": name, "src": "lan", "proto": "udp", "dest_port": port, "target": "ACCEPT"}
        for name, port in (("qpq", "7000"), ("qpq-beacon", "7171"))
    ]
    assert ran.args("procd_set_config_changed") == [["firewall"]]
    assert router.run("stop").args("procd_set_config_changed") == [["firewall"]]


def test_zones_and_port_of_the_firewall_rules_are_those_of_the_configuration(router: Router) -> None:
    router.options(
        "option listen '192.0.2.1:7123'", "option beacon '0'", "option group '0'",
        "list firewall_zone 'mesh'", "list firewall_zone 'any'", "list firewall_zone 'none'",
    )  # fmt: skip
    ran = router.run("start")
    assert [(rule["src"], rule["dest_port"]) for rule in _rules(ran.calls)] == [("mesh", "7123"), ("*", "7123")]


@pytest.mark.parametrize(
    ("listen", "port"),
    [("[::]", "7000"), ("::", "7000"), ("192.0.2.1", "7000"), ("[::1]:8000", "8000"), ("192.0.2.1:8000", "8000")],
)
def test_an_address_may_lack_the_port(router: Router, listen: str, port: str) -> None:
    router.options(f"option listen '{listen}'")
    assert _rules(router.run("start").calls)[0]["dest_port"] == port


@pytest.mark.parametrize(
    ("status", "mdns", "told"), [(0, "1", True), (0, "0", False), (1, "1", False), (None, "1", False)]
)
def test_one_of_umdns_and_the_node_publishes_it(router: Router, status: int | None, mdns: str, told: bool) -> None:
    """``status``: of ``/etc/init.d/umdns enabled``; None: umdns is not installed."""
    if status is not None:
        router.umdns(status)
    router.options("option listen '[::]:7001'", "option domain 'berlin'", f"option mdns '{mdns}'")
    ran = router.run("start")
    services = [["quicproquo", "udp", "7001", "ver=1", "domain=berlin"]] if told else []
    assert (ran.args("procd_add_mdns_service"), ran.output) == (services, "")
    assert ("--umdns" in ran.params()["command"]) is told


def test_nothing_starts_where_the_node_is_switched_off(router: Router) -> None:
    router.options("option enabled '0'")
    ran = router.run("start")
    assert (ran.status, ran.log(), ran.args("procd_open_instance")) == (0, [], [])
    assert ran.args("procd_add_reload_trigger") == [["qpq"]]  # so that switching it on is noticed


@pytest.mark.parametrize("line", ["option jail '0'", "option key_file '/mnt/usb/key'"])
def test_without_the_jail_procd_is_not_asked_for_what_works_only_in_it(router: Router, line: str) -> None:
    router.options(line)
    ran = router.run("start")
    assert not ran.args("procd_add_jail")
    assert not {"no_new_privs", "capabilities"} & set(ran.params())
    assert ran.params()["user"] == ["qpq"]


def test_the_jail_gets_every_directory_that_the_node_writes_to(router: Router) -> None:
    router.options(
        f"option data_dir '{router.root}/mnt/a'", f"option store_dir '{router.root}/mnt/b'",
        f"option metrics_file '{router.root}/var/prometheus/qpq.prom'", "option socket '/srv/qpq.sock'",
    )  # fmt: skip
    ran = router.run("start")
    mounts = [path for call in ran.args("procd_add_jail_mount_rw") for path in call]
    assert mounts == ["/mnt/a", "/var/run/qpq", "/mnt/b", "/var/prometheus", "/srv"]
    assert ran.params()["command"][-1] == "/mnt/a"
    assert ["qpq", "/var/prometheus"] in ran.args("chgrp")
    assert ran.args("procd_add_restart_mount_trigger") == [["/mnt/a", "/mnt/b"]]


def test_the_jail_gets_the_certificates_of_a_relay(router: Router) -> None:
    router.options("option federation_ca '/etc/ssl/qpq/ca.pem'", "option federation_certificate '/etc/qpq/own.pem'")
    assert router.run("start").args("procd_add_jail_mount") == [JAIL_RO, ["/etc/ssl/qpq"], ["/etc/qpq"]]
    router.options(f"option data_dir '{router.root}/etc/qpq'", f"option federation_ca '{router.root}/etc/qpq/ca.pem'")
    assert router.run("start").args("procd_add_jail_mount") == [JAIL_RO]


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ((), "15"),
        (("option drain_timeout '60s'",), "15"),
        (("option federation_ca '/etc/qpq/ca.pem'",), "36"),
        (("option client_port '1'",), "36"),
        (("option federation_ca '/etc/qpq/ca.pem'", "option drain_timeout '2m'"), "126"),
        (("option federation_ca '/etc/qpq/ca.pem'", "option drain_timeout '90'"), "96"),
        (("option federation_ca '/etc/qpq/ca.pem'", "option drain_timeout '5s'"), "15"),
        (
            ("option domain 'a.example'", "config relay 'b'", "option domain 'b.example'", f"list key '{'a' * 52}'"),
            "36",
        ),
    ],
)
def test_a_node_that_others_rely_on_may_take_its_time_to_stop(
    router: Router, lines: tuple[str, ...], seconds: str
) -> None:
    router.options(*lines)
    ran = router.run("start")
    assert ran.log() == []
    assert ran.params()["term_timeout"] == [seconds]


def test_directories_and_what_root_left_in_them_are_the_nodes(router: Router) -> None:
    data = router.root / "etc/qpq"
    data.mkdir(0o755)
    (data / "identity.json").write_text("{}")
    (data / "elsewhere").symlink_to("/etc/shadow")
    ran = router.run("start")
    assert [call[-1] for call in ran.args("chown") if call[-1].startswith("/etc")] == [
        "/etc/qpq",
        "/etc/qpq/identity.json",
    ]
    assert all(call[:2] == ["-h", "qpq:qpq"] for call in ran.args("chown"))
    assert {path: _mode(router.root / path) for path in ("etc/qpq", "var/run/qpq", "tmp/qpq", "var/etc/qpq")} == {
        "etc/qpq": 0o700, "var/run/qpq": 0o755, "tmp/qpq": 0o700, "var/etc/qpq": 0o640,
    }  # fmt: skip
    assert ["qpq", "/var/etc/qpq"] in ran.args("chgrp")


def test_what_is_the_nodes_already_is_not_written_again(router: Router) -> None:
    router.run("start")
    router.uid = os.getuid()
    assert not router.run("reload").args("chown")


@pytest.mark.parametrize("path", ["etc/qpq", "tmp/qpq", "var/run/qpq"])
def test_a_symbolic_link_in_place_of_a_directory_is_refused(router: Router, path: str) -> None:
    (router.root / path).symlink_to(router.root / "etc/config")
    ran = router.run("start")
    assert (ran.status, ran.log()) == (1, [f"not started: /{path} is a symbolic link; remove it"])
    assert not ran.args("procd_open_instance")


def test_memory_is_limited_by_option_or_machine(router: Router) -> None:
    router.options("option memory_limit '64'")
    assert router.run("start").params()["limits"] == ["core=0 0", f"as={64 << 20} {64 << 20}"]
    router.options()
    core, found = router.run("start").params()["limits"]
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert core == "core=0 0"
    assert abs(int(found.split()[1]) - total / 2) < 1 << 20


def test_interfaces_that_were_named_are_watched_by_their_index(router: Router) -> None:
    router.options("list mesh_interface 'mesh0'", "list mesh_interface 'mesh1'")
    assert router.run("start").params()["netdev"] == ["mesh0", "mesh1"]


def test_changes_of_configuration_and_interfaces_lead_to_a_reload(router: Router) -> None:
    ran = router.run("start")
    assert ran.args("procd_add_reload_trigger") == [["qpq"]]
    assert ran.args("procd_add_raw_trigger") == [["interface.*.up", "5000", "/etc/init.d/qpq", "reload"]]
    assert not ran.args("procd_add_restart_mount_trigger")


def test_an_unchanged_configuration_is_checked_once(router: Router) -> None:
    asked = router.root / "asked"
    checked = router.program.read_text().replace("exec", f"echo x >>{asked}; exec")
    router.program.write_text(checked)
    for _ in range(3):
        assert router.run("reload").status == 0
    assert asked.read_text() == "x\n"
    router.options("option log_level 'warning'")
    assert router.run("reload").status == 0
    assert asked.read_text() == "x\nx\n"
    router.options("option log_level 'loud'")
    for _ in range(2):
        assert router.run("reload").status == 1
    assert asked.read_text() == "x\n" * 4


def test_a_wrong_option_does_not_stop_a_node_that_runs(router: Router) -> None:
    router.options("option log_level 'loud'")
    ran = router.run("reload")
    assert ran.status == 1
    assert not ran.args("procd_open_service")  # which procd would take for: no instances any more
    (line,) = ran.log()
    assert line.startswith("not reloaded, what runs stays: ")
    assert "'loud' is not allowed for log_level" in line
    (router.root / "etc/config/qpq").unlink()
    ran = router.run("reload")
    assert (ran.status, len(ran.log()), ran.args("procd_open_service")) == (1, 1, [])


def test_the_node_reads_a_copy_since_the_configuration_is_roots_alone(router: Router) -> None:
    router.options("option role 'leaf'")
    router.run("start")
    copy = router.root / "var/etc/qpq"
    assert copy.read_text() == (router.root / "etc/config/qpq").read_text()
    before = copy.stat().st_ino
    router.options("option role 'relay'")
    router.run("reload")
    assert copy.read_text() == (router.root / "etc/config/qpq").read_text()
    assert copy.stat().st_ino == before  # in the jail the file itself is mounted


# --- what is refused -----------------------------------------------------------------------

_BAD: dict[Kind, str] = {
    Kind.BOOL: "maybe",
    Kind.PORT: "70000",
    Kind.ADDRESS: "[::]:70000",
    Kind.ADDRESSES: "host:port:x",
    Kind.STRING: "a b",
    Kind.STRINGS: "a b",
    Kind.INTERFACES: "eth0/1",
    Kind.ENUM: "some",
    Kind.INT: "-1",
    Kind.DURATION: "3 fortnights",
    Kind.SIZE: "12 parsec",
    Kind.PATH: "no/slash",
}


@pytest.mark.parametrize("option", IN_FILE, ids=lambda option: option.name)
def test_a_wrong_option_gives_one_line_with_option_value_and_what_is_allowed(router: Router, option: Option) -> None:
    verb, value = "list" if option.is_list else "option", _BAD[option.kind]
    router.options(f"{verb} {option.name} '{value}'")
    ran = router.run("start")
    (line,) = ran.log()
    assert ran.status == 1
    assert not ran.args("procd_open_instance")
    assert line.startswith("not started: /etc/config/qpq:2: ") or str(router.root) in line
    for word in (option.name, repr(value), "allowed: "):
        assert word in line
    assert ran.output == ""  # validate_data would write a line for every option


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("config qpq 'main'\n\toption enbaled '1'\n", "did you mean"),
        ("config qpq 'main'\n\toption mdns 'x'\n\toption role 'y'\n", "(and 1 more)"),
        ("config qpq 'main'\n\toption mdns\n", "option takes 2 words"),
        ("config qpq 'main'\n\tlist peer 'bad:x'\n\tlist peer '192.0.2.1:7000'\n", "'bad:x'"),
        ("config qpq 'main'\n\toption data_dir '/mnt/my stick'\n", "without blanks"),
        ("config qpq 'main'\n\toption socket_group 'nobody-knows-it'\n", "knows no group"),
    ],
)
def test_what_validate_data_does_not_see_is_refused_too(router: Router, text: str, word: str) -> None:
    router.configure(text)
    ran = router.run("start")
    assert ran.status == 1
    assert len(ran.log()) == 1
    assert word in ran.log()[0]
    assert not ran.args("procd_open_instance")


def test_without_its_user_or_its_configuration_the_node_does_not_start(router: Router) -> None:
    router.user = False
    ran = router.run("start")
    assert (ran.status, ran.log()) == (1, ["not started: the user qpq is missing; install the package again"])
    (router.root / "etc/config/qpq").unlink()
    ran = router.run("start")
    assert (ran.status, len(ran.log())) == (1, 1)
    assert not ran.args("procd_open_instance")


_ALLOWED = {
    Kind.BOOL: st.sampled_from(["0", "1", "on", "off", "yes", "no", "true", "false", "enabled", "disabled"]),
    Kind.PORT: st.integers(0, 70000).map(str),
    Kind.ADDRESS: st.one_of(
        st.ip_addresses(v=4).map(str),
        st.ip_addresses(v=6).map(str),
        st.tuples(st.ip_addresses(v=6), st.integers(1, 65535)).map(lambda pair: f"[{pair[0]}]:{pair[1]}"),
        st.tuples(st.ip_addresses(v=4), st.integers(1, 65535)).map(lambda pair: f"{pair[0]}:{pair[1]}"),
    ),
    Kind.ADDRESSES: st.from_regex(r"[a-z0-9.-]{1,70}(:[0-9]{1,5})?", fullmatch=True),
    Kind.STRING: st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True),
    Kind.STRINGS: st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True),
    Kind.INTERFACES: st.from_regex(r"[A-Za-z0-9_.@-]{1,16}", fullmatch=True),
    Kind.INT: st.integers(0, 100_000).map(str),
    Kind.DURATION: st.from_regex(r"[0-9]{1,7}[smhdw]?", fullmatch=True),
    Kind.SIZE: st.from_regex(r"[0-9]{1,13}([kmgtKMGT]([iI]?[bB])?|[bB])?", fullmatch=True),
    Kind.PATH: st.from_regex(r"/[^ \x00-\x1f\x7f-\xff]{0,40}", fullmatch=True),
}


@pytest.mark.parametrize("option", IN_FILE, ids=lambda option: option.name)
@given(data=st.data())
def test_whatever_the_node_allows_passes_the_routers_own_validation(option: Option, data: st.DataObject) -> None:
    rules = dict(
        line.strip("\t' \\").split(":", 1) for line in INIT.read_text().splitlines() if line.startswith("\t\t'")
    )
    values = st.sampled_from(option.choices) if option.kind is Kind.ENUM else _ALLOWED[option.kind]
    value = data.draw(values)
    try:
        parse_value(option, value)
    except BadValueError:
        reject()
    assert ubox.allows(ubox.parse(rules[option.name].partition(":")[0]), value)


# --- the rest ------------------------------------------------------------------------------


def test_version_and_status_are_the_nodes_own_words(router: Router) -> None:
    assert router.run("version").output.startswith("qpq ")
    assert router.run("start").args("extra_command")[0][0] == "version"
    ran = router.run("status")
    assert ran.status == 3  # as for every stopped service
    assert "daemon" in ran.output


def test_the_links_order_at_boot_and_halt_is_set() -> None:
    text = INIT.read_text()
    assert text.startswith("#!/bin/sh /etc/rc.common\n")
    assert "\nUSE_PROCD=1\nSTART=95\nSTOP=10\n" in text


@pytest.mark.parametrize("name", ["procd/qpq.init", "procd/qpq.ntp", "uci/50-qpq", "tests/openwrt/rc.sh"])
def test_scripts_are_clean_for_shellcheck_and_ash(name: str) -> None:
    subprocess.run([*ash(), "-n", str(ROOT / name)], check=True, timeout=30)
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck")
    done = subprocess.run(["shellcheck", str(ROOT / name)], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ""


def test_the_mark_of_a_set_clock_is_made_once_ntpd_has_a_time(tmp_path: Path) -> None:
    script = (ROOT / "procd/qpq.ntp").read_text().replace("/var/run/qpq", f"{tmp_path}/run")
    for action, expected in (("step", False), ("stratum", False)):
        subprocess.run([*ash(), "-c", script], env={"ACTION": action}, check=False, timeout=30)
        assert (tmp_path / "run/ntp").exists() is expected
    (tmp_path / "run").mkdir()
    for _ in range(2):
        subprocess.run([*ash(), "-c", script], env={"ACTION": "stratum"} | _path(), check=True, timeout=30)
        assert (tmp_path / "run/ntp").is_dir()


def _path() -> dict[str, str]:
    return {"PATH": os.environ["PATH"]}


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def _rules(calls: list[list[str]]) -> list[dict[str, str]]:
    """Return the objects of the firewall's array."""
    begin = calls.index(["json_add_array", "firewall"])
    rules: list[dict[str, str]] = []
    for name, *words in calls[begin + 1 : calls.index(["json_close_array"], begin)]:
        if name == "json_add_object":
            rules.append({})
        elif name == "json_add_string":
            rules[-1][words[0]] = words[1]
    return rules
