"""The backlog: which slices can be asked now, which wait for others, and what an engine's failure takes with it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

from eibench_ray.plan.graph import Plan
from eibench_ray.store.resume import Slice, StepWork


class Backlog:
    """The slices that are left, by engine. Every slice is in one place: blocked, ready, taken, or gone."""

    def __init__(self, plan: Plan, work: Mapping[str, StepWork]) -> None:
        self._plan = plan
        self._waits_for: dict[Slice, set[Slice]] = {}
        self._wakes: dict[Slice, list[Slice]] = defaultdict(list)
        self._ready: dict[str, deque[Slice]] = {engine: deque() for engine in plan.engines}
        self._blocked_rows: dict[str, int] = dict.fromkeys(plan.engines, 0)
        self._taken: set[Slice] = set()
        for step in plan.steps.values():
            for slice_ in work[step.id].todo:
                self._add(slice_, {todo for name in step.inputs.values() for todo in _over(slice_, work[name].todo)})

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left, taken slices included."""
        return not (self._taken or self._waits_for or any(self._ready.values()))

    def ready(self, engine: str) -> tuple[int, ...]:
        """Rows of each slice that can be asked now, in order."""
        return tuple(slice_.num_rows for slice_ in self._ready[engine])

    def blocked_rows(self, engine: str) -> int:
        """Rows that wait for another step."""
        return self._blocked_rows[engine]

    def take(self, engine: str) -> Slice:
        """The next ready slice of an engine, now taken."""
        slice_ = self._ready[engine].popleft()
        self._taken.add(slice_)
        return slice_

    def give_back(self, slice_: Slice) -> None:
        """Makes a taken slice ready again, before all others; one that was dropped meanwhile stays dropped."""
        if slice_ not in self._taken:
            return
        self._taken.remove(slice_)
        self._ready[self._engine(slice_)].appendleft(slice_)

    def finish(self, slice_: Slice) -> None:
        """Drops a taken slice and wakes what waited for it alone."""
        self._taken.discard(slice_)
        for waiting in self._wakes.pop(slice_, []):
            if waiting in self._waits_for:
                self._waits_for[waiting].discard(slice_)
                if not self._waits_for[waiting]:
                    del self._waits_for[waiting]
                    self._blocked_rows[self._engine(waiting)] -= waiting.num_rows
                    self._ready[self._engine(waiting)].append(waiting)

    def drop_engine(self, engine: str) -> set[str]:
        """Gives up an engine's slices and all that waits for them; the ids of the steps that cannot be finished."""
        lost = set(self._ready[engine])
        lost |= {slice_ for slice_ in (*self._waits_for, *self._taken) if self._engine(slice_) == engine}
        self._ready[engine].clear()
        queue = deque(lost)
        while queue:
            slice_ = queue.popleft()
            self._taken.discard(slice_)
            if self._waits_for.pop(slice_, None) is not None:
                self._blocked_rows[self._engine(slice_)] -= slice_.num_rows
            following = [waiting for waiting in self._wakes.pop(slice_, []) if waiting not in lost]
            lost.update(following)
            queue.extend(following)
        return {slice_.step for slice_ in lost}

    def _add(self, slice_: Slice, sources: set[Slice]) -> None:
        if not sources:
            self._ready[self._engine(slice_)].append(slice_)
            return
        self._waits_for[slice_] = sources
        self._blocked_rows[self._engine(slice_)] += slice_.num_rows
        for source in sources:
            self._wakes[source].append(slice_)

    def _engine(self, slice_: Slice) -> str:
        return self._plan.steps[slice_.step].engine


def _over(slice_: Slice, others: Sequence[Slice]) -> Sequence[Slice]:
    """The slices that share rows with one; `others` are in the order of their rows."""
    first = bisect_right(others, slice_.start, key=lambda other: other.stop)
    return others[first : bisect_left(others, slice_.stop, key=lambda other: other.start)]
