"""Compares what a run asked with what there is today: figures of other samples, or of fewer rows, are not the run's.

Scoring a run reads its plan, which its manifest holds; the samples of its datasets, which may have been prepared anew
since; and the rows in the store. A digest of the samples is written into the manifest (a pin), and how many rows each
step had is written when the run ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from eibench_ray.datasets.dataset import open_dataset
from eibench_ray.errors import DataError, StoreError
from eibench_ray.plan.graph import DatasetSpec, Plan
from eibench_ray.plan.slices import MOST_ROWS
from eibench_ray.runs.resume import find_work, open_indexes
from eibench_ray.runs.score_sources import digest_samples
from eibench_ray.store.slice_store import Store

if TYPE_CHECKING:
    from eibench_ray.runs.run_record import RunManifest, RunStatus


def pin_datasets(plan: Plan) -> dict[str, str]:
    """Dataset -> digest of the samples that the plan asks: all of their texts, their pictures, their order."""
    return {name: _digest(spec) for name, spec in plan.datasets.items() if spec.is_prepared}


def find_changes(manifest: RunManifest, status: RunStatus, store: Store) -> list[str]:
    """In what today's datasets and store differ from what the run had, a clause each; empty where they do not.

    What has come since (samples after the last one that was asked, answers to rows that were errors) is no difference.
    """
    return find_dataset_changes(manifest) or _find_lost_rows(manifest, status.done, store)


def find_dataset_changes(manifest: RunManifest) -> list[str]:
    """In what today's datasets differ from what the run asked, a clause each."""
    found = (_find_dataset_change(name, spec, manifest.pins.get(name)) for name, spec in manifest.plan.datasets.items())
    return [change for change in found if change is not None]


def check_unchanged(
    manifest: RunManifest,
    status: RunStatus,
    store: Store,
    *,
    otherwise: str = "; --anyway takes what still fits, and writes beside the run's own files",
) -> None:
    """Makes sure that figures of a run made today are the run's.

    Args:
        manifest: of the run.
        status: where it stood at last.
        store: the run's.
        otherwise: what else can be done, as the end of a sentence.

    Raises:
        DataError: they would be others, or fewer.
    """
    if changes := find_changes(manifest, status, store):
        raise DataError(
            f"run {manifest.id} cannot be scored as it was: {'; '.join(changes)}. Its files are left as they are. Put "
            f"back what it had, or run the same command again, which asks what is new{otherwise}"
        )


def _digest(spec: DatasetSpec) -> str:
    return digest_samples(open_dataset(spec.path), spec)


def _find_dataset_change(name: str, spec: DatasetSpec, pin: str | None) -> str | None:
    try:
        num_rows = open_dataset(spec.path).num_rows
        if num_rows < (least := spec.rows[-1] + 1):
            return f"the dataset {name} ({spec.path}) has {num_rows:,} samples and had {least:,}"
        if pin is not None and _digest(spec) != pin:
            return f"the dataset {name} ({spec.path}) has other samples than the run asked: it was prepared anew"
    except (DataError, StoreError) as error:
        return f"the dataset {name} is not there any more ({error})"
    return None


def _find_lost_rows(manifest: RunManifest, done: Mapping[str, int], store: Store) -> list[str]:
    """Steps of which the store has fewer rows than the run had when it last counted."""
    there = count_rows(manifest.plan, store)
    lost = {step: done[step] - num for step, num in there.items() if num < done.get(step, 0)}
    if not lost:
        return []
    steps = [manifest.plan.steps[step] for step in lost]
    names = ", ".join(dict.fromkeys(f"{step.name} of {manifest.plan.model_of(step)}" for step in steps))
    return [f"the store lacks {sum(lost.values()):,} rows that the run had ({names})"]


def count_rows(plan: Plan, store: Store) -> dict[str, int]:
    """Number of rows in the store per step, errors included, that were made from today's samples."""
    # Before it asks anything, a run fixes the slices of all steps that it asks: nothing here is new to the store.
    work = find_work(plan, open_indexes(plan), store, dict.fromkeys(plan.steps, MOST_ROWS), "none")
    return {step: left.num_done for step, left in work.items()}
