"""Whether this machine's wall clock can be believed, and whether it jumped."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpq.paths import OPENWRT_MARK

if TYPE_CHECKING:
    from collections.abc import Callable

RELEASED = 1_793_491_200
"""Unix seconds of 2026-11-01: no right clock shows an earlier time to this version."""
FAR = 4_102_444_800
"""Unix seconds of 2100-01-01: no right clock shows a later time."""
JUMP = 2.0
"""Seconds that wall and monotonic clock may drift apart between two looks before it is called a jump."""

NTP_MARKS = (
    "/var/run/qpq/ntp",  # written by our hotplug.d/ntp script
    "/var/state/dnsmasqsec",  # written by OpenWrt's dnsmasq hotplug script once ntpd has a time
    "/run/systemd/timesync/synchronized",
    "/run/chrony/chronyd.pid",
    "/var/run/chrony/chronyd.pid",
    "/run/ntpd.pid",
)
RTC = "/sys/class/rtc/rtc0/since_epoch"


@dataclass(frozen=True, slots=True)
class ClockState:
    """Whether the wall clock is trusted, and the reason in words."""

    trusted: bool
    reason: str


def assess(choice: str, wall: float, root: str = "") -> ClockState:
    """Judge the wall clock, ``wall`` in Unix seconds; ``choice`` is the option clock_trusted (auto, yes, no).

    The rule of ``auto``: a time before this version's release or after 2100 is never believed. Otherwise the clock is
    trusted where an NTP client left its mark (NTP_MARKS; all of them vanish with a reboot), or where a battery clock
    holds a plausible time, or, on machines that are not OpenWrt, where there is a battery clock that cannot be read.
    Else not: a router without a battery sets its clock at boot from the newest file on its flash, which looks
    plausible and is wrong. ``root`` is put before every path, for tests.
    """
    if choice != "auto":
        return ClockState(choice == "yes", "the configuration says so")
    if not RELEASED <= wall < FAR:
        return ClockState(False, "it shows a time before this version was released, or after 2100")
    mark = next((mark for mark in NTP_MARKS if os.path.exists(root + mark)), None)
    if mark is not None:
        return ClockState(True, f"an NTP client set it ({mark})")
    return _by_battery(root)


class JumpWatch:
    """Notices that the wall clock was set: compares its pace with the monotonic clock's."""

    __slots__ = ("_monotonic", "_offset", "_wall")

    def __init__(self, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        """Take both clocks, in seconds, as functions."""
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    @property
    def offset(self) -> float:
        """Wall time less monotonic time at the last look, in seconds."""
        return self._offset

    def check(self) -> float:
        """Return by how many seconds the wall clock jumped since the last look, 0.0 where it did not.

        A machine that slept counts as a jump forward: Linux's monotonic clock stands still meanwhile.
        """
        offset = self._wall() - self._monotonic()
        jumped = offset - self._offset
        self._offset = offset
        return jumped if abs(jumped) >= JUMP else 0.0


def _by_battery(root: str) -> ClockState:
    battery = _battery(root + RTC)
    if battery is not None and RELEASED <= battery < FAR:
        return ClockState(True, "a battery clock holds it")
    if battery is None and os.path.exists(root + os.path.dirname(RTC)) and not os.path.exists(root + OPENWRT_MARK):
        return ClockState(True, "the machine has a battery clock")
    return ClockState(False, "no NTP client has set it and no battery holds it")


def _battery(path: str) -> int | None:
    """Return the time of the battery clock (UTC or local, so good to a day), None where it cannot be read."""
    try:
        with open(path, "rb") as file:
            text = file.read(32).strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
