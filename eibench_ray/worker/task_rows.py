"""Rows of a task's slice with what they read, and which of them the store has already."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from eibench_ray.datasets.dataset import Dataset, DatasetIndex
from eibench_ray.errors import ScoreError, StoreError
from eibench_ray.plan.graph import Step
from eibench_ray.plan.prompt_templates import RENDER_ERRORS
from eibench_ray.plan.slices import Slice
from eibench_ray.rows.completion import Completion, Retry
from eibench_ray.rows.digests import digest_input
from eibench_ray.rows.request import Request
from eibench_ray.rows.sample import Sample
from eibench_ray.store.slice_store import Store
from eibench_ray.store.slice_summary import digest_column, digest_sources
from eibench_ray.worker.request_builder import RequestBuilder


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One row of a task: what is to be sent, or why nothing is.

    Attributes:
        request: None where there is nothing to ask, or where what it reads is an error, or its prompt cannot be made.
    """

    sample: Sample
    input_digest: str
    request: Request | None
    is_absent: bool
    unmade: str | None = None  # why its prompt cannot be made; None: it can, or need not


def read_rows(
    step: Step, slice_: Slice, dataset: Dataset, index: DatasetIndex, store: Store
) -> tuple[list[TaskRow], str]:
    """The rows of a slice with the answers that they read, and the digest of what all of them are made from."""
    found = dataset.samples(slice_.start, slice_.stop)
    place = (slice_.start, [sample.sample_id for sample in found])
    sources = {word: store.read_rows(source, *place) for word, source in step.inputs.items()}
    samples = slice_.pick(found)
    row_digests = slice_.pick(list(index.row_digests_of(slice_.start, slice_.stop)))
    requests = RequestBuilder(step)
    rows = []
    read: list[list[str]] = [[] for _ in sources]
    for sample, row_digest in zip(samples, row_digests, strict=True):
        outputs: list[str] = []
        answers: dict[str, str] = {}
        has_error = False
        for column, (word, source) in zip(read, sources.items(), strict=True):
            if (row := source.get(sample.sample_id)) is None:
                raise StoreError(
                    f"{step.name} on {step.dataset} reads {word} of sample {sample.sample_id!r}, which the store no "
                    f"longer has: run the same command again (step {step.id})"
                )
            outputs.append(row.output_digest)
            column.append(outputs[-1])
            has_error = has_error or row.error_kind is not None
            if row.text is not None:
                answers[word] = row.text
        request, unmade = None, None
        try:
            request = None if has_error else requests.build(sample, answers)
        except (*RENDER_ERRORS, ScoreError) as error:
            unmade = f"its prompt cannot be made: {str(error) or type(error).__name__}"
        is_absent = request is None and unmade is None and not has_error
        rows.append(TaskRow(sample, digest_input(row_digest, outputs), request, is_absent, unmade))
    return rows, digest_sources(digest_column(row_digests), map(digest_column, read))


def reuse(
    rows: list[TaskRow], committed: Mapping[str, Completion], retry: Retry, run_id: str, settled: Collection[str] = ()
) -> dict[str, Completion]:
    """The committed rows that are not asked again, under the input digests of today.

    They would be asked in the same words, and are no error that this run asks again.

    Args:
        rows: of the slice.
        committed: by sample id, what the store has.
        retry: which errors of earlier runs are asked again.
        run_id: of this run: the rows that it has quarantined stand.
        settled: ids of samples of which all rows of this run stand.
    """
    kept = {}
    for row in rows if committed else ():
        known = committed.get(row.sample.sample_id)
        if known is None:
            continue
        is_own, is_as_today = known.run_id == run_id, known.input_digest == row.input_digest
        if is_as_today and ((known.is_absent and row.is_absent) or (is_own and known.sample_id in settled)):
            kept[known.sample_id] = known
        if row.request is None or (known.is_asked_again(retry) and not (is_own and known.is_quarantined)):
            continue
        if known.request_digest == row.request.digest:
            kept[known.sample_id] = replace(known, input_digest=row.input_digest)
    return kept
