"""What two routers must do together, from the first boot to the one after the power cut, step by step."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router import parts
from router.asking import available, kept_for, linked, lost_by, pid, ready, resident, texts, told
from router.facts import FACTS
from router.figures import Figures
from router.filled import stranger
from router.machine import BootError, Machine, Plug

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from router.boards import Board
    from router.filled import Filled
    from router.parts import Parts

LINK = (
    240.0  # seconds until two nodes must have found each other; emulated processors take most of it for one handshake
)
DELIVERY = 120.0
COMMIT = 60  # seconds of commit_interval, the least there is, and of the time at rest
SETTLED = 8.0  # seconds after which what is a node's own lies on flash (5 s at most, and the writing)
FREED = 15.0  # seconds after which what a start leaves in memory is freed (pressure.IMPORTS_SECONDS)
SHORT = 10_000_000  # bytes left: less than what daemon/pressure.py calls enough; with half the kernel kills programs
ENOUGH = 20_000_000  # bytes left: more than what it calls enough again
NOTICED = 60.0  # seconds for a node to look at the memory, when it is told to
QUIET = 64.0  # seconds after which what was said before is written, and what was deleted taken out (after 60 s)
LETTER = "Grüße über das Netz"
CALL = "Alle ins Rathaus"
LATER = "für später"
TOPIC = "dorf"
SECTOR = 512
KIB = 1024


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters of a machine at one moment: packets and bytes sent, sectors written to its disk."""

    packets: int
    sent: int
    sectors: int


