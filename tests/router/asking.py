"""What is asked of a machine again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.machine import Machine

START = 300.0  # seconds from the start of a node to its word, on a host that has other work too
KIB = 1024
CHILD = "$(cat /var/run/procd/qpq/instance1.child)"


def pid(machine: Machine) -> str:
    """Return the node's process id, empty where none runs."""
    status, text = machine.run(f"p={CHILD} && kill -0 $p && echo $p")
    return "" if status else text.strip()


def ready(machine: Machine) -> str:
    """Return the identity of the node that runs, when it has said that it is ready, and answers.

    The log is looked into, since on an emulated processor every call of the program takes seconds.
    """
    machine.wait("the node's process", lambda: pid(machine))
    machine.wait("the node's word that it is ready", lambda: told(machine, "ready: qpq"), START)
    return str(machine.ask("mesh identity")["id"])


def told(machine: Machine, words: str) -> bool:
    """Whether the process that runs now has logged these words."""
    return machine.run(f"p={CHILD} && /sbin/logread | grep -F \"qpq[$p]:\" | grep -qF '{words}'")[0] == 0


def state(machine: Machine) -> str:
    """Return what the kernel says of the node's process (proc(5), status)."""
    return machine.do(f"cat /proc/{pid(machine)}/status")


def available(machine: Machine) -> int:
    """Return the bytes of memory that programs may still take."""
    return int(machine.do("awk '/^MemAvailable/ { print $2 }' /proc/meminfo")) * KIB


def lost_by(machine: Machine) -> int:
    """Return how many bytes of it there are less than before the services started."""
    return int(machine.do("cat /tmp/available")) * KIB - available(machine)


def resident(machine: Machine) -> int:
    """Return the bytes of RAM that the node's process has."""
    return int(next(row.split()[1] for row in state(machine).splitlines() if row.startswith("VmRSS"))) * KIB


def linked(machine: Machine, identity: str) -> bool:
    """Whether there is a link to a node."""
    return told(machine, f"linked with {identity}") and any(
        row["id"] == identity and row["state"] == "linked" for row in machine.ask("mesh peers")
    )


def texts(machine: Machine) -> set[str]:
    """Return the texts in the inbox of the user that is called like the machine."""
    return {row["text"] for row in machine.ask(f"mesh inbox --all --user {machine.name}")}


def kept_for(machine: Machine, stranger: str) -> bool:
    """Whether the node keeps something for somebody."""
    rows: list[dict[str, Any]] = machine.ask("mesh store")["by_recipient"]
    return any(row["id"] == stranger for row in rows)
