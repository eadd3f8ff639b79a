"""Calls that wait for a message, and how they are woken: no polling, no lost wake-up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


class Waiters:
    """Futures by inbox. Who waits stands here before looking into the inbox, so that nothing comes in between."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, set[asyncio.Future[None]]] = {}
        self.is_over = False
        """Nobody is to wait any more."""

    def wake(self, inbox: bytes) -> None:
        """Let those who wait for an inbox look into it."""
        for future in self._waiting.get(inbox, ()):
            if not future.done():
                future.set_result(None)

    def end(self) -> None:
        """Let all go, with what there is."""
        self.is_over = True
        for inbox in self._waiting:
            self.wake(inbox)

    async def wait(self, inbox: bytes, seconds: float, look: Callable[[], Sequence[T]]) -> Sequence[T]:
        """Return what ``look`` finds as soon as that is something, at the latest after ``seconds``."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            woken = loop.create_future()
            self._waiting.setdefault(inbox, set()).add(woken)
            try:
                found = look()
                if found or self.is_over or loop.time() >= until:
                    return found
                await asyncio.wait((woken,), timeout=until - loop.time())
            finally:
                self._forget(inbox, woken)

    def _forget(self, inbox: bytes, woken: asyncio.Future[None]) -> None:
        here = self._waiting[inbox]
        here.discard(woken)
        if not here:
            del self._waiting[inbox]
