"""What a store has already, and what is left to do: the whole of resuming."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from eibench_ray.data.dataset import DatasetIndex
from eibench_ray.plan.digests import digest_input
from eibench_ray.plan.graph import Plan, Step
from eibench_ray.store.slices import RowState, Store


@dataclass(frozen=True, slots=True)
class Slice:
    """A fixed range of a step's rows: the unit of dispatch, of commit and of retry.

    Attributes:
        start, stop: the range of dataset rows that this run asks of it.
    """

    step: str
    index: int
    start: int
    stop: int

    @property
    def num_rows(self) -> int:
        """Rows that this run asks of the slice."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class StepWork:
    """How far a step is.

    Attributes:
        num_rows: rows that the run asks.
        num_done: rows that need not be asked again, errors included.
        num_errors: those of them that are error rows.
        todo: slices with a row to ask.
        num_absent: those of the done rows about which there was nothing to ask.
    """

    num_rows: int
    num_done: int
    num_errors: int
    todo: tuple[Slice, ...]
    num_absent: int = 0

    @property
    def num_requests(self) -> int:
        """Rows that were asked or are to be, as far as one knows."""
        return self.num_rows - self.num_absent

    @property
    def num_replied(self) -> int:
        """Rows that were asked and need not be again, errors included."""
        return self.num_done - self.num_absent


def find_work(
    plan: Plan, indexes: Mapping[str, DatasetIndex], store: Store, slice_rows: Mapping[str, int]
) -> dict[str, StepWork]:
    """How far every step of the plan is, by step id.

    Args:
        plan: the plan.
        indexes: dataset name -> sample ids and row digests, cut at the run's limit. A dataset that is missing here is
            not prepared: all of its rows are to do.
        store: the store.
        slice_rows: step id -> rows per slice, for steps that are new to the store.
    """
    work: dict[str, StepWork] = {}
    # Which rows a step will not make anew, one byte each; kept for the steps that others read.
    sources = {source for step in plan.steps.values() for source in step.inputs.values()}
    is_done = {source: bytearray(plan.datasets[plan.steps[source].dataset].num_rows) for source in sources}
    for step in plan.steps.values():
        num_rows = plan.datasets[step.dataset].num_rows
        size = store.slice_rows(step.id) or slice_rows[step.id]
        index = indexes.get(step.dataset)
        num_done = num_errors = num_absent = 0
        todo = []
        for slice_ in cut(step.id, num_rows, size):
            done = list(_done_rows(step, slice_, index, store, is_done)) if index else []
            num_done += len(done)
            if step.id in is_done:
                for row, _ in done:
                    is_done[step.id][row] = 1
            num_errors += sum(state.error_kind is not None for _, state in done)
            num_absent += sum(state.is_absent for _, state in done)
            if len(done) < slice_.num_rows:
                todo.append(slice_)
        work[step.id] = StepWork(num_rows, num_done, num_errors, tuple(todo), num_absent)
    return work


def cut(step_id: str, num_rows: int, slice_rows: int) -> Iterator[Slice]:
    """The slices of a step over `num_rows` rows."""
    for index, start in enumerate(range(0, num_rows, slice_rows)):
        yield Slice(step_id, index, start, min(start + slice_rows, num_rows))


def _done_rows(
    step: Step, slice_: Slice, index: DatasetIndex, store: Store, is_done: Mapping[str, bytearray]
) -> Iterator[tuple[int, RowState]]:
    """The rows of a slice that are committed for the very input they would have now."""
    states = store.read_states(step.id, slice_.start, slice_.stop)
    if not states:
        return
    inputs = [store.read_states(source, slice_.start, slice_.stop) for source in step.inputs.values()]
    for row, (sample_id, row_digest) in enumerate(index.rows(slice_.start, slice_.stop), start=slice_.start):
        state = states.get(sample_id)
        sources = [source.get(sample_id) for source in inputs]
        if state is None or not state.is_final or not all(is_done[source][row] for source in step.inputs.values()):
            continue
        outputs = [source.output_digest for source in sources if source is not None]
        if len(outputs) == len(inputs) and state.input_digest == digest_input(row_digest, outputs):
            yield row, state
