"""Cells joined and scored: samples, answers and verdicts of the store become figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from eibench_ray.config.schema import ScoreConfig
from eibench_ray.data.dataset import Dataset, open_dataset
from eibench_ray.plan.digests import digest_input
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.records import Completion, Sample, Verdict
from eibench_ray.report.leaderboard import LeaderboardRow
from eibench_ray.score.recall import score_cell
from eibench_ray.score.verdicts import read_verdict
from eibench_ray.store.slices import Store
from eibench_ray.sweep.record import RunManifest

RANGE_ROWS = 1024


@dataclass(frozen=True, slots=True)
class JoinedRow:
    """One sample of a cell with all that was said about it; None where the run has not come to it.

    Attributes:
        cost_usd: of all rows of the sample that the cell rests on; None where none has a price.
    """

    sample: Sample
    answer: Completion | None
    reply: Completion | None
    verdict: Verdict | None
    cost_usd: float | None


class Results:
    """Reads cells from a store, a range of rows after the other: a cell of any size takes the memory of one range."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan = plan
        self._store = store
        self._datasets: dict[str, Dataset] = {}

    def dataset(self, name: str) -> Dataset:
        """A dataset of the plan."""
        if name not in self._datasets:
            self._datasets[name] = open_dataset(self._plan.datasets[name].path)
        return self._datasets[name]

    def join(self, cell: Cell) -> Iterator[JoinedRow]:
        """The cell's rows in the dataset's order."""
        dataset, spec = self.dataset(cell.dataset), self._plan.datasets[cell.dataset]
        # As long as the longest slice: a shorter range would read that slice again and again.
        size = max(RANGE_ROWS, *(self._store.slice_rows(step) or 0 for step in cell.steps))
        for start in range(0, spec.num_rows, size):
            stop = min(start + size, spec.num_rows)
            samples, current = dataset.samples(start, stop), self._current_rows(cell, start, stop)
            yield from _join(cell, samples, current)

    def score(self, cell: Cell, config: ScoreConfig) -> LeaderboardRow:
        """The cell's line in the leaderboard."""
        num_errors = num_refused = 0
        cost_usd: float | None = None

        def judged() -> Iterator[tuple[Sample, Verdict | None]]:
            nonlocal num_errors, num_refused, cost_usd
            for row in self.join(cell):
                num_errors += row.answer is not None and row.answer.error_kind is not None
                num_errors += row.reply is not None and row.reply.error_kind is not None
                num_refused += row.answer is not None and row.answer.is_refused
                if row.cost_usd is not None:
                    cost_usd = (cost_usd or 0.0) + row.cost_usd
                yield row.sample, row.verdict

        score = score_cell(judged(), confidence=config.confidence, resamples=config.resamples, seed=0)
        return LeaderboardRow(
            model=cell.model,
            setting=cell.setting,
            dataset=cell.dataset,
            judge=cell.judge,
            sees_image=cell.sees_image,
            self_judged=cell.self_judged,
            score=score,
            errors=num_errors,
            refused=num_refused,
            cost_usd=cost_usd,
        )

    def _current_rows(self, cell: Cell, start: int, stop: int) -> dict[str, dict[str, Completion]]:
        """By step and sample id, the rows made from what the dataset and the earlier steps say now."""
        index = list(self.dataset(cell.dataset).index().rows(start, stop))
        sample_ids = [sample_id for sample_id, _ in index]
        current: dict[str, dict[str, Completion]] = {}
        for step_id in cell.steps:  # inputs come first
            sources = [current[source] for source in self._plan.steps[step_id].inputs.values()]
            committed = self._store.read_rows(step_id, start, sample_ids)
            rows = current[step_id] = {}
            for sample_id, row_digest in index:
                row = committed.get(sample_id)
                if row is None or any(sample_id not in source for source in sources):
                    continue
                outputs = [source[sample_id].output_digest for source in sources]
                if row.input_digest == digest_input(row_digest, outputs):
                    rows[sample_id] = row
        return current


def _join(cell: Cell, samples: list[Sample], current: Mapping[str, Mapping[str, Completion]]) -> Iterator[JoinedRow]:
    steps = [current[step] for step in cell.steps]
    for sample in samples:
        answer, reply = current[cell.answer].get(sample.sample_id), current[cell.verdict].get(sample.sample_id)
        made = [row for rows in steps if (row := rows.get(sample.sample_id)) is not None]
        costs = [row.cost_usd for row in made if row.cost_usd is not None]
        is_judged = reply is not None or (answer is not None and answer.error_kind is not None)
        verdict = read_verdict(cell.judge_kind, sample, answer, reply) if is_judged else None
        yield JoinedRow(sample, answer, reply, verdict, sum(costs) if costs else None)


def score_run(
    manifest: RunManifest, store: Store, *, resamples: int | None = None, confidence: float | None = None
) -> list[LeaderboardRow]:
    """The leaderboard of a run, from its store alone; with other bootstrap parameters where they are given."""
    chosen = {"resamples": resamples, "confidence": confidence}
    config = ScoreConfig(
        **manifest.score.model_dump() | {name: value for name, value in chosen.items() if value is not None}
    )
    results = Results(manifest.plan, store)
    return [results.score(cell, config) for cell in manifest.plan.cells]
