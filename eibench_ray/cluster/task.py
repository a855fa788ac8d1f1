"""One task, a step's slice, from its inputs in the store to its rows in the store. No Ray in here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from eibench_ray.cluster.ask import Asker
from eibench_ray.cluster.requests import build_request
from eibench_ray.data.dataset import Dataset, DatasetIndex
from eibench_ray.errors import StoreError
from eibench_ray.plan.digests import digest_input
from eibench_ray.plan.graph import Step
from eibench_ray.records import Completion, Request, RowErrorKind, Sample
from eibench_ray.store.resume import Slice
from eibench_ray.store.slices import Store


@dataclass(frozen=True, slots=True)
class TaskReport:
    """What became of a task.

    Attributes:
        num_new: rows that the engine answered in this run, without error rows; also those that an earlier attempt at
            this slice committed before its replica died.
        num_kept: rows that were committed before and stand, without error rows.
        num_errors: error rows, new ones and kept ones.
        is_whole: False where the task was interrupted; the rows that were finished are committed.
    """

    slice: Slice
    num_new: int
    num_kept: int
    num_errors: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    is_whole: bool


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a task: what is to be sent, or why nothing is."""

    sample: Sample
    input_digest: str
    request: Request | None


async def run_task(
    step: Step,
    slice_: Slice,
    dataset: Dataset,
    index: DatasetIndex,
    store: Store,
    asker: Asker,
    interrupted: asyncio.Event,
) -> TaskReport:
    """Asks for the rows of a slice that the store does not have, and commits the slice.

    When `interrupted` is set, or a row fails with more than an error of its own, rows in flight are given up and those
    that are finished are committed.

    Raises:
        EngineDeadError: the engine died.
        StoreError: the slice cannot be read or written.
    """
    started = time.monotonic()
    rows = await asyncio.to_thread(_read_rows, step, slice_, dataset, index, store)
    committed = await asyncio.to_thread(store.read_slice, step.id, slice_.index)
    kept = {row.sample.sample_id: known for row in rows if (known := _reuse(row, committed.get(row.sample.sample_id)))}
    missing = [row for row in rows if row.sample.sample_id not in kept]
    images: Mapping[str, bytes] = {}
    if step.prompt.image:
        wanted = [row.sample.sample_id for row in missing if row.request and row.request.image_digest]
        images = await asyncio.to_thread(dataset.images, slice_.start, slice_.stop, wanted)
    new: dict[str, Completion] = {}
    failure = await _ask_all(missing, images, asker, interrupted, new)
    # Rows of the slice that this run did not ask for (another limit) stay as they were.
    merged = committed | kept | new
    order = {sample_id: position for position, sample_id in enumerate(index.sample_ids[slice_.start : slice_.stop])}
    ordered = sorted(merged.values(), key=lambda row: order.get(row.sample_id, len(order)))
    await asyncio.to_thread(store.write_slice, step.id, slice_.index, ordered)
    if failure is not None:
        raise failure
    rows_now = [*kept.values(), *new.values()]
    answers = [row for row in rows_now if row.error_kind is None]
    made = [row for row in rows_now if row.run_id == asker.run_id]
    num_new = sum(row.error_kind is None for row in made)
    return TaskReport(
        slice=slice_,
        num_new=num_new,
        num_kept=len(answers) - num_new,
        num_errors=len(rows_now) - len(answers),
        prompt_tokens=sum(row.prompt_tokens for row in made),
        completion_tokens=sum(row.completion_tokens for row in made),
        seconds=time.monotonic() - started,
        is_whole=len(new) == len(missing),
    )


def _read_rows(step: Step, slice_: Slice, dataset: Dataset, index: DatasetIndex, store: Store) -> list[_Row]:
    """The rows of a slice with the answers that they read."""
    samples = dataset.samples(slice_.start, slice_.stop)
    sources = {word: store.read_rows(source, slice_.start, slice_.stop) for word, source in step.inputs.items()}
    rows = []
    for offset, sample in enumerate(samples):
        inputs = {word: rows_.get(sample.sample_id) for word, rows_ in sources.items()}
        if absent := [word for word, row in inputs.items() if row is None]:
            raise StoreError(
                f"step {step.id} ({step.name}) reads {', '.join(absent)} of sample {sample.sample_id!r}, which the "
                f"store no longer has: run the same command again"
            )
        found = {word: row for word, row in inputs.items() if row is not None}
        row_digest = index.row_digests[slice_.start + offset]
        input_digest = digest_input(row_digest, [row.output_digest for row in found.values()])
        has_answers = all(row.text is not None for row in found.values())
        answers = {word: row.text or "" for word, row in found.items()}
        request = build_request(step, sample, answers) if has_answers else None
        rows.append(_Row(sample, input_digest, request))
    return rows


def _reuse(row: _Row, known: Completion | None) -> Completion | None:
    """A committed row that would be asked in the same words, under the input digest of today."""
    if known is None or known.is_transient_error or row.request is None or known.request_digest != row.request.digest:
        return None
    return replace(known, input_digest=row.input_digest)


async def _ask_all(
    rows: list[_Row],
    images: Mapping[str, bytes],
    asker: Asker,
    interrupted: asyncio.Event,
    results: dict[str, Completion],
) -> BaseException | None:
    """Puts a completion per row into `results` as they come; a failure that is no row's own ends it; it is returned."""
    pending = {asyncio.create_task(_ask_row(row, images, asker)) for row in rows}
    stop = asyncio.create_task(interrupted.wait())
    failure: BaseException | None = None
    try:
        while pending and not stop.done() and failure is None:
            done, _ = await asyncio.wait({*pending, stop}, return_when=asyncio.FIRST_COMPLETED)
            for task in pending & done:
                if (error := task.exception()) is not None:
                    failure = error
                else:
                    results[task.result().sample_id] = task.result()
            pending -= done
    finally:
        stop.cancel()
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, stop, return_exceptions=True)
    return failure


async def _ask_row(row: _Row, images: Mapping[str, bytes], asker: Asker) -> Completion:
    """The completion of one row; a row that cannot be asked gets its error without a request."""
    sample_id = row.sample.sample_id
    image = images.get(sample_id)
    if row.request is None:
        completion = asker.refuse(sample_id, RowErrorKind.UPSTREAM, "an answer that this row reads is an error")
    elif row.request.image_digest is not None and image is None:
        completion = asker.refuse(sample_id, RowErrorKind.IMAGE, "the dataset has no bytes for the picture")
    else:
        completion = await asker.ask(row.request, image)
    return replace(completion, input_digest=row.input_digest)
