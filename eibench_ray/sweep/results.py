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
from eibench_ray.score.coherence import CoherenceColumns, read_coherence
from eibench_ray.score.interval import Resampling
from eibench_ray.score.recall import MISSING, mean_recall, score_cell
from eibench_ray.score.verdicts import read_verdict
from eibench_ray.store.slices import Store
from eibench_ray.sweep.record import RunManifest

RANGE_ROWS = 1024


@dataclass(frozen=True, slots=True)
class JoinedRow:
    """One sample of a cell with all that was said about it; None where the run has not come to it.

    Attributes:
        replies, verdicts: one per repeat of the judge.
        coherence: the row that measures the answer; None also where that is not asked for.
        cost_usd: of all rows of the sample that the cell rests on; None where none has a price.
    """

    sample: Sample
    answer: Completion | None
    replies: tuple[Completion | None, ...]
    verdicts: tuple[Verdict | None, ...]
    coherence: Completion | None
    cost_usd: float | None

    @property
    def recall(self) -> float | None:
        """Mean over the verdicts that count; None where none does."""
        return mean_recall(self.verdicts)


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

    def samples(self, dataset: str) -> Iterator[Sample]:
        """The samples of the plan's part of a dataset, in order."""
        num_rows = self._plan.datasets[dataset].num_rows
        for start in range(0, num_rows, RANGE_ROWS):
            yield from self.dataset(dataset).samples(start, min(start + RANGE_ROWS, num_rows))

    def join(self, cell: Cell) -> Iterator[JoinedRow]:
        """The cell's rows in the dataset's order."""
        dataset, spec = self.dataset(cell.dataset), self._plan.datasets[cell.dataset]
        # As long as the longest slice: a shorter range would read that slice again and again.
        size = max(RANGE_ROWS, *(self._store.slice_rows(step) or 0 for step in cell.steps))
        for start in range(0, spec.num_rows, size):
            stop = min(start + size, spec.num_rows)
            samples, current = dataset.samples(start, stop), self._current_rows(cell, start, stop)
            yield from self._join(cell, samples, current)

    def score(self, cell: Cell, config: ScoreConfig) -> LeaderboardRow:
        """The cell's line in the leaderboard."""
        num_errors = num_refused = 0
        cost_usd: float | None = None
        measured = CoherenceColumns()

        def judged() -> Iterator[tuple[Sample, tuple[Verdict | None, ...]]]:
            nonlocal num_errors, num_refused, cost_usd
            for row in self.join(cell):
                num_errors += row.answer is not None and row.answer.error_kind is not None
                num_errors += sum(reply is not None and reply.error_kind is not None for reply in row.replies)
                num_errors += row.coherence is not None and row.coherence.error_kind is not None
                if cell.coherence:
                    measured.add(row.sample, read_coherence(row.coherence.text) if row.coherence else None)
                num_refused += row.answer is not None and row.answer.is_refused
                if row.cost_usd is not None:
                    cost_usd = (cost_usd or 0.0) + row.cost_usd
                yield row.sample, row.verdicts

        resampling = Resampling(config.confidence, config.resamples)
        score = score_cell(judged(), confidence=config.confidence, resamples=config.resamples, seed=0)
        return LeaderboardRow(
            model=cell.model,
            setting=cell.setting,
            dataset=cell.dataset,
            judge=cell.judge,
            sees_image=cell.sees_image,
            self_judged=cell.self_judged,
            same_family=cell.same_family,
            score=score,
            errors=num_errors,
            refused=num_refused,
            cost_usd=cost_usd,
            coherence=measured.score(self._measure(cell.coherence), resampling) if cell.coherence else None,
            blocked=cell.blocked if MISSING in score.statuses else None,
        )

    def _measure(self, step_id: str) -> str:
        """The name of the option that measures in a step."""
        return self._plan.engines[self._plan.steps[step_id].engine].name

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

    def _join(
        self, cell: Cell, samples: list[Sample], current: Mapping[str, Mapping[str, Completion]]
    ) -> Iterator[JoinedRow]:
        per_trigger = self._plan.steps[cell.verdict].per_trigger
        for sample in samples:
            answer = current[cell.answer].get(sample.sample_id)
            replies = tuple(current[step].get(sample.sample_id) for step in cell.verdicts)
            coherence = current[cell.coherence].get(sample.sample_id) if cell.coherence else None
            made = [row for step in cell.steps if (row := current[step].get(sample.sample_id)) is not None]
            costs = [row.cost_usd for row in made if row.cost_usd is not None]
            is_lost = answer is not None and answer.error_kind is not None
            verdicts = tuple(
                read_verdict(cell.judge_kind, sample, answer, reply, per_trigger=per_trigger)
                if reply is not None or is_lost
                else None
                for reply in replies
            )
            yield JoinedRow(sample, answer, replies, verdicts, coherence, sum(costs) if costs else None)


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
