"""Calls that block, with a deadline: each in a thread that nobody waits for at the end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(timeout_s: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function returns.

    `asyncio.to_thread` takes its threads from a pool, for which asyncio and Python wait when they end: a call that
    hangs (a network drive, Ray without its control service) would keep the command from ending.

    Raises:
        TimeoutError: it has not returned in time; its thread is left to itself.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(value)  # type: ignore[arg-type]

    def call() -> None:
        value, failure = None, None
        try:
            value = function(*args, **kwargs)
        except BaseException as error:  # whoever awaits it is told
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, value, failure)

    threading.Thread(target=call, name=getattr(function, "__name__", "call"), daemon=True).start()
    return await asyncio.wait_for(outcome, timeout_s)
