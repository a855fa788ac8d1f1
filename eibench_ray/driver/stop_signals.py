"""Handling of Ctrl-C, SIGTERM, SIGUSR1 and SIGHUP while something runs on a cluster.

SIGHUP, which a closed terminal sends, is as good as SIGTERM, unless whoever started the command has it ignored, as
`nohup` does. It goes to all processes of the terminal: those that Ray starts are started with it blocked
(`without_hangup`), or they would be gone before what is in flight is finished.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any, NoReturn, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

# Exit code of a run that was preempted and has something left: EX_TEMPFAIL, on which batch systems may requeue it.
PREEMPTED = 75
# Exit code of a run that has done all that needs a GPU, and leaves the rest to a run without any (cluster.hand_over_s).
HANDED_OVER = 76
# What batch systems, Kubernetes and cloud providers send some time before they take a machine away; what a terminal
# sends that is closed.
PREEMPTION = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


def _heard() -> tuple[signal.Signals, ...]:
    """Those of PREEMPTION that mean something here."""
    is_deaf = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in PREEMPTION if number is not signal.SIGHUP or not is_deaf)


async def run_until_told(
    work: Coroutine[Any, Any, T],
    stop: Callable[[asyncio.Task[T]], object],
    doing: str,
    give_way: Callable[[], object] | None = None,
) -> T:
    """Awaits the work and returns its result; the first Ctrl-C calls `stop` with its task, a second one cancels it.

    Args:
        work: runs as a task.
        stop: asks it to end in order.
        doing: what then happens, for the log.
        give_way: what SIGTERM, SIGUSR1 and SIGHUP call, once, however often they come: preemption is announced by
            several. None: SIGTERM and SIGHUP are as good as Ctrl-C.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work)
    asked = 0
    has_given_way = False

    def obey(name: str) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            log.warning("%s: %s; once more to stop at once", name, doing)
            stop(task)
        else:
            task.cancel()

    def yield_to(name: str) -> None:
        nonlocal has_given_way
        if give_way is not None and not has_given_way:
            has_given_way = True
            log.warning("%s: finishing what is in flight and %s", name, doing)
            give_way()

    heard = _heard()
    handlers = {signal.SIGINT: obey} | {number: obey for number in heard if number is not signal.SIGUSR1}
    if give_way is not None:
        handlers |= dict.fromkeys(heard, yield_to)
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler, number.name)
    try:
        return await task
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
            signal.signal(
                number, signal.SIG_IGN if has_given_way and number in PREEMPTION else before[number] or signal.SIG_DFL
            )


@contextlib.contextmanager
def giving_way() -> Iterator[None]:
    """Lets a signal of preemption end the command with the exit code that says so, until the work itself listens."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - as signal.signal wants it
        log.warning("%s: ending; the same command goes on from here", signal.Signals(number).name)
        sys.exit(PREEMPTED)

    before = {number: signal.signal(number, leave) for number in _heard()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def without_hangup() -> Iterator[None]:
    """Blocks SIGHUP for the block, and for the lifetimes of the processes that are started in it.

    One that comes meanwhile is heard at the block's end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def as_interrupt() -> Iterator[None]:
    """Ends like Ctrl-C where the work was told twice to stop."""
    try:
        yield
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
