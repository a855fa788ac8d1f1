"""One task, a step's slice, from its inputs in the store to its rows in the store. No Ray in here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from eibench_ray.datasets.dataset import Dataset, DatasetIndex
from eibench_ray.errors import StoreError
from eibench_ray.plan.graph import Step
from eibench_ray.plan.slices import Slice
from eibench_ray.rows.asked_work import AskedWork
from eibench_ray.rows.completion import Completion, Retry
from eibench_ray.store.slice_file import SliceFile, settle
from eibench_ray.store.slice_store import Store
from eibench_ray.worker.probe import PoisonProbe
from eibench_ray.worker.read_ahead import ReadSlice
from eibench_ray.worker.row_attempts import Asker, ReplicaCounts
from eibench_ray.worker.rows_in_flight import Drain, RowsInFlight
from eibench_ray.worker.task_rows import TaskRow, read_rows, reuse


@dataclass(frozen=True, slots=True)
class TaskReport:
    """Result of a task.

    Attributes:
        num_new: rows that the engine answered in this run, without error rows; also those that an earlier attempt at
            this slice committed before its replica died.
    """

    slice: Slice
    num_new: int
    num_kept: int  # rows that were committed before and stand, without error rows
    num_errors: int  # error rows, new ones and kept ones
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    is_whole: bool  # False where the task was interrupted; the rows that were finished are committed
    cost_usd: float = 0.0  # what this run's requests for the rows cost
    shortage: str | None = None  # how the budget stood when it allowed no further row; None where it was not spent
    num_absent: int = 0  # rows of this run about which there was nothing to ask
    num_answered: int = 0  # rows that this very task has got an answer for
    missing: tuple[int, ...] = ()  # rows of the dataset that are not there yet, where it is not whole
    quarantined: tuple[str, ...] = ()  # ids of the samples whose rows the task has put into quarantine
    asked: AskedWork = field(default_factory=AskedWork)  # what the rows took that this very task has asked


async def run_task(
    step: Step,
    slice_: Slice,
    dataset: Dataset,
    index: DatasetIndex,
    store: Store,
    asker: Asker,
    drain: Drain,
    *,
    retry: Retry = "errors",
    probe: PoisonProbe | None = None,
) -> TaskReport:
    """Asks for the rows of a slice that the store does not have, and commits the slice.

    When a row fails with more than an error of its own, rows in flight are given up and those that are finished are
    committed; likewise at a drain, once its time of grace is over. Where the budget is spent, rows in flight are paid
    for already and awaited. Rows that cost money are committed as they come, too, and so are those of a probe: a slice
    that is not whole is a file like any other.

    Raises:
        EngineDeadError: the engine died.
        StoreError: the slice cannot be read or written.
    """
    if probe is not None and probe.is_control:
        return await ask_control(step, slice_, dataset, index, store, asker)
    with await asker.read_ahead.enter(step.id) as waiting:
        if drain.is_ordered.is_set():
            return TaskReport(slice_, 0, 0, 0, 0, 0, 0.0, is_whole=False, missing=tuple(slice_.rows))
        return await _ask_slice(step, slice_, dataset, index, store, asker, drain, waiting, retry, probe)


async def _ask_slice(
    step: Step,
    slice_: Slice,
    dataset: Dataset,
    index: DatasetIndex,
    store: Store,
    asker: Asker,
    drain: Drain,
    waiting: ReadSlice,
    retry: Retry,
    probe: PoisonProbe | None,
) -> TaskReport:
    started = time.monotonic()
    asker = replace(asker, asked=AskedWork())
    rows, made_from = await asyncio.to_thread(read_rows, step, slice_, dataset, index, store)
    file = await asyncio.to_thread(SliceFile, store, step.id, slice_.index)
    committed = dict(file.rows)
    ids = {number: row.sample.sample_id for number, row in zip(slice_.rows, rows, strict=True)}
    settled = [ids[number] for number in probe.settled] if probe else ()
    kept = reuse(rows, committed, retry, asker.run_id, settled)
    asker.counts_so_far.rows += sum(not row.is_absent for row in kept.values())
    missing = [row for row in rows if row.sample.sample_id not in kept] if kept else rows
    poisoned: Mapping[str, str] = {}
    if probe is not None:
        poisoned = {ids[number]: reason for number, reason in probe.poisoned}
        wanted = {ids[number] for number in probe.rows} | poisoned.keys()
        missing = [row for row in missing if row.request is None or row.sample.sample_id in wanted]
    images: dict[str, tuple[bytes, ...]] = {}
    if step.prompt.image:
        pictured = [row.sample.sample_id for row in missing if row.request and row.request.images]
        images = await asyncio.to_thread(dataset.images, slice_.start, slice_.stop, pictured)
    waiting.settle(missing, images)

    async def commit(completions: dict[str, Completion]) -> None:
        for sample_id, row in (await asyncio.to_thread(file.read_news)).items():
            committed[sample_id] = row
            if (mine := completions.get(sample_id)) is not None:
                completions[sample_id] = settle(mine, row)
        # Rows of the slice that this run did not ask for (another choice of samples) stay as they were.
        merged = committed | kept | completions
        ordered = [merged.pop(sample_id) for sample_id in ids.values() if sample_id in merged]
        is_whole = [row.input_digest for row in ordered] == [row.input_digest for row in rows]
        content = [*ordered, *merged.values()]
        whole = made_from if is_whole else None
        await asyncio.to_thread(file.write, content, num_asked=len(ordered), made_from=whole)

    commits_each = asker.costs_money or probe is not None
    asking = RowsInFlight(
        missing, images, waiting, asker, drain, committed, commit, poisoned, commits_each=commits_each
    )
    failure = await asking.run()
    if asking.completions or (probe is None and len(kept) == len(rows)):
        await commit(asking.completions)
    if failure is not None:
        raise failure
    rows_now = kept | asking.completions
    answers = [row for row in rows_now.values() if row.text is not None]
    made = [row for row in rows_now.values() if row.run_id == asker.run_id]
    num_new = sum(row.text is not None for row in made)
    left = tuple(number for number, sample_id in ids.items() if sample_id not in rows_now)
    return TaskReport(
        slice=slice_,
        num_new=num_new,
        num_kept=len(answers) - num_new,
        num_errors=sum(row.error_kind is not None for row in rows_now.values()),
        prompt_tokens=sum(row.prompt_tokens for row in made),
        completion_tokens=sum(row.completion_tokens for row in made),
        seconds=time.monotonic() - started,
        is_whole=not left,
        cost_usd=asking.cost_usd + sum(row.cost_usd or 0.0 for row in kept.values() if row.run_id == asker.run_id),
        shortage=asking.shortage,
        num_absent=sum(row.is_absent for row in made),
        num_answered=sum(row.text is not None for row in asking.completions.values()),
        missing=left,
        quarantined=tuple(name for name, row in asking.completions.items() if row.is_quarantined),
        asked=asker.asked,
    )


async def ask_control(
    step: Step, slice_: Slice, dataset: Dataset, index: DatasetIndex, store: Store, asker: Asker
) -> TaskReport:
    """Asks a row of the step again that has its answer, of the slice or of one near it, and forgets the reply.

    `num_answered` says whether there was such a row, and a reply.
    """
    started = time.monotonic()
    found = await asyncio.to_thread(_find_answered, step, slice_, dataset, index, store)
    is_answered = False
    if found is not None:
        row, images = found
        assert row.request is not None
        async with asker.slots:
            # Its row is counted already.
            again = await replace(asker, counts_so_far=ReplicaCounts()).ask(row.request, images, row.input_digest)
        is_answered = again.text is not None
    return TaskReport(slice_, 0, 0, 0, 0, 0, time.monotonic() - started, is_whole=False, num_answered=int(is_answered))


def _find_answered(
    step: Step, slice_: Slice, dataset: Dataset, index: DatasetIndex, store: Store
) -> tuple[TaskRow, Sequence[bytes]] | None:
    """A row whose answer is in the store, with the pictures of its request."""
    size, num_rows = store.slice_rows(step.id) or slice_.num_rows, index.num_rows
    for number in sorted(store.list_slices(step.id), key=lambda number: abs(number - slice_.index)):
        start, stop = number * size, min((number + 1) * size, num_rows)
        committed = store.read_slice(step.id, number) if start < stop else {}
        if not any(row.text is not None for row in committed.values()):
            continue
        try:
            # Only those that are there: what others read, another choice of samples may never have asked.
            bits = [1 << place for place, (name, _) in enumerate(index.rows(start, stop)) if name in committed]
            there = Slice(step.id, number, start, stop, sum(bits))
            rows, _ = read_rows(step, there, dataset, index, store)
        except StoreError:  # what that slice reads is gone: it is of no use here, and no other slice needs it
            continue
        for row in rows:
            known = committed.get(row.sample.sample_id)
            if known and known.text is not None and row.request and row.request.digest == known.request_digest:
                images = dataset.images(start, stop, [known.sample_id] if row.request.images else [])
                return row, [images[known.sample_id][one.number] for one in row.request.images]
    return None
