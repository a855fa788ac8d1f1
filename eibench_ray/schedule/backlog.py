"""The backlog: which slices can be asked now, which wait for others, and what an engine's failure takes with it.

A slice that was with a replica when it died is marked. With the second mark it is probed: it may hold what its
engine dies of. From then on it is asked alone, and after all others of its engine that are ready.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from eibench_ray.plan.graph import Plan
from eibench_ray.plan.slices import Slice, StepWork
from eibench_ray.schedule.ready_slices import ReadySlices

# So many replicas must have died with a slice before it is probed: one death may be anything.
MARKS = 2


class Backlog:
    """The slices that are left. Every slice is in one place: blocked, ready, taken, or gone."""

    def __init__(self, plan: Plan, work: Mapping[str, StepWork]) -> None:
        self._engine = {step.id: step.engine for step in plan.steps.values()}
        self._depth = _depths(plan)
        self._waits_for: dict[Slice, set[Slice]] = {}
        self._wakes: dict[Slice, list[Slice]] = defaultdict(list)
        self._ready = {engine: ReadySlices(plan.steps, self._depth) for engine in plan.engines}
        self._ready_rows: dict[str, dict[str, int]] = {engine: {} for engine in plan.engines}
        self._num_ready: dict[str, int] = dict.fromkeys(plan.engines, 0)
        self._num_blocked: dict[str, int] = dict.fromkeys(plan.engines, 0)
        self._blocked_rows: dict[str, int] = dict.fromkeys(plan.engines, 0)
        self._rows_left: dict[str, dict[str, int]] = {engine: {} for engine in plan.engines}
        self._taken: set[Slice] = set()
        self._marks: Counter[Slice] = Counter()
        self._probes: dict[str, deque[Slice]] = {engine: deque() for engine in plan.engines}
        self.steps: list[tuple[str, str, tuple[str, ...]]] = []
        self.sources: dict[str, set[str]] = {engine: set() for engine in plan.engines}
        for step in plan.steps.values():
            if todo := work[step.id].todo:
                sources = tuple(name for name in step.inputs.values() if work[name].todo)
                self.steps.append((step.id, step.engine, sources))
                self.sources[step.engine] |= {self._engine[name] for name in step.inputs.values()}
                self._rows_left[step.engine][step.id] = sum(slice_.num_rows for slice_ in todo)
            for slice_ in todo:
                self._add(slice_, {todo for name in step.inputs.values() for todo in _over(slice_, work[name].todo)})

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left, taken slices included."""
        return not (self._taken or self._waits_for or any(self._num_ready.values()))

    def num_ready(self, engine: str) -> int:
        """Slices that can be asked now."""
        return self._num_ready[engine]

    def num_probes(self, engine: str) -> int:
        """Those of them that are to be asked alone."""
        return len(self._probes[engine])

    def num_untaken(self, engine: str) -> int:
        """Slices that are ready or wait for another step."""
        return self._num_ready[engine] + self._num_blocked[engine]

    def blocked_rows(self, engine: str) -> int:
        """Rows that wait for another step."""
        return self._blocked_rows[engine]

    def rows_left(self, engine: str) -> Mapping[str, int]:
        """Rows of each step that are not finished: ready, blocked or taken."""
        return self._rows_left[engine]

    def ready_rows(self, engine: str) -> Mapping[str, int]:
        """Rows of each step that can be asked now."""
        return self._ready_rows[engine]

    def rank(self, step: str, tokens_per_row: float) -> tuple[int, float]:
        """The rank of a step; of an engine's steps the one with the largest goes first.

        The one on which the longest chain of steps waits; of equals, the one with the longest replies, so that they are
        not what a batch ends with.
        """
        return self._depth[step], tokens_per_row

    def take(self, engine: str, tokens_per_row: Callable[[str], float], beside: Slice | None = None) -> Slice:
        """The next ready slice of an engine that is not to be probed; it is taken now.

        Args:
            engine: whose.
            tokens_per_row: the length of a step's replies.
            beside: what the replica that asks for it was given last; None: nothing.
        """
        return self._note_taken(self._ready[engine].take(tokens_per_row, beside))

    def take_probe(self, engine: str) -> Slice:
        """The slice of an engine that has waited longest to be probed; it is taken now."""
        return self._note_taken(self._probes[engine].popleft())

    def mark(self, slice_: Slice) -> bool:
        """A replica died with a taken slice; whether it is to be probed from now on."""
        if slice_ not in self._taken:
            return False
        self._marks[slice_] += 1
        return self._marks[slice_] == MARKS

    def give_back(self, slice_: Slice) -> None:
        """Makes a taken slice ready again, before all others; one that was dropped meanwhile stays dropped.

        One that is to be probed comes after the others that are, so that each gets its turn.
        """
        if slice_ in self._taken:
            self._release(slice_)
            self._count_ready(slice_)
            if self._marks.get(slice_, 0) >= MARKS:
                self._probes[self._engine[slice_.step]].append(slice_)
            else:
                self._ready[self._engine[slice_.step]].add(slice_, is_first=True)

    def finish(self, slice_: Slice) -> None:
        """Drops a taken slice and wakes what waited for it alone."""
        if slice_ not in self._taken:
            return
        self._release(slice_)
        self._forget_rows(slice_)
        self._marks.pop(slice_, None)
        for waiting in self._wakes.pop(slice_, []):
            if waiting in self._waits_for:
                self._waits_for[waiting].discard(slice_)
                if not self._waits_for[waiting]:
                    del self._waits_for[waiting]
                    self._count_blocked(waiting, -1)
                    self._make_ready(waiting)

    def drop_engine(self, engine: str, *, drops_taken: bool = True) -> set[str]:
        """Gives up an engine's slices and all that waits for them; the ids of the steps that cannot be finished."""
        lost = {*self._ready[engine], *self._probes[engine]}
        held = (*self._waits_for, *self._taken) if drops_taken else tuple(self._waits_for)
        lost |= {slice_ for slice_ in held if self._engine[slice_.step] == engine}
        self._ready[engine].clear()
        self._probes[engine].clear()
        self._ready_rows[engine].clear()
        self._num_ready[engine] = 0
        queue = deque(lost)
        while queue:
            slice_ = queue.popleft()
            if slice_ in self._taken:
                self._release(slice_)
            self._forget_rows(slice_)
            if self._waits_for.pop(slice_, None) is not None:
                self._count_blocked(slice_, -1)
            woken = [waiting for waiting in self._wakes.pop(slice_, []) if waiting in self._waits_for]
            following = [waiting for waiting in woken if waiting not in lost]
            lost.update(following)
            queue.extend(following)
        return {slice_.step for slice_ in lost}

    def _add(self, slice_: Slice, sources: set[Slice]) -> None:
        if not sources:
            self._make_ready(slice_)
            return
        self._waits_for[slice_] = sources
        self._count_blocked(slice_, 1)
        for source in sources:
            self._wakes[source].append(slice_)

    def _make_ready(self, slice_: Slice) -> None:
        self._count_ready(slice_)
        self._ready[self._engine[slice_.step]].add(slice_)

    def _count_ready(self, slice_: Slice) -> None:
        engine = self._engine[slice_.step]
        self._num_ready[engine] += 1
        rows = self._ready_rows[engine]
        rows[slice_.step] = rows.get(slice_.step, 0) + slice_.num_rows

    def _note_taken(self, slice_: Slice) -> Slice:
        engine = self._engine[slice_.step]
        self._num_ready[engine] -= 1
        _subtract(self._ready_rows[engine], slice_)
        self._taken.add(slice_)
        self._ready[engine].hold(slice_)
        return slice_

    def _release(self, slice_: Slice) -> None:
        self._taken.remove(slice_)
        self._ready[self._engine[slice_.step]].release(slice_)

    def _count_blocked(self, slice_: Slice, change: int) -> None:
        engine = self._engine[slice_.step]
        self._num_blocked[engine] += change
        self._blocked_rows[engine] += change * slice_.num_rows

    def _forget_rows(self, slice_: Slice) -> None:
        _subtract(self._rows_left[self._engine[slice_.step]], slice_)


def _subtract(rows: dict[str, int], slice_: Slice) -> None:
    """Takes a slice's rows off its step's count."""
    rows[slice_.step] -= slice_.num_rows
    if not rows[slice_.step]:
        del rows[slice_.step]


def _depths(plan: Plan) -> dict[str, int]:
    """Per step, how many steps at most wait for it one after the other."""
    depth = dict.fromkeys(plan.steps, 0)
    for step in reversed(list(plan.steps.values())):  # what reads from a step comes after it
        for source in step.inputs.values():
            depth[source] = max(depth[source], depth[step.id] + 1)
    return depth


def _over(slice_: Slice, others: Sequence[Slice]) -> Iterator[Slice]:
    """The slices that share rows with one; `others` are in the order of their rows."""
    first = bisect_right(others, slice_.start, key=lambda other: other.stop)
    return iter(others[first : bisect_left(others, slice_.stop, key=lambda other: other.start)])
