"""Calls that take long, beside the event loop, in threads that hold nothing up when the node stops.

asyncio's own ways (``to_thread``, ``getaddrinfo``) are waited for at the end, and a name server that does not answer,
or Argon2id on a router, can take longer than a stop may. These threads end with the process.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_AT_ONCE: Final = 8
"""Threads of one loop; a further call waits for the end of one, also of one whose caller has given up."""

T = TypeVar("T")
_free: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def beside(call: Callable[[], T]) -> T:
    """Return what ``call`` returns, or raise what it raises; who is cancelled leaves it running, unheard."""
    loop = asyncio.get_running_loop()
    free = _free.setdefault(loop, asyncio.Semaphore(MAX_AT_ONCE))
    await free.acquire()
    answer: asyncio.Future[T] = loop.create_future()

    def tell(take: Callable[[], None]) -> None:
        free.release()
        if not answer.done():
            take()

    def work() -> None:
        take: Callable[[], None]
        try:
            found = call()
        except Exception as error:  # noqa: BLE001 (the caller's to handle)
            fault = error
            take = lambda: answer.set_exception(fault)  # noqa: E731
        else:
            take = lambda: answer.set_result(found)  # noqa: E731
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(tell, take)

    try:
        threading.Thread(target=work, daemon=True).start()
    except RuntimeError:  # no more threads can be had
        free.release()
        raise
    return await answer
