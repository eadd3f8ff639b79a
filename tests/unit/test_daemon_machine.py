"""What the daemon learns of its machine: memory, clock, interfaces, storage; and the metrics file."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import pytest

from qpq.daemon import clock, data_dir, doctor_data, memory, metrics
from qpq.daemon.metrics import MetricsError, Series

if TYPE_CHECKING:
    from pathlib import Path

NOW = clock.RELEASED + 86400.0
MIB = 1 << 20


def _put(root: Path, path: str, text: str = "") -> None:
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


# --- memory --------------------------------------------------------------------------------


def test_memory_is_read_from_proc(tmp_path: Path) -> None:
    _put(tmp_path, "meminfo", "MemTotal:  60000 kB\nMemFree: 100 kB\nMemAvailable: 21000 kB\nHugePages_Total: 0\nodd\n")
    assert memory.read(str(tmp_path / "meminfo")) == memory.Memory(60000 * 1024, 21000 * 1024)


def test_an_old_kernel_without_memavailable_is_estimated(tmp_path: Path) -> None:
    _put(tmp_path, "meminfo", "MemTotal: 60000 kB\nMemFree: 100 kB\nBuffers: 10 kB\nCached: 1 kB\n")
    assert memory.read(str(tmp_path / "meminfo")).available == 111 * 1024
    assert memory.read(str(tmp_path / "absent")) == memory.Memory(0, 0)
    assert memory.read().total > 0


@pytest.mark.parametrize(
    ("total", "links"),
    [(0, 24), (58, 24), (122, 64), (250, 128), (500, 256), (1900, 1000), (64000, 1000)],
)
def test_links_follow_memory(total: int, links: int) -> None:
    found = memory.limits(memory.Memory(total * MIB, total * MIB))
    assert found.max_links == links
    assert found.store_size >= 2 * MIB


def test_too_little_memory_makes_a_leaf() -> None:
    assert memory.limits(memory.Memory(58 * MIB, 19 * MIB)).leaf
    assert not memory.limits(memory.Memory(58 * MIB, 20 * MIB)).leaf
    assert not memory.limits(memory.Memory(0, 0)).leaf


# --- clock ---------------------------------------------------------------------------------


def test_the_configuration_decides_about_the_clock(tmp_path: Path) -> None:
    assert clock.assess("yes", 0.0, str(tmp_path)).trusted
    _put(tmp_path, clock.NTP_MARKS[0])
    assert not clock.assess("no", NOW, str(tmp_path)).trusted


def test_an_impossible_time_is_never_believed(tmp_path: Path) -> None:
    _put(tmp_path, clock.NTP_MARKS[0])
    for wall in (0.0, clock.RELEASED - 1, clock.FAR):
        assert not clock.assess("auto", wall, str(tmp_path)).trusted


@pytest.mark.parametrize("mark", clock.NTP_MARKS)
def test_a_clock_set_by_ntp_is_believed(tmp_path: Path, mark: str) -> None:
    assert not clock.assess("auto", NOW, str(tmp_path)).trusted
    _put(tmp_path, mark)
    assert clock.assess("auto", NOW, str(tmp_path)) == clock.ClockState(True, f"an NTP client set it ({mark})")


def test_a_battery_clock_is_believed_when_its_time_is_plausible(tmp_path: Path) -> None:
    _put(tmp_path, clock.RTC, f"{int(NOW)}\n")
    assert clock.assess("auto", NOW, str(tmp_path)).trusted
    _put(tmp_path, clock.RTC, "1000\n")
    assert not clock.assess("auto", NOW, str(tmp_path)).trusted


def test_a_battery_clock_that_cannot_be_read_is_believed_on_a_pc_only(tmp_path: Path) -> None:
    _put(tmp_path, clock.RTC, "unreadable")
    assert clock.assess("auto", NOW, str(tmp_path)).trusted
    _put(tmp_path, "/etc/openwrt_release")
    assert not clock.assess("auto", NOW, str(tmp_path)).trusted


def test_a_clock_that_is_set_is_noticed_once() -> None:
    now = {"wall": 1000.0, "monotonic": 5.0}
    watch = clock.JumpWatch(lambda: now["wall"], lambda: now["monotonic"])
    now.update(wall=1060.5, monotonic=65.0)
    assert watch.check() == 0.0
    now["wall"] += 31_536_000
    assert watch.check() == 31_536_000
    assert watch.check() == 0.0
    now["wall"] -= 3600
    assert watch.check() == -3600
    assert watch.offset == now["wall"] - now["monotonic"]


# --- metrics -------------------------------------------------------------------------------


def test_metrics_are_prometheus_text() -> None:
    series = [
        Series("store_bytes", "Bytes in\nthe \\ store.", 12.5),
        *metrics.from_counters({"mesh.frames-in": 7, "links": 0}, {"links": "Links set up."}),
    ]
    assert metrics.render(series) == (
        "# HELP qpq_links_total Links set up.\n# TYPE qpq_links_total counter\nqpq_links_total 0\n"
        "# HELP qpq_mesh_frames_in_total Counter mesh.frames-in.\n# TYPE qpq_mesh_frames_in_total counter\n"
        "qpq_mesh_frames_in_total 7\n"
        "# HELP qpq_store_bytes Bytes in\\nthe \\\\ store.\n# TYPE qpq_store_bytes gauge\nqpq_store_bytes 12.5\n"
    )


@pytest.mark.parametrize(
    "series",
    [
        [Series("Bad", "", 1)],
        [Series('x{user="anna"}', "", 1)],
        [Series("x_total", "", 1)],
        [Series("x", "", 1, counter=True)],
        [Series("x", "", math.nan)],
        [Series("x", "", math.inf)],
        [Series("x", "", 1), Series("x", "", 2)],
        [Series(f"x{n}", "", 1) for n in range(metrics.MAX_SERIES + 1)],
    ],
)
def test_series_with_labels_or_faults_are_refused(series: list[Series]) -> None:
    with pytest.raises(MetricsError):
        metrics.render(series)


def test_the_metrics_file_is_replaced_as_one_step(tmp_path: Path) -> None:
    target = tmp_path / "qpq.prom"
    (tmp_path / f"qpq.prom.{os.getpid()}.tmp").write_text("left by a crash")
    metrics.write(str(target), "a 1\n")
    metrics.write(str(target), "a 2\n")
    assert target.read_text() == "a 2\n"
    assert target.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["qpq.prom"]


def test_a_metrics_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MetricsError, match="cannot be written"):
        metrics.write(str(tmp_path / "absent/qpq.prom"), "")
    (tmp_path / "qpq.prom").mkdir()
    with pytest.raises(MetricsError, match="cannot be written"):
        metrics.write(str(tmp_path / "qpq.prom"), "")
    assert list(tmp_path.iterdir()) == [tmp_path / "qpq.prom"]


# --- the data directory --------------------------------------------------------------------


def test_the_data_directory_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "a/b/qpq"
    data_dir.prepare(str(path))
    assert path.stat().st_mode & 0o777 == 0o700
    data_dir.prepare(str(path), os.getgid())
    assert path.stat().st_mode & 0o777 == 0o710


def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    data_dir.prepare(str(tmp_path), os.getgid())
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_directory_that_is_none_or_open_to_all_is_refused(tmp_path: Path) -> None:
    _put(tmp_path, "file")
    with pytest.raises(data_dir.DataDirError, match="no directory"):
        data_dir.prepare(str(tmp_path / "file"))
    with pytest.raises(data_dir.DataDirError, match="cannot be used"):
        data_dir.prepare(str(tmp_path / "file/below"))
    tmp_path.chmod(0o777)
    with pytest.raises(data_dir.DataDirError, match="everybody may write"):
        data_dir.prepare(str(tmp_path))


def test_one_daemon_holds_a_data_directory(tmp_path: Path) -> None:
    lock = data_dir.Lock(str(tmp_path))
    with pytest.raises(data_dir.DataDirBusyError, match=rf"process {os.getpid()}\) uses"):
        data_dir.Lock(str(tmp_path) + "/")
    lock.release()
    data_dir.Lock(str(tmp_path)).release()


def test_a_lock_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / data_dir.LOCK_NAME).symlink_to("/etc/passwd")
    with pytest.raises(data_dir.DataDirError, match="cannot be opened"):
        data_dir.Lock(str(tmp_path))


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(data_dir.fcntl, "flock", refuse)
    with pytest.raises(data_dir.DataDirError, match="cannot be locked"):
        data_dir.Lock(str(tmp_path))


# --- doctor --------------------------------------------------------------------------------


def test_the_doctor_gets_facts_of_a_router(tmp_path: Path) -> None:
    root = tmp_path / "router"
    _put(root, "/sys/class/net/br-lan/flags", "0x1103\n")
    _put(root, "/sys/class/net/lo/flags", "0x9\n")
    _put(root, "/sys/class/net/bonding_masters", "x\n")
    _put(root, "/proc/meminfo", "MemTotal: 60000 kB\nMemAvailable: 10000 kB\n")
    _put(root, "/proc/mounts", "rootfs / squashfs ro 0 0\noverlay /overlay jffs2 rw 0 0\nodd\n")
    _put(root, "/proc/net/udp", "sl local rem\n 1: 00000000:14E9 0\n 2: 00000000:1B58 0\n\n")
    _put(root, "/proc/net/udp6", "sl local rem\n 1: 0:14E9 0\n")
    _put(root, "/proc/net/snmp", "Udp: InDatagrams RcvbufErrors\nUdp: 10 3\n")
    _put(root, "/etc/config/firewall")
    (root / "lib/gluon").mkdir(parents=True)
    bound = [doctor_data.Bound("links", "[::]:7000"), doctor_data.Bound("mdns", "[::]:5353", "Address in use")]
    facts = doctor_data.gather(str(tmp_path), bound, "auto", NOW, str(root))
    assert facts["sockets"] == [
        {"what": "links", "address": "[::]:7000", "ok": True, "error": ""},
        {"what": "mdns", "address": "[::]:5353", "ok": False, "error": "Address in use"},
    ]
    assert facts["interfaces"] == [
        {"name": "br-lan", "up": True, "multicast": True, "loopback": False},
        {"name": "lo", "up": True, "multicast": False, "loopback": True},
    ]
    assert facts["clock"] == {
        "trusted": False,
        "reason": "no NTP client has set it and no battery holds it",
        "time": int(NOW),
    }
    assert facts["memory"] == {"total": 60000 * 1024, "available": 10000 * 1024, "leaf": True}
    assert [hint["what"] for hint in facts["firewall"]] == ["gluon", "openwrt"]  # type: ignore[attr-defined]
    assert facts["mdns_port_users"] == 2
    assert facts["udp_receive_errors"] == 3
    storage = facts["storage"]
    assert isinstance(storage, dict)
    assert storage["filesystem"] == "squashfs"
    assert 0 < storage["free"] <= storage["total"]
    assert storage["writable"]


def test_the_longest_mount_point_names_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "usb/qpq"
    path.mkdir(parents=True)
    _put(tmp_path, "/r/proc/mounts", f"a / ext4 rw\nb {tmp_path / 'usb'} vfat rw\nc {tmp_path / 'us'} wrong rw\n")
    assert doctor_data.storage(str(path), str(tmp_path / "r"))["filesystem"] == "vfat"


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    facts = doctor_data.gather(str(tmp_path / "absent"), [], "auto", NOW, str(tmp_path))
    assert facts["interfaces"] == []
    assert facts["udp_receive_errors"] is None
    assert "error" in facts["storage"]  # type: ignore[operator]
    assert doctor_data.storage(str(tmp_path), str(tmp_path))["filesystem"] is None


def test_the_doctor_works_on_this_machine(tmp_path: Path) -> None:
    facts = doctor_data.gather(str(tmp_path), [], "auto", NOW)
    assert any(row["loopback"] for row in facts["interfaces"])  # type: ignore[attr-defined]