class Story:
    """Two machines of one board on one cable.

    ``say`` is told each step. While ``idle()`` is entered other machines may have the processor. ``filled()`` waits for
    the data of a router whose store is full.
    """

    def __init__(
        self,
        board: Board,
        made: Parts,
        package: Path,
        folder: Path,
        say: Callable[[str], None],
        idle: Callable[[], contextlib.AbstractContextManager[None]],
        filled: Callable[[], Filled],
    ) -> None:
        self.board = board
        self.say = say
        self.idle = idle
        self.filled = filled
        self.figures = Figures()
        initrd = folder / "initrd"
        parts.initrd(made, initrd)
        ends = (folder / "a.lan", folder / "b.lan")
        self.plugs = (
            Plug(ends[0], ends[1], "52:54:00:51:50:0a", "10.77.0.1"),
            Plug(ends[1], ends[0], "52:54:00:51:50:0b", "10.77.0.2"),
        )
        machines = []
        for name, preinstalled in (("anna", True), ("bert", False)):
            disk = folder / f"{name}.disk"
            parts.disk(board, made, disk, package, preinstalled=preinstalled)
            machines.append(Machine(name, board, made.kernel, initrd, disk))
        self.first, self.second = machines

    def run(self) -> Figures:
        """Tell the story; BootError where it goes another way."""
        begin = time.monotonic()
        with contextlib.ExitStack() as stack:
            for machine in (self.first, self.second):
                stack.callback(machine.cut)
            identities = self._boot()
            self._meet(identities)
            self._write()
            stranger = self._keep(identities)
            self._rest()
            self._cut(identities, stranger)
            for name, fact in FACTS.items():
                fact(self.second, lambda: linked(self.second, identities[0]))
                self._step(name)
            self._full(identities[0])
            self._short()
            self.first.off()
            log = self.second.log()
            if "Traceback" in log:
                raise BootError(f"{self.board.target}: a traceback in the log:\n{log}")
            self.figures.processor = self._processor()
        self.figures.took = time.monotonic() - begin
        return self.figures

    # --- the steps -------------------------------------------------------------------------------

    def _boot(self) -> tuple[str, str]:
        """One machine has the package in its image, the other gets it by opkg; return their identities."""
        self.first.switch_on(self.plugs[0])
        self.second.switch_on(self.plugs[1], "qpq.fixtime")
        for machine in (self.first, self.second):
            machine.wait_booted()
        first = ready(self.first)
        self._step("a preinstalled package is started at boot")
        self.second.do("! pidof qpq")
        self.second.do("opkg install /mnt/qpq.ipk")
        second = ready(self.second)
        self.second.do("/etc/init.d/qpq enabled")
        self._step("opkg install enables and starts the service")
        self.figures.boot = max(float(machine.do("cat /tmp/booted")) for machine in (self.first, self.second))
        return first, second

    def _meet(self, identities: tuple[str, str]) -> None:
        begin = time.monotonic()
        for machine, other in ((self.first, identities[1]), (self.second, identities[0])):
            machine.wait("a link", lambda machine=machine, other=other: linked(machine, other), LINK)
        self.figures.linked = time.monotonic() - begin
        self._step(f"they find each other ({', '.join(sorted(_ways(self.first)))})")

    def _write(self) -> None:
        people = {}
        for machine in (self.first, self.second):
            people[machine.name] = machine.ask(f"mesh user add {machine.name}")["id"]
            machine.ask(f"mesh subscribe {TOPIC} --user {machine.name}")
        for sender, other in ((self.first, self.second), (self.second, self.first)):
            sender.do(
                f"qpq mesh send {people[other.name]} '{LETTER}' --user {sender.name} --wait {DELIVERY:.0f}",
                DELIVERY + 30.0,
            )
        self._step("a message each way, with its receipt")
        self.first.ask(f"mesh broadcast {TOPIC} '{CALL}' --user anna")
        self.second.wait("the broadcast", lambda: CALL in texts(self.second), DELIVERY)
        self._step("a broadcast")
        for machine in (self.first, self.second):
            machine.wait("the other's mDNS", lambda machine=machine: _heard_mdns(machine), LINK)
        self._step("each hears the other's mDNS")

    def _keep(self, identities: tuple[str, str]) -> str:
        """Let the second machine keep something for a stranger, and have something of its own on its way."""
        number = pid(self.second)
        self.second.do(f"uci set qpq.main.commit_interval={COMMIT}s && uci commit qpq && reload_config")
        self.second.wait("a restart with the new option", lambda: pid(self.second) != number)
        ready(self.second)
        self._step("reload_config applies what was changed")
        self.second.wait("a link after the restart", lambda: linked(self.second, identities[0]), LINK)
        strangers = [stranger(), stranger()]
        self.first.ask(f"mesh send {strangers[0]} '{LATER}' --user anna")
        self.second.ask(f"mesh send {strangers[1]} '{LATER}' --user bert")
        self.second.wait("custody", lambda: kept_for(self.second, strangers[0]), DELIVERY)
        self._step("what nobody can take yet waits at the neighbour")
        return strangers[0]

    def _rest(self) -> None:
        """Nobody writes: in the first minute the second machine commits its custody, then all flash stays as it is."""
        with self.idle():
            time.sleep(SETTLED)
            before, begin = self._counted(), time.monotonic()
            time.sleep(QUIET)
            middle = self._counted()
            time.sleep(COMMIT)
            after, minutes = self._counted(), (time.monotonic() - begin) / 60.0
        figures = self.figures
        figures.rest_flash = (after[0].sectors - middle[0].sectors) * SECTOR
        figures.commit = (middle[1].sectors - before[1].sectors) * SECTOR
        figures.rest_packets = max(new.packets - old.packets for old, new in zip(before, after, strict=True)) / minutes
        figures.rest_bytes = max(new.sent - old.sent for old, new in zip(before, after, strict=True)) / minutes / 60.0
        figures.snapshot = int(self.second.ask("mesh store")["snapshot"]["bytes"])
        for machine in (self.first, self.second):
            left, lost = available(machine), lost_by(machine)
            if lost > figures.lost:
                figures.lost, figures.available = lost, left
            figures.resident = max(figures.resident, resident(machine))
        figures.ready = float(re.findall(r"ready: qpq \S+ after ([0-9.]+) s", self.first.log())[-1])
        self._step("a minute at rest is measured")

    def _counted(self) -> list[Counters]:
        return [_counters(machine) for machine in (self.first, self.second)]

    def _cut(self, identities: tuple[str, str], stranger: str) -> None:
        second = self.second
        second.cut()
        second.switch_on(self.plugs[1], "qpq.fixtime", stick=self.filled().tar)
        second.wait_booted()
        if ready(second) != identities[1]:
            raise BootError(f"{self.board.target}: another identity after the power cut")
        self._step("after the power cut it has its identity")
        held = texts(second)
        if not {LETTER, CALL} <= held:
            raise BootError(f"{self.board.target}: after the power cut the inbox holds {held}")
        sent = {row["text"] for row in second.ask("mesh outbox --user bert")}
        if not {LETTER, LATER} <= sent:
            raise BootError(f"{self.board.target}: after the power cut the outbox holds {sent}")
        self._step("its user has inbox and outbox")
        if not kept_for(second, stranger):
            raise BootError(f"{self.board.target}: what was kept for others is gone: {second.ask('mesh store')}")
        self._step("what it kept for others is there")
        second.wait("a link after the power cut", lambda: linked(second, identities[0]), LINK)
        self._step("it is linked again")

    def _full(self, neighbour: str) -> None:
        """Give the second machine the data of a router whose store is full, and measure it again."""
        second, filled, figures = self.second, self.filled(), self.figures
        second.do("/etc/init.d/qpq stop && ! pidof qpq && rm -r /etc/qpq/* /tmp/qpq/*")
        second.do("tar -xf /dev/vdb -C / && chown -R qpq:qpq /etc/qpq /tmp/qpq && /etc/init.d/qpq start")
        if ready(second) != filled.identity:
            raise BootError(f"{self.board.target}: it did not take the data of the router whose store is full")
        second.wait("a link with a full store", lambda: linked(second, neighbour), LINK)
        self._holds(filled)
        second.do(f"kill -HUP {pid(second)}")  # it looks at the memory, and frees what its start has left in it
        with self.idle():
            time.sleep(FREED)
        figures.full_store = int(second.do("du -sk /tmp/qpq | cut -f 1")) * KIB
        figures.full_lost, figures.full_resident = lost_by(second), resident(second)
        self._step(f"{filled.messages} messages and {filled.others} of others fill its store")

    def _short(self) -> None:
        """Take the memory that is left and give it back: the node says so, and lives."""
        second, number = self.second, pid(self.second)
        second.do("mkdir /tmp/ballast && mount -t tmpfs -o size=100% tmpfs /tmp/ballast")
        much = (available(second) - SHORT) // KIB
        second.do(f"dd if=/dev/zero of=/tmp/ballast/all bs={KIB} count={much} 2>/dev/null; kill -HUP {number}")
        second.wait("its word that memory is short", lambda: told(second, "memory is short"), NOTICED)
        second.do("umount /tmp/ballast")
        enough = available(second) > ENOUGH  # on a machine whose kernel takes more it stays at half of its caps
        second.do(f"kill -HUP {number}")
        if enough:
            second.wait("its word that there is enough", lambda: told(second, "all limits are as before"), NOTICED)
        if pid(second) != number:
            raise BootError(f"{self.board.target}: the node did not live through a shortage of memory")
        self._holds(self.filled())
        self._step("memory gets short and comes back")

    def _holds(self, filled: Filled) -> None:
        """Check that nothing of the router's people is gone; while it hands on what it keeps, answers take long."""
        held = self.second.wait("an answer about its store", lambda: self.second.ask("mesh store"), DELIVERY)
        if held["inbox"] != filled.messages:
            raise BootError(f"{self.board.target}: of {filled.messages} messages there are: {held}")

    def _processor(self) -> float:
        return self.first.processor() + self.second.processor()

    def _step(self, what: str) -> None:
        self.figures.steps.append(what)
        self.say(f"{what}; {self._processor():.0f} s of a processor")


def _ways(machine: Machine) -> Iterator[str]:
    return (row["via"] for row in machine.ask("mesh peers") if row["state"] == "linked")


def _heard_mdns(machine: Machine) -> bool:
    return int(machine.ask("status")["counters"]["discovery.mdns_peers_found"]) > 0


def _counters(machine: Machine) -> Counters:
    network = "/sys/class/net/eth0/statistics"
    text = machine.do(f"sync; cat {network}/tx_packets {network}/tx_bytes; awk '{{ print $7 }}' /sys/block/vda/stat")
    return Counters(*(int(word) for word in text.split()))
