"""Failure limits per engine: deaths, failed starts, places it does not get, nodes it fits on none of. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from eibench_ray.config.cluster import ClusterConfig

# An engine that dies this often without finishing a slice in between is given up.
MAX_DEATHS = 3
# Where replicas died with rows, these may be to blame. So many deaths without an answer in between are enough to tell:
# two such rows in the first slice that is ever asked are found with six (driver/poison_search.py).
MAX_DEATHS_WITH_ROWS = 7
# After a place that was somebody else's, it is left alone for this long, twice as long after each further one.
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 60.0
# After a death or a failed start nothing of the engine is started for this long, twice as long after each further one.
FIRST_REST_S = 1.0


class FailurePolicy:
    """Failures of each engine, and whether they are enough to give it up."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._deaths: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
        self._failed_starts: Counter[str] = Counter()
        self._troubles: Counter[str] = Counter()
        self._troubled_at: dict[str, float] = {}
        self._most_deaths: dict[str, int] = {}
        self._refusals: Counter[str] = Counter()
        self._waits_since: dict[str, float] = {}
        self._homeless_since: dict[str, float] = {}

    def finished_slice(self, engine: str) -> None:
        """The engine works: earlier deaths are forgiven."""
        self._deaths[engine].clear()
        self._troubles[engine] = 0

    def started(self, engine: str) -> None:
        """A replica of the engine is ready: earlier starts that failed are forgiven."""
        self._failed_starts[engine] = 0

    def is_news(self, engine: str, began_at: float, now: float) -> bool:
        """Whether a death or a failed start of a replica that was begun then says more than the last one did.

        What happens to several copies at once has one reason: only a replica that was begun after the last trouble
        shows that the engine has not got over it. To be asked once for each.
        """
        if began_at < self._troubled_at.get(engine, began_at):
            return False
        self._troubles[engine] += 1
        self._troubled_at[engine] = now
        return True

    def rest_s(self, engine: str) -> float:
        """Seconds for which nothing of the engine is to be started after its last trouble."""
        return float(min(FIRST_REST_S * 2 ** min(max(self._troubles[engine] - 1, 0), 16), LONGEST_PAUSE_S))

    def failed_to_start(self, engine: str) -> bool:
        """Whether this was one failed start too many."""
        self._failed_starts[engine] += 1
        return self._failed_starts[engine] >= self._config.max_start_failures

    def died(self, engine: str, nodes: Sequence[str], *, with_rows: bool = False) -> bool:
        """Whether this death of a replica on these nodes, `with_rows` to answer, was one too many."""
        self._deaths[engine].append(tuple(nodes))
        self._most_deaths[engine] = MAX_DEATHS_WITH_ROWS if with_rows else MAX_DEATHS
        return self.is_over(engine)

    def num_deaths(self, engine: str) -> int:
        """Deaths of the engine's replicas since one of them last answered something."""
        return len(self._deaths[engine])

    def node_left(self, node: str) -> None:
        """Deaths on a node that has left are no fault of the engines."""
        for deaths in self._deaths.values():
            deaths[:] = [nodes for nodes in deaths if node not in nodes]

    def is_over(self, engine: str) -> bool:
        """Whether the engine has died too often."""
        return len(self._deaths[engine]) >= self._most_deaths.get(engine, MAX_DEATHS)

    def waits_for_place(self, engine: str, now: float) -> float:
        """Seconds that a replica which is started now may wait for its resources."""
        since = self._waits_since.setdefault(engine, now)
        return min(self._config.placement_timeout_s, max(since + self._config.start_timeout_s - now, 1.0))

    def got_place(self, engine: str) -> None:
        """A replica of the engine has its resources."""
        self._waits_since.pop(engine, None)
        self._refusals[engine] = 0

    def got_no_place(self, engine: str, now: float) -> bool:
        """Whether the engine has waited for resources as long as it may."""
        self._refusals[engine] += 1
        return now - self._waits_since.get(engine, now) >= self._config.start_timeout_s

    def pause_s(self, engine: str) -> float:
        """Seconds for which the place that the engine did not get is left alone."""
        return float(min(FIRST_PAUSE_S * 2 ** max(self._refusals[engine] - 1, 0), LONGEST_PAUSE_S))

    @property
    def homeless(self) -> Mapping[str, float]:
        """By engine that fits on no node: since when, as `fits_nowhere` was told."""
        return self._homeless_since

    def fits(self, engine: str) -> None:
        """A node can hold the engine."""
        self._homeless_since.pop(engine, None)

    def fits_nowhere(self, engine: str, now: float) -> tuple[bool, bool]:
        """Whether that is news, and whether a node has been awaited as long as it may."""
        is_new = engine not in self._homeless_since
        since = self._homeless_since.setdefault(engine, now)
        return is_new, now - since >= self._config.start_timeout_s
