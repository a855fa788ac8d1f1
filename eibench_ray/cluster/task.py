"""One task, a step's slice, from its inputs in the store to its rows in the store. No Ray in here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace

from eibench_ray.cluster.ask import Asker
from eibench_ray.cluster.commits import Commits
from eibench_ray.cluster.halt import Halt
from eibench_ray.cluster.requests import Requests
from eibench_ray.data.dataset import Dataset, DatasetIndex
from eibench_ray.engines.base import BudgetSpentError
from eibench_ray.errors import StoreError
from eibench_ray.plan.digests import digest_input
from eibench_ray.plan.graph import Step
from eibench_ray.records import Completion, Request, RowErrorKind, Sample
from eibench_ray.store.resume import Slice
from eibench_ray.store.slice_file import SliceFile, settle
from eibench_ray.store.slices import Store
from eibench_ray.store.summary import digest_column, digest_sources


@dataclass(frozen=True, slots=True)
class TaskReport:
    """What became of a task.

    Attributes:
        num_new: rows that the engine answered in this run, without error rows; also those that an earlier attempt at
            this slice committed before its replica died.
        num_kept: rows that were committed before and stand, without error rows.
        num_errors: error rows, new ones and kept ones.
        num_absent: rows of this run about which there was nothing to ask.
        cost_usd: what this run's requests for the rows cost.
        is_whole: False where the task was interrupted; the rows that were finished are committed.
        shortage: how the budget stood when it allowed no further row; None where it was not spent.
    """

    slice: Slice
    num_new: int
    num_kept: int
    num_errors: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    is_whole: bool
    cost_usd: float = 0.0
    shortage: str | None = None
    num_absent: int = 0


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a task: what is to be sent, or why nothing is.

    Attributes:
        request: None where there is nothing to ask, or where what it reads is an error.
        is_absent: the former.
    """

    sample: Sample
    input_digest: str
    request: Request | None
    is_absent: bool


async def run_task(
    step: Step,
    slice_: Slice,
    dataset: Dataset,
    index: DatasetIndex,
    store: Store,
    asker: Asker,
    halt: Halt,
) -> TaskReport:
    """Asks for the rows of a slice that the store does not have, and commits the slice.

    When a row fails with more than an error of its own, rows in flight are given up and those that are finished are
    committed; likewise at a halt, once its time of grace is over. Where the budget is spent, rows in flight are paid
    for already and awaited. Rows that cost money are committed as they come, too: a slice that is not whole is a file
    like any other.

    Raises:
        EngineDeadError: the engine died.
        StoreError: the slice cannot be read or written.
    """
    started = time.monotonic()
    rows, made_from = await asyncio.to_thread(_read_rows, step, slice_, dataset, index, store)
    file = await asyncio.to_thread(SliceFile, store, step.id, slice_.index)
    committed = dict(file.rows)
    kept = _reuse(rows, committed)
    asker.tally.rows += sum(not row.is_absent for row in kept.values())
    missing = [row for row in rows if row.sample.sample_id not in kept] if kept else rows
    images: Mapping[str, bytes] = {}
    if step.prompt.image:
        wanted = [row.sample.sample_id for row in missing if row.request and row.request.image_digest]
        images = await asyncio.to_thread(dataset.images, slice_.start, slice_.stop, wanted)

    async def commit(completions: dict[str, Completion]) -> None:
        for sample_id, row in (await asyncio.to_thread(file.read_news)).items():
            committed[sample_id] = row
            if (mine := completions.get(sample_id)) is not None:
                completions[sample_id] = settle(mine, row)
        # Rows of the slice that this run did not ask for (another limit) stay as they were.
        merged = committed | kept | completions
        ordered = [merged.pop(row.sample.sample_id) for row in rows if row.sample.sample_id in merged]
        is_whole = [row.input_digest for row in ordered] == [row.input_digest for row in rows]
        content = [*ordered, *merged.values()]
        whole = made_from if is_whole else None
        await asyncio.to_thread(file.write, content, num_asked=len(ordered), made_from=whole)

    asking = _Asking(missing, images, asker, halt, committed, commit)
    failure = await asking.run()
    await commit(asking.completions)
    if failure is not None:
        raise failure
    rows_now = [*kept.values(), *asking.completions.values()]
    answers = [row for row in rows_now if row.text is not None]
    made = [row for row in rows_now if row.run_id == asker.run_id]
    num_new = sum(row.text is not None for row in made)
    return TaskReport(
        slice=slice_,
        num_new=num_new,
        num_kept=len(answers) - num_new,
        num_errors=sum(row.error_kind is not None for row in rows_now),
        prompt_tokens=sum(row.prompt_tokens for row in made),
        completion_tokens=sum(row.completion_tokens for row in made),
        seconds=time.monotonic() - started,
        is_whole=len(asking.completions) == len(missing),
        cost_usd=asking.cost_usd + sum(row.cost_usd or 0.0 for row in kept.values() if row.run_id == asker.run_id),
        shortage=asking.shortage,
        num_absent=sum(row.is_absent for row in made),
    )


