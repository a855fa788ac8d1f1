"""A line every minute about how far a run is, and one at once about what it begins to wait for."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

from eibench_ray.driver.run_events import Snapshot
from eibench_ray.rows.wait import Wait
from eibench_ray.runs.run_view import RunView
from eibench_ray.runs.view_page import describe_view

log = logging.getLogger(__name__)

EVERY_S = 60.0
# In the first minute, when most that is wrong shows, nobody waits longer for a word.
FIRST_S, FIRST_EVERY_S = 60.0, 9.0
# What a run waits for is told after so many seconds, well within 10.
WAIT_TOLD_AFTER_S = 5.0
# "3.2 of 8.1 GB are here" is the same wait as "3.3 of 8.1 GB are here".
_FIGURE = re.compile(r"\d+(\.\d+)?")


class ProgressLines:
    """Tells the log where the run stands.

    Args:
        view: makes the run's view of now.
        clock: seconds.
    """

    def __init__(self, view: Callable[[], RunView], clock: Callable[[], float] = time.monotonic) -> None:
        self._view = view
        self._clock = clock
        self._began: float | None = None
        self._told_at = 0.0
        self._waits: dict[tuple[str, str], Wait] = {}

    def update(self, snapshot: Snapshot) -> None:
        """Writes what is new, and every minute all of it."""
        self._tell_waits(snapshot.waits)
        now = self._clock()
        if self._began is None:
            self._began = self._told_at = now
        if now - self._told_at >= (FIRST_EVERY_S if now - self._began < FIRST_S else EVERY_S):
            self._told_at = now
            log.info("%s", describe_view(self._view()))

    def _tell_waits(self, waits: tuple[Wait, ...]) -> None:
        """Tells of each wait once while it lasts, and that it is over."""
        now = {_key(wait): wait for wait in waits if wait.waited_s >= WAIT_TOLD_AFTER_S}
        for key, wait in now.items():
            if key not in self._waits:
                log.info("%s", wait)
        for key in self._waits.keys() - now.keys():
            gone = self._waits[key]
            log.info("no longer %s", gone)
        self._waits = now


def _key(wait: Wait) -> tuple[str, str]:
    who, what = wait.key
    return who, _FIGURE.sub("#", what)
