"""``qpq daemon``: one node in the foreground, from its configuration to a clean stop."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Protocol

from qpq import __version__
from qpq.daemon import config as configuration
from qpq.daemon import flags, logs
from qpq.daemon.control_socket import ControlSocketError, group_id
from qpq.daemon.data_dir import DataDirError, Lock, prepare
from qpq.daemon.lean import asyncio
from qpq.errors import QpqError
from qpq.paths import OPENWRT_RUN_DIR

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

    from qpq.daemon.config import Loaded
    from qpq.daemon.options import Config
    from qpq.store.vault import Vault

DONE, FAILED, USAGE = 0, 1, 2
WAIT_SECONDS = 2.5
"""How long after the signal a node that stops may still wait for others ..."""
STOP_SECONDS = 4.4
"""... and to be done with what it keeps; procd and people are promised 5 s."""
VAULT_NAME = "vault.json"
WIPE_MARK = "qpq.wipe"
LAST_SECONDS = 4.8
"""When a stop that hangs is ended by the kernel."""


class NodeLike(Protocol):
    """What the daemon runs. ``stop`` is called exactly once, also after a ``start`` that failed."""

    async def start(self) -> None:
        """Come up whole or raise QpqError."""
        ...

    async def drain(self) -> None:
        """Finish what others rely on, before ``stop``; returns within the time that the configuration allows."""
        ...

    async def stop(self, until: float) -> None:
        """Persist and close everything; wait for others until then at most (``time.monotonic()``)."""
        ...

    async def reload(self, config: Config) -> None:
        """Take over the options that need no restart; raises QpqError where it can't."""
        ...


def run(argv: list[str], environ: Mapping[str, str] | None = None) -> int:
    """Run a node until SIGTERM or SIGINT and return 0; 1 where it failed, 2 for a bad flag or option.

    ``argv`` are the words behind ``qpq daemon``.
    """
    started = time.monotonic()
    gc.disable()  # until the node is ready: all that start makes, it keeps
    os.umask(0o077)
    variables = dict(os.environ if environ is None else environ)
    try:
        asked = flags.parse(argv)
        if asked.help:
            sys.stdout.write(flags.help_text())
            return DONE
        if asked.check:
            return check(argv, variables)
        loaded = configuration.load(argv, variables)
    except QpqError as error:
        return _say(str(error), USAGE)
    log = logs.setup(loaded.config.log_level, environ=variables)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    if not loaded.config.enabled:
        log.warning("not started: option enabled is off (%s)", loaded.origins["enabled"])
        return DONE
    return _locked(loaded, log, lambda: configuration.load(argv, variables), started)


def check(argv: list[str], environ: Mapping[str, str]) -> int:
    """Say in one line whether the configuration is allowed, for an init script; return 0, or 1 where it is not."""
    try:
        config = configuration.load(argv, environ).config
        group_id(config.socket_group)
    except QpqError as error:
        first, *others = str(error).splitlines()
        return _say(first + (f" (and {len(others)} more)" if others else ""), FAILED)
    sys.stdout.write("the configuration is allowed\n")
    return DONE


def wipe(argv: list[str], environ: Mapping[str, str] | None = None) -> int:
    """Destroy what the node keeps, where no daemon runs; return 0, 1 where it failed, 2 for a bad flag or option.

    ``argv`` are flags as ``run`` takes them.
    """
    variables = dict(os.environ if environ is None else environ)
    try:
        loaded = configuration.load(argv, variables)
    except QpqError as error:
        return _say(str(error), USAGE)
    from qpq.daemon.wiping import wipe_all  # noqa: PLC0415 (seldom)

    try:
        lines = wipe_all(loaded.config)
    except QpqError as error:
        return _say(str(error), FAILED)
    sys.stdout.write("".join(line + "\n" for line in lines))
    return DONE


def authority(action: str, words: dict[str, str], days: int) -> dict[str, object]:
    """Make or show certificates of a community's own authority; raises QpqError. No daemon need run."""
    from qpq.daemon.authority import run as run_authority  # noqa: PLC0415 (seldom)

    return run_authority(action, words, days)


def _locked(loaded: Loaded, log: logging.Logger, again: Callable[[], Loaded], started: float) -> int:
    """Hold the data directory while the node runs."""
    config = loaded.config
    try:
        inside = os.path.dirname(config.socket) == config.data_dir.rstrip("/")
        prepare(config.data_dir, group_id(config.socket_group) if inside else None)
        if os.path.dirname(config.socket) == OPENWRT_RUN_DIR:
            os.makedirs(OPENWRT_RUN_DIR, 0o755, exist_ok=True)
        lock = Lock(config.data_dir)
    except (ControlSocketError, DataDirError) as error:
        return _fail(log, error)
    try:
        _finish_wipe(config, log)
        with asyncio.Runner() as runner:  # run() would first set a handler of its own for SIGINT, at some cost
            code = runner.get_loop().run_until_complete(_Daemon(config, log, again, started).run())
        _finish_wipe(config, log)
    except QpqError as error:
        return _fail(log, error)
    else:
        return code
    finally:
        gc.enable()
        gc.unfreeze()
        gc.collect()  # the node that has stopped, whose parts know each other: its secrets are overwritten so
        lock.release()
        logs.close()
        signal.setitimer(signal.ITIMER_REAL, 0)


