"""Finds what a store has already, and what is left to do: the whole of resuming."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from eibench_ray.datasets.dataset import DatasetIndex, open_dataset
from eibench_ray.plan.graph import Plan, Step
from eibench_ray.plan.slices import Slice, StepWork, cut
from eibench_ray.rows.completion import Retry, RowErrorKind
from eibench_ray.rows.digests import digest_input
from eibench_ray.store.slice_format import RowState
from eibench_ray.store.slice_store import Store
from eibench_ray.store.slice_summary import Summary, digest_column, digest_sources


def open_indexes(plan: Plan) -> dict[str, DatasetIndex]:
    """The ids and digests of all rows of the plan's datasets, as far as they are prepared."""
    return {name: open_dataset(spec.path).index() for name, spec in plan.datasets.items() if spec.is_prepared}


def read_costs(plan: Plan, store: Store) -> dict[str, float]:
    """Cost of each step's committed rows, by its id; only of steps whose engine has a price."""
    steps = (step for step in plan.steps.values() if plan.engines[step.engine].price is not None)
    return {step.id: store.read_cost(step.id) for step in steps}


def find_work(
    plan: Plan,
    indexes: Mapping[str, DatasetIndex],
    store: Store,
    slice_rows: Mapping[str, int],
    retry: Retry = "errors",
) -> dict[str, StepWork]:
    """Progress of every step of the plan, by step id.

    A slice whose footer says that it was made from what it would be made from today is done without a look at its rows.

    Args:
        plan: the plan.
        indexes: dataset name -> sample ids and row digests of all of its rows. A dataset that is missing here is not
            prepared: all of its rows are to do.
        store: the store.
        slice_rows: step id -> rows per slice, for steps that are new to the store.
        retry: which error rows are to be asked again.
    """
    work: dict[str, StepWork] = {}
    # Inputs stand before the steps that read them.
    states: dict[str, _StepState] = {}
    digests: dict[tuple[str, int], dict[int, str]] = {}
    for step in plan.steps.values():
        rows = plan.datasets[step.dataset].rows
        size = store.slice_rows(step.id) or slice_rows[step.id]
        slices = list(cut(step.id, rows, size))
        index = indexes.get(step.dataset)
        state = states[step.id] = _StepState(step, store, rows, slices if index else [])
        inputs = [states[source] for source in step.inputs.values()]
        num_errors = num_absent = num_quarantined = 0
        todo = []
        for slice_ in slices:
            if index is None or slice_.index not in state.summaries:
                todo.append(slice_)
                continue
            if (step.dataset, size) not in digests:
                digests[step.dataset, size] = _digest_rows(index, slices)
            row_digests = digests[step.dataset, size][slice_.index]
            summary = state.summaries[slice_.index]
            if not _is_current(summary, slice_, row_digests, inputs):
                state.stale.add(slice_.index)
            elif summary.is_final:
                state.note_done(slice_.start, slice_.stop)
                num_errors += summary.num_errors
                num_absent += summary.num_absent
                continue
            done = list(_done_rows(step, slice_, index, store, inputs, retry))
            for row, _ in done:
                state.note_done(row, row + 1)
            num_errors += sum(kept.error_kind is not None for _, kept in done)
            num_absent += sum(kept.is_absent for _, kept in done)
            num_quarantined += sum(kept.error_kind is RowErrorKind.QUARANTINED for _, kept in done)
            if len(done) < slice_.num_rows:
                todo.append(slice_)
        work[step.id] = StepWork(len(rows), state.num_done, num_errors, tuple(todo), num_absent, num_quarantined)
    return work


