"""The console over SSH: a real dropbear, BusyBox ash as root's shell, the static binary; and what each key may do.

anna's key is restricted as docs/usage.md says for dropbear. She gets her inbox, and nothing else, whatever she tries.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pexpect
import pytest
import ssh_kit
from ssh_kit import ROOT, SECONDS, Router, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TMP = "/tmp"  # noqa: S108 (the router's)
SECRET = "the secret of this router"  # noqa: S105 (a file's content)
FOR_ANNA = "the bridge is open"
FOR_ME = "only the first user reads this"
DOCUMENTED = 'command="qpq --restricted --as anna",no-port-forwarding,no-agent-forwarding,no-X11-forwarding'
FORWARDS = ("-o", "ExitOnForwardFailure=yes")


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with running(tmp_path_factory.mktemp("ssh")) as found:
        assert found.ssh("root", "qpq mesh user add anna").status == 0
        ids = dict(line.split() for line in found.ssh("root", "qpq mesh user list").output.splitlines()[1:])
        assert found.ssh("root", f"qpq mesh send {ids['anna']} {FOR_ANNA}").status == 0
        assert found.ssh("root", f"qpq --user anna mesh send {ids['me']} {FOR_ME}").status == 0
        found.authorize({"root": "", "anna": DOCUMENTED})
        yield found


def _console(router: Router, name: str, *words: str) -> pexpect.spawn[str]:
    command = router.command(name, *words, options=("-tt",))
    return pexpect.spawn(
        command[0], command[1:], timeout=SECONDS, encoding="utf-8", env={"TERM": "vt100", "PATH": "/usr/bin:/bin"}
    )


# --- root ----------------------------------------------------------------------------------


def test_the_documented_lines_for_authorized_keys_are_the_tested_ones() -> None:
    for name in ("docs/usage.md", "docs/usage.de.md"):
        assert f"\n{DOCUMENTED} ssh-ed25519 AAAA" in (ROOT / name).read_text(encoding="utf-8"), name


def test_a_command_over_ssh_prints_and_ends(router: Router) -> None:
    done = router.ssh("root", "qpq mesh peers")
    assert (done.status, done.errors) == (0, "")
    assert "peers" in done.output
    assert router.ssh("root", "qpq", "mesh", "nothing").status == 2


def test_roots_login_shell_is_the_routers(router: Router) -> None:
    assert router.ssh("root", "readlink /proc/$$/exe; echo $0").output.split() == ["/bin/busybox", "ash"]


def test_qpq_over_ssh_opens_the_console(router: Router) -> None:
    console = _console(router, "root", "qpq")
    console.expect("qpq")
    console.sendline("/mesh user list")
    console.expect("anna")
    console.sendline("/quit")
    console.expect(pexpect.EOF)
    console.close()
    assert console.exitstatus == 0


def test_without_a_terminal_the_console_reads_commands_from_the_client(router: Router) -> None:
    done = router.ssh("root", "qpq", text="/mesh user list\n/quit\n")
    assert done.status == 0
    assert "anna" in done.output


# --- anna ----------------------------------------------------------------------------------


def test_anna_reads_her_inbox_and_no_other(router: Router) -> None:
    for words in ("mesh inbox", "qpq mesh inbox", "/mesh inbox"):
        done = router.ssh("anna", words)
        assert done.status == 0
        assert FOR_ANNA in done.output
        assert FOR_ME not in done.output


def test_anna_gets_her_console_whether_she_asks_for_it_or_for_a_shell(router: Router) -> None:
    console = _console(router, "anna")
    console.sendline("/mesh inbox")
    console.expect(FOR_ANNA)
    for line in (
        "/mesh user list",
        "/mesh user export me",
        "!cat /etc/secret",
        "/run cat /etc/secret",
        "cat /etc/secret",
    ):
        console.sendline(line)
    for key in ("\x1a", "\x1c", "\x0f", "\x18\x05"):  # stop, quit, and what other editors open a program with
        console.send(key)
    console.sendline("/mesh send me x\t\t")
    console.sendline("/version")
    console.expect(r"qpq [0-9.]+")
    before = console.before or ""
    assert SECRET not in before
    assert FOR_ME not in before
    console.sendline("/quit")
    console.expect(pexpect.EOF)
    assert SECRET not in (console.before or "")
    console.close()


def test_when_annas_console_ends_there_is_no_shell_behind_it(router: Router) -> None:
    for ending in ("\x04", "\x03\x03\x04", "/quit\n"):
        console = _console(router, "anna")
        console.expect("qpq")
        console.send(ending)
        console.send("cat /etc/secret\n")
        console.expect(pexpect.EOF)
        assert SECRET not in (console.before or "")
        console.close()


@pytest.mark.parametrize(
    "line",
    [
        "cat /etc/secret", "/bin/ash", "sh -c 'cat /etc/secret'", "mesh inbox; cat /etc/secret",
        "mesh inbox && cat /etc/secret", "mesh inbox | cat /etc/secret", "mesh inbox & cat /etc/secret",
        "mesh inbox $(cat /etc/secret)", "mesh inbox `cat /etc/secret`", "mesh inbox\ncat /etc/secret",
        "mesh inbox\r\ncat /etc/secret", "mesh inbox > /tmp/made", "mesh inbox < /etc/secret", "mesh inbox ${IFS}x",
        "'; cat /etc/secret; '", '"$(cat /etc/secret)"', "\\\ncat /etc/secret", "qpq; cat /etc/secret",
    ],
)  # fmt: skip
def test_no_shell_sees_what_anna_asks_for(router: Router, line: str) -> None:
    _refused(router, line)


@pytest.mark.parametrize(
    "line",
    [
        "--user me mesh inbox", "mesh inbox --user me", "--as me --restricted mesh inbox", "--as=me mesh inbox",
        "--socket /var/run/qpq/qpq.sock mesh inbox", "--config /etc/secret mesh inbox", "--data-dir /tmp mesh inbox",
        "--history /tmp/made mesh inbox", "-- --user me mesh inbox", "qpq --user me mesh inbox",
        "qpq qpq mesh inbox", "daemon --data-dir /tmp/made", "run --data-dir /tmp/made", "selftest",
    ],
)  # fmt: skip
def test_anna_has_no_options(router: Router, line: str) -> None:
    _refused(router, line)


@pytest.mark.parametrize(
    "line",
    [
        "mesh user list", "mesh user add eve", "mesh user remove me", "mesh user export me",
        "mesh user export me --file /tmp/made", "mesh user import", "mesh server 192.0.2.1:7000", "wipe --yes",
        "lock set", "lock off", "lock key-file /tmp/made", "unlock",
        "mesh identity --file /tmp/made", "federation ca init /tmp/made x", "federation ca show /etc/secret",
        "client token add eve", "doctor", "metrics",
    ],
)  # fmt: skip
def test_what_belongs_to_the_node_is_not_annas(router: Router, line: str) -> None:
    if line in {"doctor", "metrics"}:
        assert SECRET not in router.ssh("anna", line).output
        return
    _refused(router, line)


@pytest.mark.parametrize(
    "variables",
    [
        {"QPQ_USER": "me"}, {"QPQ_SOCKET": f"{TMP}/x"}, {"QPQ_CONFIG": "/etc/secret"}, {"QPQ_DATA_DIR": TMP},
        {"QPQ_HISTORY": f"{TMP}/made"}, {"SSH_ORIGINAL_COMMAND": "--user me mesh inbox"}, {"HOME": TMP},
        {"LD_PRELOAD": f"{TMP}/x.so"}, {"ENV": "/etc/secret"}, {"PATH": TMP}, {"PYTHONPATH": TMP},
        {"PYTHONSTARTUP": "/etc/secret"}, {"PYTHONINSPECT": "1"},
    ],
    ids=lambda variables: next(iter(variables)),
)  # fmt: skip
def test_annas_environment_changes_nothing(router: Router, variables: dict[str, str]) -> None:
    options = [word for name, value in variables.items() for word in ("-o", f'SetEnv={name}="{value}"')]
    done = router.ssh("anna", "mesh inbox", options=tuple(options))
    assert done.status == 0
    assert FOR_ANNA in done.output
    assert FOR_ME not in done.output
    assert not (router.root / "tmp/made").exists()


@pytest.mark.parametrize(
    "options",
    [("-W", "127.0.0.1:{port}"), ("-N", "-R", "{free}:127.0.0.1:{port}", *FORWARDS)],
    ids=["from here", "from there"],
)
def test_annas_key_forwards_no_port(router: Router, options: tuple[str, ...]) -> None:
    filled = tuple(word.format(port=router.port, free=ssh_kit.free_port()) for word in options)
    done = router.ssh("anna", options=filled)
    assert done.status == 255
    assert "SSH-2.0" not in done.output  # what dropbear would say through a tunnel to itself
    if "-W" in options:
        assert "SSH-2.0" in router.ssh("root", options=filled).output  # the attempt itself is a good one


def test_annas_key_forwards_neither_agent_nor_display(router: Router, tmp_path: Path) -> None:
    router.authorize({"root": "", "anna": DOCUMENTED, "eve": DOCUMENTED.replace("qpq --restricted --as anna", "env")})
    agent = subprocess.run(["ssh-agent", "-a", str(tmp_path / "agent")], capture_output=True, text=True, check=True)
    number = re.search(r"SSH_AGENT_PID=(\d+)", agent.stdout)
    assert number is not None
    try:
        variables = {"SSH_AUTH_SOCK": str(tmp_path / "agent"), "DISPLAY": "127.0.0.1:9"}
        seen = router.ssh("eve", "x", options=("-A", "-X"), environment=variables).output
    finally:
        subprocess.run(["kill", number[1]], check=True)
        router.authorize({"root": "", "anna": DOCUMENTED})
    assert "SSH_ORIGINAL_COMMAND=x" in seen
    assert "SSH_AUTH_SOCK" not in seen
    assert "DISPLAY" not in seen


@pytest.mark.parametrize("command", [("scp", "-O"), ("scp", "-s"), ("sftp",)], ids=" ".join)
def test_anna_copies_no_file(router: Router, tmp_path: Path, command: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]} (Debian: openssh-client)")
    (tmp_path / "mine").write_text("x")
    settings = ["-F", "none", "-P", str(router.port), "-i", str(router.key("anna")), "-o", "BatchMode=yes"]
    settings += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    pairs = [
        ["root@127.0.0.1:/etc/secret", str(tmp_path / "stolen")],
        [str(tmp_path / "mine"), "root@127.0.0.1:/tmp/made"],
    ]
    for pair in pairs if command[0] == "scp" else pairs[:1]:
        done = subprocess.run(
            [*command, *settings, *pair], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode != 0
        assert SECRET not in done.stdout + done.stderr
    assert not (tmp_path / "stolen").exists()
    assert not (router.root / "tmp/made").exists()


def _refused(router: Router, line: str) -> None:
    """Have anna ask for it: she gets a reason and nothing of the router, and no file is made."""
    done = router.ssh("anna", line)
    assert done.status in {1, 2}, done
    assert done.errors.startswith("qpq: ")
    for word in (SECRET, FOR_ME, "Traceback"):
        assert word not in done.output + done.errors
    assert not list((router.root / "tmp").iterdir())