class _Daemon:
    """The life of one node: start, signals, stop."""

    def __init__(self, config: Config, log: logging.Logger, again: Callable[[], Loaded], started: float) -> None:
        self._config = config
        self._log = log
        self._again = again
        self._started = started
        self._stop = asyncio.Event()
        self._hangup = asyncio.Event()
        self._stopping: float | None = None

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, number)
            signal.signal(number, self._begin_of_stop)  # runs at once; the loop may be busy with an import for a second
        loop.add_signal_handler(signal.SIGHUP, self._hangup.set)
        try:
            vault = await self._vault()
            if self._stop.is_set():
                return DONE
            node = _node(self._config, self._log, vault)
        except QpqError as error:
            return _fail(self._log, error)
        code = FAILED
        try:
            if await self._start(node):
                code = DONE
                await self._serve(node)
        finally:
            code = code if await self._stop_node(node) else FAILED
        return code

    async def _vault(self) -> Vault | None:
        """Wait for the keys at rest to be opened, where they are sealed."""
        config = self._config
        if not config.key_file and not _is_there(config, VAULT_NAME):
            return None
        from qpq.daemon.locked import Locked  # noqa: PLC0415 (most nodes are not)

        vault = await Locked(config, self._log).wait(self._stop, self._hangup, self._reread)
        self._started = time.monotonic()
        return vault

    def _reread(self) -> Config:
        """Return the configuration read again, what is wrong in it left out."""
        try:
            self._config, _ = configuration.reloaded(self._config, self._again().config)
        except QpqError as error:
            self._log.error("not reloaded, the configuration stays: %s", error)
        return self._config

    async def _start(self, node: NodeLike) -> bool:
        """Start the node, unless a stop is asked for meanwhile; return whether it runs."""
        starting = asyncio.ensure_future(node.start())
        stopped = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting}, timeout=WAIT_SECONDS / 2)
            return True
        try:
            starting.result()
        except QpqError as error:
            _fail(self._log, error)
            return False
        gc.freeze()
        gc.enable()
        took = time.monotonic() - self._started
        where = f"UDP {self._config.listen}, control socket {self._config.socket}"
        self._log.info("ready: qpq %s after %.2f s, %s", __version__, took, where)
        return True

    async def _serve(self, node: NodeLike) -> None:
        """Wait for signals until a stop is asked for."""
        while not self._stop.is_set():
            waits = [asyncio.ensure_future(event.wait()) for event in (self._stop, self._hangup)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if self._hangup.is_set() and not self._stop.is_set():
                self._hangup.clear()
                await self._reload(node)

    async def _reload(self, node: NodeLike) -> None:
        """Read the configuration again; a faulty one changes nothing."""
        try:
            wanted = self._again().config
            taken, left = configuration.reloaded(self._config, wanted)
            await node.reload(taken)
        except QpqError as error:
            self._log.error("not reloaded, the running configuration stays: %s", error)
            return
        self._config = taken
        logs.set_level(taken.log_level)
        if left:
            self._log.warning("reloaded, but a restart is needed for: %s", ", ".join(left))
        else:
            self._log.info("reloaded")

    async def _stop_node(self, node: NodeLike) -> bool:
        """Stop the node within its time; return whether it stopped by itself and well."""
        begin = self._begin_of_stop()
        if self._drain_seconds():
            await node.drain()
            begin = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, LAST_SECONDS)
        try:
            async with asyncio.timeout_at(begin + STOP_SECONDS):
                await node.stop(begin + WAIT_SECONDS)
        except TimeoutError:
            self._log.error("not stopped cleanly: the node took more than %.1f s", STOP_SECONDS)
            return False
        except QpqError as error:
            self._log.error("not stopped cleanly: %s", error)
            return False
        self._log.info("stopped")
        return True

    def _begin_of_stop(self, *_: object) -> float:
        """Return when the stop began: now, unless it has; from then on the kernel watches over it."""
        if self._stopping is None:
            self._stopping = time.monotonic()
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # its default action ends even a blocked process
            signal.setitimer(signal.ITIMER_REAL, LAST_SECONDS + self._drain_seconds())
        return self._stopping

    def _drain_seconds(self) -> int:
        """Return how long a node may take before it stops to finish what clients and other domains rely on."""
        config = self._config
        return config.drain_timeout if config.relays or config.federation_ca or config.client_port else 0

    def _asked_to_stop(self, number: int) -> None:
        if self._stop.is_set():
            self._log.warning("%s a second time: the stop is under way", signal.Signals(number).name)
            return
        self._log.info("%s: stopping", signal.Signals(number).name)
        self._stop.set()


def _finish_wipe(config: Config, log: logging.Logger) -> None:
    """Go on with a wipe that was begun, by this process or by one that was killed; raises QpqError."""
    if _is_there(config, WIPE_MARK):
        from qpq.store.wiping import finish  # noqa: PLC0415 (seldom)

        finish(config.data_dir)
        log.warning("wiped: what this node kept in %s is destroyed", config.data_dir)


def _is_there(config: Config, name: str) -> bool:
    return os.path.exists(os.path.join(config.data_dir, name))


def _node(config: Config, log: logging.Logger, vault: Vault | None) -> NodeLike:
    """Make the node; imported here because it brings every room with it and a bad flag needs none of them."""
    from qpq.daemon.node import Node  # noqa: PLC0415

    return Node(config, log) if vault is None else Node(config, log, vault)


def _fail(log: logging.Logger, error: QpqError) -> int:
    log.error("not started: %s", error)
    return FAILED


def _say(text: str, code: int) -> int:
    for line in text.splitlines():
        sys.stderr.write(f"qpq: {logs.escaped(line)}\n")
    return code
