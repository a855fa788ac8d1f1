"""Pages of a store's runs on demand: made from the store, kept while nothing new is there, and made anew once it is.

A page of a run that goes on is made from what the store has by then. It takes its time, so the next one is made only
after a rest; a run that has ended is shown by the page that it wrote itself, where that is there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eibench_ray.runs.find_run import FoundRun, ListedRun, list_runs, open_by_id, state_of
from eibench_ray.runs.run_page import PAGE_FILE, options_of, write_report
from eibench_ray.store.slice_store import Store

# Seconds that a page of a run that goes on stands at least, and times what making it took.
LEAST_REST_S, REST_SHARE = 3.0, 4.0


@dataclass(slots=True)
class _ShownPage:
    """The page of one run as it was made last."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    path: Path | None = None
    stamp: tuple[object, ...] = ()  # of what it was made from
    number: int = 0  # of the pages that were made
    made_at: float = 0.0
    took_s: float = 0.0


class PageMaker:
    """Makes pages of a store's runs and says how far they are; may be asked by several threads.

    Args:
        root: of the store.
        folder: where pages are written; the caller removes it.
        clock: seconds.
    """

    def __init__(self, root: str, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.root = root
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._made: dict[str, _ShownPage] = {}

    def list(self) -> list[ListedRun]:
        """The store's runs, the one that began last first."""
        return list_runs(Store(self.root))

    def page(self, run_id: str) -> Path:
        """The page of a run, made anew if that is due.

        Raises:
            StoreError: there is no such run, or it cannot be read.
        """
        run = open_by_id(run_id, Store(self.root))
        if (own := _own_page(run)) is not None:
            return own
        made = self._of(run.manifest.id)
        with made.lock:
            if self._is_due(run, made) or made.path is None:
                began, stamp = self._clock(), _stamp(run)
                path = self._folder / run.manifest.id / PAGE_FILE
                made.path = write_report([run], path, options_of(run)).path
                made.made_at = self._clock()
                made.took_s, made.stamp, made.number = made.made_at - began, stamp, made.number + 1
            return made.path

    def progress(self, run_id: str) -> dict[str, Any]:
        """Progress of a run, and `page`, which changes when its page would.

        Raises:
            StoreError: there is no such run, or it cannot be read.
        """
        run = open_by_id(run_id, Store(self.root))
        status, state, made = run.status, state_of(run.status), self._of(run.manifest.id)
        is_running = state == "running"
        return {
            "sweep": status.sweep,
            "id": status.id,
            "state": state.replace("_", " "),
            "rows": status.num_rows,
            "done": min(sum(status.done.values()), status.num_rows),
            "errors": sum(status.errors.values()),
            "rows_per_s": status.rows_per_s if is_running else None,
            "left_s": status.left_s.expected if is_running and status.left_s else None,
            "waits": status.waits if is_running else [],
            "page": "own" if _own_page(run) else str(made.number + self._is_due(run, made)),
        }

    def _of(self, run_id: str) -> _ShownPage:
        with self._lock:
            return self._made.setdefault(run_id, _ShownPage())

    def _is_due(self, run: FoundRun, made: _ShownPage) -> bool:
        """Whether something is new, and the last page has stood long enough."""
        if made.stamp == _stamp(run):
            return False
        rest_s = max(LEAST_REST_S, REST_SHARE * made.took_s)
        return run.status.state != "running" or self._clock() - made.made_at >= rest_s


def _stamp(run: FoundRun) -> tuple[object, ...]:
    """All that a page of the run depends on."""
    return state_of(run.status), *sorted(run.status.done.items()), *sorted(run.status.errors.items())


def _own_page(run: FoundRun) -> Path | None:
    """The page that a run has written at its end."""
    path = run.folder / PAGE_FILE
    has_ended = run.status.state != "running"
    return path if has_ended and run.has_folder and path.is_file() else None
