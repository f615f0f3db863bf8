"""Work beside the event loop: functions that block it, and a loop for code that has none.

Invariant: whatever hangs here holds up neither the event loop nor the end of the process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")


async def in_thread(function: Callable[..., T], *arguments: object) -> T:
    """The result of a function that is called in a thread of its own.

    A pool would let a few that hang starve all others, and an interpreter that ends waits for its
    pools. How many run at once is for whoever calls: lq bounds the jobs of a queue.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()
    context = copy_context()

    def work() -> None:
        try:
            result = context.run(function, *arguments)
        except BaseException as error:  # noqa: BLE001 (whoever waits in the loop gets it)
            _hand_over(loop, _refuse, answer, error)
        else:
            _hand_over(loop, _give, answer, result)

    threading.Thread(target=work, name="lq-handler", daemon=True).start()
    return await answer


def _hand_over(loop: asyncio.AbstractEventLoop, settle: Callable[..., None], *what: object) -> None:
    with suppress(RuntimeError):  # the loop was closed in the meantime: nobody waits any more
        loop.call_soon_threadsafe(settle, *what)


def _give(answer: asyncio.Future[T], result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _refuse(answer: asyncio.Future[Any], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class LoopThread:
    """An event loop that runs in a thread of its own, for code that is not async."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for its result. Raises: what it raises."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """End the loop, and what still runs in it."""
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
