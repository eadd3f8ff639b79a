"""test.sh and test-version.sh as the feed's CI calls them: as root, the package and BusyBox in a root, no procd."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import package_kit as kit
import pytest
from netns import Lab

from openwrt import stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.net
SECONDS = 55


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a root with the package for this machine's kind installed."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs busybox (Debian: busybox-static)")
    if not (stage.DIST / "x86_64" / stage.BINARY).exists():
        pytest.skip("x86_64 is not built: make cross TARGET=x86_64")
    root = tmp_path_factory.mktemp("root")
    for name in ("bin", "dev", "proc", "tmp", "var/run"):
        (root / name).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True, timeout=30).stdout
    for applet in set(listed.split()) - {"busybox"}:
        (root / "bin" / applet).symlink_to("busybox")
    for file in stage.stage("x86_64").files:
        path = root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        path.chmod(file.mode)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nqpq:x:453:453:qpq:/var/run/qpq:/bin/false\n")
    (root / "etc/group").write_text("root:x:0:\nqpq:x:453:qpq\n")
    for script in ("test.sh", "test-version.sh"):
        shutil.copy(kit.ROOT / "openwrt" / script, root / script)
    return root


@pytest.fixture
def run(installed: Path) -> Iterator[Run]:
    """Give what runs a script there, in a network of its own."""
    with Lab() as lab:
        machine = lab.namespace()

        def call(script: str, *words: str) -> subprocess.CompletedProcess[str]:
            enter = (
                f"mount -t proc proc {installed}/proc && mount --bind /dev {installed}/dev && exec chroot {installed}"
            )
            argv = [*machine.command("unshare"), "--mount", "--pid", "--fork", "--kill-child", "sh", "-c"]
            argv += [f'{enter} /bin/sh "$@"', "sh", f"/{script}", *words]
            env = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/usr/bin:/sbin:/bin"}
            return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=SECONDS)

        yield call


def test_the_package_passes_the_feeds_functional_test(run: Run) -> None:
    done = run("test.sh", "qpq", "0.1.0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("qpq 0.1.0: two nodes exchanged a message\n")


def test_it_fails_where_the_package_is_not_as_it_should_be(run: Run, installed: Path) -> None:
    for path, mode, told in (
        ("etc/config/qpq", 0o644, "can be read by others"),
        ("etc/init.d/qpq", 0o644, "/etc/init.d/qpq is not there or cannot be run"),
    ):
        before = (installed / path).stat().st_mode & 0o777
        (installed / path).chmod(mode)
        done = run("test.sh", "qpq", "0.1.0")
        (installed / path).chmod(before)
        assert done.returncode == 1
        assert told in done.stderr


def test_the_version_is_told_with_and_without_the_release(run: Run) -> None:
    version = stage.metadata().version
    assert run("test-version.sh", "qpq", version).returncode == 0
    assert run("test-version.sh", "qpq", version.partition("-")[0]).returncode == 0
    assert run("test-version.sh", "qpq", "9.9.9").returncode == 1


@pytest.mark.parametrize("script", ["test.sh", "test-version.sh"])
def test_a_package_that_the_scripts_do_not_know_is_an_error(run: Run, script: str) -> None:
    done = run(script, "luci-app-qpq", "1")
    assert done.returncode == 1
    assert "luci-app-qpq is no package of this feed" in done.stderr
