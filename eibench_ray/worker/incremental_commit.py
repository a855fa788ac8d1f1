"""Commits a slice again whenever rows are new: what was paid for is in the store one write after its reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine


class IncrementalCommit:
    """The writes of one slice while its rows come, one at a time; what comes during one goes with the next.

    Args:
        commit: puts the rows that there are by now into the store.
        on_failure: told of the error of a write.
    """

    def __init__(
        self, commit: Callable[[], Coroutine[None, None, None]], on_failure: Callable[[BaseException], None]
    ) -> None:
        self._commit = commit
        self._on_failure = on_failure
        self._has_news = False
        self._writing: asyncio.Task[None] | None = None

    def note(self) -> None:
        """A row has come."""
        self._has_news = True
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
            self._writing.add_done_callback(self._note_end)

    async def settle(self) -> None:
        """Returns once no write is under way; a later one must not be overtaken by it."""
        self._has_news = False
        if self._writing is not None:
            await asyncio.wait({self._writing})

    async def _write(self) -> None:
        while self._has_news:
            self._has_news = False
            await self._commit()

    def _note_end(self, writing: asyncio.Task[None]) -> None:
        if not writing.cancelled() and (error := writing.exception()) is not None:
            self._on_failure(error)
