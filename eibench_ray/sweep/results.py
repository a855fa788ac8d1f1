"""Cells joined and scored: samples, answers and verdicts of the store become figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eibench_ray.config.schema import ScoreConfig
from eibench_ray.data.dataset import Dataset, DatasetIndex, open_dataset
from eibench_ray.plan.digests import digest_input
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.records import Completion, Sample, Verdict
from eibench_ray.report.leaderboard import LeaderboardRow
from eibench_ray.score.recall import score_cell
from eibench_ray.score.verdicts import read_verdict
from eibench_ray.store.slices import Store
from eibench_ray.sweep.record import RunManifest


@dataclass(frozen=True, slots=True)
class JoinedRow:
    """One sample of a cell with all that was said about it; None where the run has not come to it."""

    sample: Sample
    answer: Completion | None
    reply: Completion | None
    verdict: Verdict | None


class Results:
    """Reads cells from a store; the samples of a dataset are read once."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan = plan
        self._store = store
        self._opened: dict[str, tuple[Dataset, DatasetIndex, list[Sample]]] = {}

    def dataset(self, name: str) -> Dataset:
        """A dataset of the plan."""
        return self._open(name)[0]

    def join(self, cell: Cell) -> list[JoinedRow]:
        """The cell's rows in the dataset's order."""
        samples = self._open(cell.dataset)[2]
        return list(_join(cell, samples, self._current_rows(cell.answer), self._current_rows(cell.verdict)))

    def score(self, cell: Cell, rows: list[JoinedRow], config: ScoreConfig) -> LeaderboardRow:
        """The cell's line in the leaderboard."""
        verdicts = {row.sample.sample_id: row.verdict for row in rows if row.verdict is not None}
        score = score_cell(
            [row.sample for row in rows], verdicts, confidence=config.confidence, resamples=config.resamples, seed=0
        )
        errors = sum(
            done is not None and done.error_kind is not None for row in rows for done in (row.answer, row.reply)
        )
        return LeaderboardRow(
            model=cell.model,
            setting=cell.setting,
            dataset=cell.dataset,
            judge=cell.judge,
            sees_image=cell.sees_image,
            self_judged=cell.self_judged,
            score=score,
            errors=errors,
        )

    def _current_rows(self, step_id: str) -> dict[str, Completion]:
        """The committed rows of a step that were made from what the dataset and the earlier steps say now."""
        step = self._plan.steps[step_id]
        _, index, samples = self._open(step.dataset)
        sources = [self._current_rows(source) for source in step.inputs.values()]
        committed = self._store.read_rows(step_id, 0, len(samples))
        current = {}
        for sample_id, row_digest in zip(index.sample_ids, index.row_digests, strict=True):
            row = committed.get(sample_id)
            if row is None or any(sample_id not in source for source in sources):
                continue
            if row.input_digest == digest_input(row_digest, [source[sample_id].output_digest for source in sources]):
                current[sample_id] = row
        return current

    def _open(self, name: str) -> tuple[Dataset, DatasetIndex, list[Sample]]:
        if name not in self._opened:
            spec = self._plan.datasets[name]
            dataset = open_dataset(spec.path)
            self._opened[name] = (dataset, dataset.index(spec.limit), dataset.samples(0, spec.num_rows))
        return self._opened[name]


def _join(
    cell: Cell, samples: list[Sample], answers: dict[str, Completion], replies: dict[str, Completion]
) -> Iterator[JoinedRow]:
    for sample in samples:
        answer, reply = answers.get(sample.sample_id), replies.get(sample.sample_id)
        is_judged = reply is not None or (answer is not None and answer.error_kind is not None)
        verdict = read_verdict(cell.judge_kind, sample, answer, reply) if is_judged else None
        yield JoinedRow(sample, answer, reply, verdict)


def score_run(
    manifest: RunManifest, store: Store, *, resamples: int | None = None, confidence: float | None = None
) -> list[LeaderboardRow]:
    """The leaderboard of a run, from its store alone; with other bootstrap parameters where they are given."""
    chosen = {"resamples": resamples, "confidence": confidence}
    config = ScoreConfig(
        **manifest.score.model_dump() | {name: value for name, value in chosen.items() if value is not None}
    )
    results = Results(manifest.plan, store)
    return [results.score(cell, results.join(cell), config) for cell in manifest.plan.cells]
