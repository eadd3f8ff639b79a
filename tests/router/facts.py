"""What a real router does to a running service, done to one: each function is a fact that a package is built for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from router.asking import pid, ready, state, told
from router.machine import BootError

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.machine import Machine

    Fact = Callable[[Machine, Callable[[], bool]], None]

LINK = 240.0
RESPAWN = 10.0  # seconds that the init script asks for
NOTICE = 2.0  # seconds without any address
OTHER_CARD = "52:54:00:51:50:0c"
MARK = "boot check was here"


def lines_in_the_log(machine: Machine, _linked: Callable[[], bool]) -> None:
    """A static binary is not reached by procd's LD_PRELOAD that makes stdout line-buffered: it has to do it itself."""
    if not told(machine, "ready: qpq") or not pid(machine):
        raise BootError(f"{machine.name}: a node that runs has not said so in the log:\n{machine.log()}")


def no_privileges(machine: Machine, _linked: Callable[[], bool]) -> None:
    """Without the jail no_new_privs has no effect, and user and group are all that protects: both are told right."""
    told = {row.split()[0]: row.split()[1:] for row in state(machine).splitlines()}
    if told["NoNewPrivs:"] != ["0"] or "0" in (*told["Uid:"], *told["Gid:"]) or set(told["CapEff:"][0]) != {"0"}:
        raise BootError(f"{machine.name}: unjailed the node runs as {told}")


def an_address_that_changes(machine: Machine, linked: Callable[[], bool]) -> None:
    """An interface that comes back triggers a reload, which leaves an unchanged instance alone: the daemon follows.

    With the card's own address the link-local one changes too, so nothing of the old way is left.
    """
    number = pid(machine)
    machine.do("ip link set eth0 down && ip addr flush dev eth0 && event interface.lan.down")
    time.sleep(NOTICE)
    machine.do(f"ifconfig eth0 hw ether {OTHER_CARD} && ip link set eth0 up && ip addr add 10.77.0.77/24 dev eth0")
    machine.do("event interface.lan.up")
    machine.wait("a link from the new address", linked, LINK)
    machine.wait("an answer there", lambda: machine.run(f"qpq mesh ping {_other(machine)}")[0] == 0, LINK)
    if pid(machine) != number:
        raise BootError(f"{machine.name}: the node was restarted for an address")


def a_node_that_dies(machine: Machine, linked: Callable[[], bool]) -> None:
    """Procd starts again what ended; a crash in between costs nobody's message."""
    number = pid(machine)
    machine.do(f"kill -9 {number}")
    machine.wait("another process", lambda: pid(machine) not in {"", number}, RESPAWN * 6)
    ready(machine)
    machine.wait("a link after the crash", linked, LINK)


def an_upgrade(machine: Machine, linked: Callable[[], bool]) -> None:
    """Opkg keeps an edited conffile, lays the new one beside it, and restarts a service that stays enabled."""
    number, identity = pid(machine), machine.ask("mesh identity")["id"]
    machine.do(f"echo '# {MARK}' >>/etc/config/qpq && opkg install /mnt/qpq.ipk")
    machine.do(f"grep -q '{MARK}' /etc/config/qpq && [ -e /etc/config/qpq-opkg ] && /etc/init.d/qpq enabled")
    machine.wait("another process", lambda: pid(machine) not in {"", number})
    if ready(machine) != identity:
        raise BootError(f"{machine.name}: another identity after the upgrade")
    machine.wait("a link after the upgrade", linked, LINK)


def a_value_that_is_wrong(machine: Machine, linked: Callable[[], bool]) -> None:
    """A wrong option is one line that names it; it does not stop what runs, but starts nothing; put right it does."""
    number = pid(machine)
    machine.do("uci set qpq.main.role=king && uci commit qpq && reload_config")
    if pid(machine) != number:
        raise BootError(f"{machine.name}: a wrong option stopped the node that ran")
    _said(machine, "not reloaded")
    machine.do("/etc/init.d/qpq stop; /etc/init.d/qpq start; ! pidof qpq")
    _said(machine, "not started")
    machine.do("uci delete qpq.main.role && uci commit qpq && reload_config")
    ready(machine)
    machine.wait("a link with the option put right", linked, LINK)


def _said(machine: Machine, what: str) -> None:
    """Check that the log has one line of this kind, with the option's name and what is allowed."""
    said = [row for row in machine.log().splitlines() if what in row]
    if len(said) != 1 or "role" not in said[0] or "relay" not in said[0]:
        raise BootError(f"{machine.name}: of a wrong option the log says {said}")


def _other(machine: Machine) -> str:
    """Return the id of a user of the neighbour."""
    return str(next(user["id"] for row in machine.ask("mesh peers") for user in row["users"]))


FACTS: dict[str, Fact] = {
    "log lines arrive while the node runs": lines_in_the_log,
    "no_new_privs has no effect without the jail, the node's user has": no_privileges,
    "an address that changes is noticed without a restart": an_address_that_changes,
    "what dies is started again": a_node_that_dies,
    "an upgrade keeps what was edited": an_upgrade,
    "a wrong option is told in one line and starts nothing": a_value_that_is_wrong,
}
