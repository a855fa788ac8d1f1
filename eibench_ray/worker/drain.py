"""How the tasks of a replica are told to end."""

from __future__ import annotations

import asyncio


class Drain:
    """First no further row is asked, then those in flight are given up.

    Attributes:
        is_ordered: no further row is asked.
        is_over: rows in flight are not awaited any longer.
    """

    def __init__(self) -> None:
        self.is_ordered = asyncio.Event()
        self.is_over = asyncio.Event()

    def order(self, grace_s: float) -> None:
        """No further row is asked; those in flight have so many seconds. Ordered again, the sooner end holds."""
        self.is_ordered.set()
        asyncio.get_running_loop().call_later(grace_s, self.is_over.set)