class _StepState:
    """State of a step while the steps that read it are looked at.

    Attributes:
        summaries: what its committed slices say of themselves.
        stale: slices whose summary is of other rows than the run asks: of another choice, or as they were.
    """

    def __init__(self, step: Step, store: Store, rows: Sequence[int], slices: Sequence[Slice]) -> None:
        self._step = step
        self._store = store
        self._rows = rows
        self._is_done = bytearray(len(rows))  # one byte per row that the run asks
        self.stale: set[int] = set()
        committed = set(store.list_slices(step.id)) if slices else set()
        wanted = [slice_ for slice_ in slices if slice_.index in committed]
        self._bounds = {slice_.index: slice_ for slice_ in wanted}
        self.summaries = store.read_summaries(step.id, [slice_.index for slice_ in wanted])
        self.num_done = 0  # rows that the run will not make anew
        self._last: tuple[int, list[str]] = (-1, [])

    def note_done(self, start: int, stop: int) -> None:
        """Rows of the range are not made anew."""
        first, end = self._place(start), self._place(stop)
        self._is_done[first:end] = b"\1" * (end - first)
        self.num_done += end - first

    def is_done(self, start: int, stop: int) -> bool:
        """Whether no row of the range is made anew."""
        return self._is_done.find(0, self._place(start), self._place(stop)) < 0

    def _place(self, row: int) -> int:
        """Number of rows before this one that the run asks."""
        return bisect_left(self._rows, row)

    def outputs(self, slice_: Slice) -> str | None:
        """`digest_column` of the output digests of a slice's rows in this step; None where its slices are not whole."""
        indexes = self._store.slices_of(self._step.id, slice_.start, slice_.stop)
        columns = []
        for index in indexes:
            bounds, summary = self._bounds.get(index), self.summaries.get(index)
            if bounds is None or summary is None or index in self.stale:
                return None
            if (bounds.start, bounds.stop) == (slice_.start, slice_.stop):
                return summary.outputs
            if self._last[0] != index:  # several slices in a row may read the same longer one
                self._last = (index, self._store.read_outputs(self._step.id, index))
            first, begin, end = (self._place(row) for row in (bounds.start, slice_.start, slice_.stop))
            columns += self._last[1][max(0, begin - first) : min(end - first, bounds.num_rows)]
        return digest_column(columns)


def _digest_rows(index: DatasetIndex, slices: Sequence[Slice]) -> dict[int, str]:
    """`digest_column` of the dataset's row digests, per slice of a step."""
    rows, place, found = index.row_digests_of(0, slices[-1].stop), 0, {}
    for slice_ in slices:
        digests = list(islice(rows, slice_.start - place, slice_.stop - place))
        found[slice_.index] = digest_column(slice_.pick(digests))
        place = slice_.stop
    return found


def _is_current(summary: Summary, slice_: Slice, row_digests: str, inputs: Sequence[_StepState]) -> bool:
    """Whether a slice says of itself that it has a row for each that is asked, and that it would be the same today."""
    if summary.made_from is None or summary.num_rows != slice_.num_rows:
        return False
    if not all(source.is_done(slice_.start, slice_.stop) for source in inputs):
        return False
    outputs = [digest for source in inputs if (digest := source.outputs(slice_)) is not None]
    return len(outputs) == len(inputs) and summary.made_from == digest_sources(row_digests, outputs)


def _done_rows(
    step: Step, slice_: Slice, index: DatasetIndex, store: Store, inputs: Sequence[_StepState], retry: Retry
) -> Iterator[tuple[int, RowState]]:
    """The rows of a slice that are committed for the very input they would have now."""
    rows = list(index.rows(slice_.start, slice_.stop))
    place = (slice_.start, [sample_id for sample_id, _ in rows])
    states = store.read_states(step.id, *place)
    if not states:
        return
    sources = [store.read_states(source, *place) for source in step.inputs.values()]
    for row, (sample_id, row_digest) in slice_.pick(list(enumerate(rows, start=slice_.start))):
        state = states.get(sample_id)
        if state is None or state.is_asked_again(retry) or not all(source.is_done(row, row + 1) for source in inputs):
            continue
        outputs = [known.output_digest for source in sources if (known := source.get(sample_id)) is not None]
        if len(outputs) == len(sources) and state.input_digest == digest_input(row_digest, outputs):
            yield row, state