def _read_rows(
    step: Step, slice_: Slice, dataset: Dataset, index: DatasetIndex, store: Store
) -> tuple[list[_Row], str]:
    """The rows of a slice with the answers that they read, and the digest of what all of them are made from."""
    samples = dataset.samples(slice_.start, slice_.stop)
    sample_ids = [sample.sample_id for sample in samples]
    row_digests = list(index.row_digests_of(slice_.start, slice_.stop))
    sources = {word: store.read_rows(source, slice_.start, sample_ids) for word, source in step.inputs.items()}
    requests = Requests(step)
    rows = []
    read: list[list[str]] = [[] for _ in sources]
    for sample, row_digest in zip(samples, row_digests, strict=True):
        outputs: list[str] = []
        answers: dict[str, str] = {}
        has_error = False
        for column, (word, source) in zip(read, sources.items(), strict=True):
            if (row := source.get(sample.sample_id)) is None:
                raise StoreError(
                    f"step {step.id} ({step.name}) reads {word} of sample {sample.sample_id!r}, which the store no "
                    f"longer has: run the same command again"
                )
            outputs.append(row.output_digest)
            column.append(outputs[-1])
            has_error = has_error or row.error_kind is not None
            if row.text is not None:
                answers[word] = row.text
        request = None if has_error else requests.build(sample, answers)
        rows.append(_Row(sample, digest_input(row_digest, outputs), request, request is None and not has_error))
    return rows, digest_sources(digest_column(row_digests), map(digest_column, read))


def _reuse(rows: list[_Row], committed: Mapping[str, Completion]) -> dict[str, Completion]:
    """The committed rows that would be asked in the same words, under the input digests of today."""
    kept = {}
    for row in rows if committed else ():
        known = committed.get(row.sample.sample_id)
        if known is not None and known.is_absent and row.is_absent and known.input_digest == row.input_digest:
            kept[known.sample_id] = known
        if known is None or known.is_transient_error or row.request is None:
            continue
        if known.request_digest == row.request.digest:
            kept[known.sample_id] = replace(known, input_digest=row.input_digest)
    return kept


class _Asking:
    """The rows of one task on their way through the engine.

    Workers ask row after row, as a coroutine of its own for each row costs more than all else that is done for it. One
    worker waits for a slot; when it gets it, it starts the next one. So there are as many as the engine keeps busy:
    one per slot where replies take their time, two where they come at once.
    """

    def __init__(
        self,
        rows: list[_Row],
        images: Mapping[str, bytes],
        asker: Asker,
        halt: Halt,
        committed: Mapping[str, Completion],
        commit: Callable[[dict[str, Completion]], Coroutine[None, None, None]],
    ) -> None:
        self._rows = iter(rows)
        self._images = images
        self._asker = asker
        self._halt = halt
        self._committed = committed
        self._commits = Commits(lambda: commit(self.completions), self._fail) if asker.costs_money else None
        self._workers: set[asyncio.Task[None]] = set()
        self._num_waiting = 0
        self._ended = asyncio.Event()
        self._failure: BaseException | None = None
        self.completions: dict[str, Completion] = {}
        self.cost_usd = 0.0
        self.shortage: str | None = None

    async def run(self) -> BaseException | None:
        """Asks all rows, until the halt or until one fails with more than an error of its own, which is returned.

        The completions so far are in `completions`; rows in flight are given up, at a halt once its grace is over.
        Where the budget does not allow a row, `shortage` says so; rows in flight are awaited then, and no further one
        is asked.
        """
        self._start_worker()
        ends = [asyncio.create_task(event.wait()) for event in (self._ended, self._halt.is_over)]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left = [*ends, *self._workers]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            if self._commits:
                await self._commits.settle()
        return self._failure

    def _start_worker(self) -> None:
        self._num_waiting += 1
        worker = asyncio.create_task(self._work())
        self._workers.add(worker)
        worker.add_done_callback(self._note_end)

    async def _work(self) -> None:
        for row in self._rows:
            async with self._asker.slots:
                self._num_waiting -= 1
                if self.shortage is not None or self._halt.is_ordered.is_set():
                    return
                if not self._num_waiting:
                    self._start_worker()
                try:
                    self._take(await self._ask(row))
                except BudgetSpentError as error:
                    self.shortage = str(error)
                    return
                self._num_waiting += 1

    def _take(self, row: Completion) -> None:
        """Keeps a row; what an earlier row of its sample cost, which it replaces, stays with it."""
        if row.cost_usd is not None:
            self.cost_usd += row.cost_usd
        earlier = self._committed.get(row.sample_id)
        if earlier is not None and earlier.cost_usd is not None:
            row = replace(row, cost_usd=earlier.cost_usd + (row.cost_usd or 0.0))
        self.completions[row.sample_id] = row
        if self._commits:
            self._commits.note()

    async def _ask(self, row: _Row) -> Completion:
        """The completion of one row; a row that cannot be asked gets its error without a request."""
        sample_id, asker = row.sample.sample_id, self._asker
        if row.is_absent:
            return asker.skip(sample_id, row.input_digest)
        if row.request is None:
            why = "an answer that this row reads is an error"
            return asker.refuse(sample_id, RowErrorKind.UPSTREAM, why, row.input_digest)
        image = self._images.get(sample_id)
        if row.request.image_digest is not None and image is None:
            why = "the dataset has no bytes for the picture"
            return asker.refuse(sample_id, RowErrorKind.IMAGE, why, row.input_digest)
        return await asker.ask(row.request, image, row.input_digest)

    def _note_end(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self._fail(error)
        if not self._workers:
            self._ended.set()

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self._ended.set()
