"""Calls that block: they have a deadline, and no command waits for one that hangs when it ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from eibench_ray.driver.background_tasks import in_thread


def test_what_a_function_returns_or_raises_comes_back() -> None:
    assert asyncio.run(in_thread(10.0, divmod, 7, 2)) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_thread(10.0, divmod, 7, 0))


def test_a_call_that_hangs_is_left_to_itself() -> None:
    end = threading.Event()
    with pytest.raises(TimeoutError):
        asyncio.run(in_thread(0.05, end.wait))
    end.set()  # it answers when nobody listens any more


def test_a_command_ends_although_a_call_hangs() -> None:
    script = (
        "import asyncio, threading\n"
        "from eibench_ray.driver.background_tasks import in_thread\n"
        "try:\n    asyncio.run(in_thread(0.1, threading.Event().wait))\n"
        "except TimeoutError:\n    print('left')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "left\n"
