"""The machines that stand for routers: which QEMU, which kernel, which modules, how much memory."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
PCI = ("virtio_pci", "virtio_blk", "virtio_net")
MMIO = ("virtio_mmio", "virtio_blk", "virtio_net")
# OpenWrt's packages for the 24Kc run on routers with it too. With QEMU's 24Kc, whose TLB has 16 entries rather than 64,
# all takes twice as long. What a 24Kc cannot do the self-test and the target tests look for.
MALTA = ("-M", "malta", "-cpu", "34Kf")
FILES = ("crc32c_generic", "ext4", "overlay")


@dataclass(frozen=True, slots=True)
class Board:
    """One target's machine.

    ``memory`` is in MiB. ``debian`` is Debian's name of the architecture, whose kernel and BusyBox are fetched; without
    one, where Debian has no port, both are built from its sources. ``small`` says whether the memory budget of 64 MB is
    for this machine.
    """

    target: str
    program: str
    machine: tuple[str, ...]
    memory: int
    console: str
    bus: str
    debian: str
    modules: tuple[str, ...]
    small: bool

    def devices(self, disk: str, mac: str, stick: str = "") -> list[str]:
        """Return QEMU's options for disk, network card (network ``lan``) and perhaps a file to read as /dev/vdb."""
        disks = [self._disk("flash", disk)]
        if stick:
            disks.append(self._disk("stick", f"{stick},readonly=on"))
        if self.bus == "device":  # where devices have no bus to stand on, the kernel finds the last first
            disks.reverse()
        return [*(word for words in disks for word in words), "-device", f"virtio-net-{self.bus},netdev=lan,mac={mac}"]

    def _disk(self, name: str, file: str) -> tuple[str, ...]:
        drive = f"if=none,id={name},format=raw,file={file}"
        return "-drive", drive, "-device", f"virtio-blk-{self.bus},drive={name}"


_ROWS = (
    Board(
        target="x86_64",
        program="qemu-system-x86_64",
        machine=("-M", "q35", "-cpu", "qemu64"),
        memory=128,  # Debian's smallest kernel does not boot with 64
        console="ttyS0",
        bus="pci",
        debian="amd64",
        modules=(*PCI, "overlay"),
        small=False,
    ),
    Board(
        target="aarch64_cortex-a53",
        program="qemu-system-aarch64",
        machine=("-M", "virt", "-cpu", "cortex-a53"),
        memory=128,
        console="ttyAMA0",
        bus="device",
        debian="arm64",
        modules=(*MMIO, *FILES),
        small=False,
    ),
    Board(
        target="arm_cortex-a7_neon-vfpv4",
        program="qemu-system-arm",
        machine=("-M", "virt", "-cpu", "cortex-a7"),
        memory=64,
        console="ttyAMA0",
        bus="device",
        debian="armhf",
        modules=(*MMIO, *FILES),
        small=True,
    ),
    Board(
        target="mips_24kc",
        program="qemu-system-mips",
        machine=MALTA,
        memory=64,
        console="ttyS0",
        bus="pci",
        debian="",
        modules=(),
        small=True,
    ),
    Board(
        target="mipsel_24kc",
        program="qemu-system-mipsel",
        machine=MALTA,
        memory=64,
        console="ttyS0",
        bus="pci",
        debian="mipsel",
        modules=(*PCI, *FILES),
        small=True,
    ),
)
BOARDS = {row.target: row for row in _ROWS}
