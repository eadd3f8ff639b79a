"""Long calls beside the loop: what they return and raise, how many there are, and that no stop waits for one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from qpq import threads

SECONDS = 20.0


def test_a_call_gives_what_it_returns_or_raises_from_another_thread() -> None:
    async def run() -> None:
        assert await threads.beside(threading.get_ident) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await threads.beside(lambda: 1 // 0)

    asyncio.run(run())


def test_no_more_run_at_once_than_allowed_also_where_callers_have_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "MAX_AT_ONCE", 2)
    go = threading.Event()
    running: list[int] = []

    def work() -> bool:
        running.append(1)
        return go.wait(SECONDS)

    async def run() -> None:
        given_up = [asyncio.ensure_future(threads.beside(work)) for _ in range(2)]
        await asyncio.sleep(0)
        for task in given_up:
            task.cancel()
        later = asyncio.ensure_future(threads.beside(work))
        await asyncio.wait(given_up)
        assert (all(task.cancelled() for task in given_up), later.done(), len(running)) == (True, False, 2)
        go.set()
        assert await later

    asyncio.run(run())


def test_where_no_thread_can_be_had_the_caller_hears_of_it_and_the_next_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "MAX_AT_ONCE", 1)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def run() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="new thread"):
                await threads.beside(lambda: 1)
        assert await threads.beside(lambda: 2) == 2

    asyncio.run(run())


def test_a_call_that_does_not_end_holds_up_neither_the_loops_end_nor_the_processes() -> None:
    program = (
        "import asyncio, time\n"
        "from qpq.threads import beside\n"
        "async def run():\n"
        "    task = asyncio.ensure_future(beside(lambda: time.sleep(60)))\n"
        "    await asyncio.sleep(0.1)\n"
        "    task.cancel()\n"
        "asyncio.run(run())\n"
    )
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert time.monotonic() - begin < SECONDS / 2
