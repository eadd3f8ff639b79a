"""Where a store lies: on flash nothing is written for every message, on a disk everything at once."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

import pytest

from qpq.crypto.identity import Address
from qpq.daemon import places
from qpq.daemon.data_dir import DataDirError
from qpq.daemon.places import Place, choose
from qpq.daemon.saving import Saver
from qpq.mesh.records import InboxInsert
from qpq.store import snapshot

if TYPE_CHECKING:
    from pathlib import Path

ANNA = Address(b"a" * 32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc").mkdir()
    (tmp_path / "etc/qpq").mkdir(parents=True)
    (tmp_path / "tmp").mkdir()
    return tmp_path


def mounts(root: Path, kind: str, *, openwrt: bool = True) -> str:
    """Make a machine whose root is of this kind, with /tmp in RAM and a disk at /mnt; return its data directory."""
    lines = [f"none {root} {kind} rw 0 0", f"tmpfs {root / 'tmp'} tmpfs rw 0 0", f"/dev/sda1 {root}/mnt ext4 rw 0 0"]
    (root / "proc/mounts").write_text("\n".join(lines) + "\n")
    if openwrt:
        (root / "etc/openwrt_release").touch()
    return str(root / "etc/qpq")


@pytest.mark.parametrize("kind", sorted(places.FLASH))
def test_on_a_routers_flash_the_store_is_in_ram_with_a_snapshot(root: Path, kind: str) -> None:
    assert choose("", mounts(root, kind), str(root)) == Place(str(root / "tmp" / "qpq"), durable=False, snapshot=True)
    assert os.stat(root / "tmp/qpq").st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("kind", "openwrt"), [("overlay", False), ("ext4", True), ("f2fs", True)])
def test_on_a_pc_and_on_a_routers_disk_it_is_one_durable_file(root: Path, kind: str, openwrt: bool) -> None:
    data = mounts(root, kind, openwrt=openwrt)
    assert choose("", data, str(root)) == Place(data, durable=True, snapshot=False)
    assert choose(data + "/", data, str(root)) == Place(data, durable=True, snapshot=False)


def test_a_data_directory_in_ram_has_no_second_place(root: Path) -> None:
    data = mounts(root, "tmpfs")
    assert choose("", data, str(root)) == Place(data, durable=False, snapshot=False)
    assert choose(str(root / "tmp" / "other"), data, str(root)) == Place(
        str(root / "tmp" / "other"), durable=False, snapshot=False
    )


def test_the_option_puts_the_store_on_a_usb_disk_or_into_ram(root: Path) -> None:
    data = mounts(root, "jffs2")
    assert choose(f"{root}/mnt/qpq", data, str(root)) == Place(f"{root}/mnt/qpq", durable=True, snapshot=False)
    data = mounts(root, "ext4")
    assert choose(str(root / "tmp" / "ram"), data, str(root)) == Place(
        str(root / "tmp" / "ram"), durable=False, snapshot=True
    )


@pytest.mark.parametrize("mode", [0o770, 0o777])
def test_a_directory_that_others_may_write_to_is_refused(root: Path, mode: int) -> None:
    (root / "tmp/qpq").mkdir()
    (root / "tmp/qpq").chmod(mode)
    with pytest.raises(DataDirError, match=r"use a|use another"):
        choose("", mounts(root, "jffs2"), str(root))


def test_a_directory_of_somebody_else_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "tmp/qpq").mkdir(mode=0o700)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(DataDirError, match="belongs to somebody else"):
        choose("", mounts(root, "jffs2"), str(root))


def test_a_place_that_cannot_be_made_is_told(root: Path) -> None:
    (root / "tmp/file").touch()
    with pytest.raises(DataDirError):
        choose(str(root / "tmp" / "file"), mounts(root, "jffs2"), str(root))


# --- when it is written ---------------------------------------------------------------------------


def incoming(number: int) -> InboxInsert:
    return InboxInsert(ANNA, number.to_bytes(16, "big"), ANNA, b"", "hi", False, 0, 7, 130, None)


class Loop(asyncio.SelectorEventLoop):
    """A loop on which a wait of seconds takes none."""

    def __init__(self) -> None:
        self.ahead = 0.0
        super().__init__()

    def time(self) -> float:
        return super().time() + self.ahead


def saver(folder: Path) -> Saver:
    for name in ("ram", "flash"):
        (folder / name).mkdir(exist_ok=True)
    made = Saver(
        str(folder / "ram/live.db"), str(folder / "flash/qpq.snap"),
        max_bytes=1 << 20, commit_s=60, log=logging.getLogger("qpq.test"),
    )  # fmt: skip
    made.keeper.next_boot()
    return made


async def pass_time(seconds: float) -> None:
    """Let timers come, and what they begin end."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    loop.ahead += seconds
    loop.call_soon(lambda: None)
    for _ in range(40):
        await asyncio.sleep(0.005)


def test_a_message_is_on_flash_within_five_seconds_and_nothing_is_written_before_or_after(tmp_path: Path) -> None:
    async def main() -> None:
        made = saver(tmp_path)
        first = made.document()["bytes"]
        made.keeper.apply((incoming(1),))
        await pass_time(2.0)
        assert made.document()["bytes"] == first
        await pass_time(3.0)
        after = made.document()
        assert after["bytes"] == os.stat(tmp_path / "flash/qpq.snap").st_size > int(str(first))
        assert isinstance(after["written"], int)
        assert (after["problem"], after["commit_interval_s"], after["max_bytes"]) == ("", 60, snapshot.MAX_BYTES)
        await pass_time(3600.0)
        assert made.document()["bytes"] == after["bytes"]
        await made.stop()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())


def test_a_stop_waits_for_a_write_under_way_and_saves_the_rest(tmp_path: Path) -> None:
    async def main() -> None:
        made = saver(tmp_path)
        made.keeper.apply((incoming(1),))
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        loop.ahead += 5.0
        made._begin()
        assert made._writing is not None
        made.keeper.apply((incoming(2),))
        await made.stop()
        again = saver(tmp_path)
        assert again.keeper.database.counts().inbox == 2
        again.keeper.database.close()
        (tmp_path / "ram/live.db").unlink()
        assert saver(tmp_path).keeper.database.counts().inbox == 2

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())


def test_flash_that_takes_nothing_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        made = saver(tmp_path)
        monkeypatch.setattr("qpq.daemon.saving.write", lambda _path, _job: "the medium is gone")
        for number in range(3):
            made.keeper.apply((incoming(number),))
            await pass_time(400.0)
        monkeypatch.setattr("qpq.store.keeper.Keeper._free", lambda _self: 0)
        made.keeper.apply((incoming(9),))
        await pass_time(400.0)
        await made.stop()

    with caplog.at_level(logging.WARNING, "qpq.test"), asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())
    told = [record.getMessage() for record in caplog.records]
    assert sum("the medium is gone" in line for line in told) == 1
    assert sum("half of what is free" in line for line in told) == 2, "and once more as it stops"
