"""Cells joined and scored: samples, answers and judges' replies of the store become figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from eibench_ray.benchmarks.benchmark import OpenedRun
from eibench_ray.config.schema import ScoreConfig
from eibench_ray.datasets.dataset import Dataset, open_dataset
from eibench_ray.datasets.sample_table import SampleTable
from eibench_ray.errors import ConfigError
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.plan.slices import Slice, cut
from eibench_ray.report.leaderboard_row import LeaderboardRow
from eibench_ray.rows.sample import Sample
from eibench_ray.runs.cell_scorer import COLUMN_ROWS, RANGE_ROWS, range_rows
from eibench_ray.runs.column_reader import ColumnReader
from eibench_ray.runs.failed_cells import explain_engines, explain_failure
from eibench_ray.runs.range_scorer import RangeScorer
from eibench_ray.runs.run_record import RunManifest
from eibench_ray.runs.score_reader import LostReader, make_reader
from eibench_ray.runs.scored_columns import ScoredColumns
from eibench_ray.runs.step_rows import COMPLETION, StepReader, StepRows
from eibench_ray.scoring.answer_repeats import by_answer
from eibench_ray.scoring.cell_columns import MISSING
from eibench_ray.scoring.cell_score import score_cell
from eibench_ray.scoring.joined_row import JoinedRow, SaidRange
from eibench_ray.scoring.sample_groups import SampleGroups, find_groups
from eibench_ray.scoring.scorer import Metric
from eibench_ray.store.slice_store import Store


class Results:
    """Reads cells from a store, a range of rows after the other: a cell of any size takes the memory of one range."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan = plan
        self._store = store
        self._datasets: dict[str, Dataset] = {}
        self._columns = ColumnReader(plan, store, self.dataset)
        self._groups: dict[tuple[str, tuple[str, ...]], SampleGroups] = {}

    def dataset(self, name: str) -> Dataset:
        """A dataset of the plan."""
        if name not in self._datasets:
            self._datasets[name] = open_dataset(self._plan.datasets[name].path)
        return self._datasets[name]

    def samples(self, dataset: str) -> Iterator[Sample]:
        """The samples of the plan's part of a dataset, in order."""
        for part in cut(dataset, self._plan.datasets[dataset].rows, RANGE_ROWS):
            yield from part.pick(self.dataset(dataset).samples(part.start, part.stop))

    def tables(self, dataset: str) -> Iterator[SampleTable]:
        """The samples of the plan's part of a dataset, in order, a range of them after the other."""
        opened = self.dataset(dataset)
        return (opened.table(part) for part in cut(dataset, self._plan.datasets[dataset].rows, COLUMN_ROWS))

    def join(self, cell: Cell) -> Iterator[JoinedRow]:
        """The cell's rows in the dataset's order."""
        for part in self.parts(cell):
            yield from self._join(cell, part)

    def row(self, cell: Cell, number: int) -> JoinedRow:
        """One row of the cell, by its number in the dataset."""
        return next(self._join(cell, Slice("", 0, number, number + 1)))

    def said(self, cell: Cell, *, has_scores: bool = False) -> Iterator[SaidRange]:
        """Yields what was said to the cell's samples, a range of them after the other, in the dataset's order."""
        dataset, scorer = self.dataset(cell.dataset), RangeScorer(cell, make_reader(cell), {})
        for part in self.parts(cell, in_columns=True):
            samples, rows = dataset.table(part), self.read_steps(cell, part)
            answers, replies = ([rows[step].texts for step in steps] for steps in (cell.answers, cell.verdicts))
            paths = [paths[0] if paths else None for paths in samples.paths.to_pylist()]
            scores = scorer.read(samples, rows) if has_scores else []
            targets = samples.map_targets(lambda targets: targets)
            yield SaidRange(samples.ids.to_pylist(), paths, targets, answers, replies, scores)

    def parts(self, cell: Cell, *, in_columns: bool = False) -> Iterator[Slice]:
        """Ranges of the cell's samples that are read at once: longer ones where rows stay columns."""
        size = range_rows(self._store, [cell], in_columns=in_columns)
        return cut(cell.dataset, self._plan.datasets[cell.dataset].rows, size)

    def read_steps(self, cell: Cell, part: Slice, more: Sequence[str] = ()) -> dict[str, StepRows]:
        """By step, the rows about a range of samples.

        Args:
            cell: whose steps they are.
            part: the range.
            more: columns that are read beside those that scoring looks at.
        """
        reader = StepReader(self._store, self.dataset(cell.dataset).index(), part, more)
        return {step: reader.read(self._plan.steps[step]) for step in cell.steps}  # inputs come first

    def metrics(self, cell: Cell) -> Sequence[Metric]:
        """The figures of the cell's scorer, the headline first."""
        return make_reader(cell).metrics

    def score(
        self,
        cell: Cell,
        config: ScoreConfig,
        failures: Mapping[str, str] = {},
        group_by: Sequence[str] | None = None,
    ) -> LeaderboardRow:
        """The cell's line in the leaderboard.

        Args:
            cell: the cell.
            config: how it is scored.
            failures: model -> why its engine was given up in the run.
            group_by: columns of the samples; None: the dataset's own choice.
        """
        ((_, row),) = self.score_all([cell], config, failures, group_by)
        return row

    def score_all(
        self,
        cells: Sequence[Cell],
        config: ScoreConfig,
        failures: Mapping[str, str] = {},
        group_by: Sequence[str] | None = None,
        *,
        anew: bool = False,
    ) -> Iterator[tuple[Cell, LeaderboardRow]]:
        """Yields cells with their lines in the leaderboard, in their order; what they share is read once.

        Args:
            cells: the cells.
            config: how they are scored.
            failures: model -> why its engine was given up in the run.
            group_by: columns of the samples; None: the choice of each dataset.
            anew: whether the scores that the store keeps are made again.
        """
        for cell, scored in self.columns(cells, anew=anew):
            yield cell, self._make_row(cell, scored, config, failures, group_by)

    def columns(self, cells: Sequence[Cell], *, anew: bool = False) -> Iterator[tuple[Cell, ScoredColumns]]:
        """Yields cells with the columns of their scores, in their order; `anew`: made from the rows, and kept."""
        return self._columns.read(cells, anew=anew)

    def groups(self, dataset: str, group_by: Sequence[str]) -> SampleGroups:
        """Clusters and groups of the samples that the plan asks of a dataset."""
        key = dataset, tuple(group_by)
        if key not in self._groups:
            opened, rows = self.dataset(dataset), self._plan.datasets[dataset].rows
            parts = cut(dataset, rows, RANGE_ROWS)
            self._groups[key] = find_groups((opened.table(part).outlines for part in parts), group_by)
        return self._groups[key]

    def _make_row(
        self,
        cell: Cell,
        scored: ScoredColumns,
        config: ScoreConfig,
        failures: Mapping[str, str],
        group_by: Sequence[str] | None,
    ) -> LeaderboardRow:
        reader, counts = make_reader(cell), scored.counts
        groups = self.groups(cell.dataset, self._plan.datasets[cell.dataset].group_by if group_by is None else group_by)
        score = score_cell(scored.columns, groups, config.confidence)
        is_whole = MISSING not in score.statuses
        lost = reader.reason if isinstance(reader, LostReader) else None
        failed = lost or explain_failure(
            self._plan,
            reader.statuses,
            score,
            counts.answers,
            counts.replies,
            is_jury=bool(cell.jurors),
            scorer_error=counts.scorer_error,
        )
        return LeaderboardRow(
            model=cell.model,
            setting=cell.setting,
            dataset=cell.dataset,
            judge=cell.judge,
            sees_image=cell.sees_image,
            self_judged=cell.self_judged,
            same_family=cell.same_family,
            baseline_judges=cell.baseline is not None and cell.baseline.is_judge,
            score=score,
            errors=counts.num_errors,
            refused=counts.num_refused,
            truncated=counts.answers.num_truncated,
            empty=counts.num_empty,
            cut_while_thinking=counts.num_cut_while_thinking,
            calls_truncated=counts.num_calls_truncated,
            judge_truncated=sum(repeat.num_truncated for repeat in counts.replies),
            judge_fallbacks=counts.num_fallbacks,
            cost_usd=counts.cost_usd,
            mean_logprob=counts.mean_logprob,
            scorer_error=counts.scorer_error,
            blocked=None if is_whole else cell.blocked,
            failed=failed or (None if is_whole else explain_engines(self._plan, cell, failures)),
            answer_source=self._plan.answer_source(cell),
            judge_source=self._plan.judge_source(cell),
            agreement=scored.agreement,
            mean_words=counts.mean_words,
            endings=dict(counts.answers.endings),
            reply_endings=counts.reply_endings,
            has_pictures=groups.has_pictures,
        )

    def _join(self, cell: Cell, part: Slice) -> Iterator[JoinedRow]:
        samples = part.pick(self.dataset(cell.dataset).samples(part.start, part.stop))
        current = {step: rows.completions for step, rows in self.read_steps(cell, part, COMPLETION).items()}
        reader = make_reader(cell)
        headline = reader.metrics[0].name
        baselines = cell.baseline.answers if cell.baseline else ()
        for place, sample in enumerate(samples):
            answers = tuple(current[step][place] for step in cell.answers)
            replies = tuple(current[step][place] for step in cell.verdicts)
            made = {step: row for step, rows in current.items() if (row := rows[place]) is not None}
            of_answers = zip(answers, by_answer(replies, len(answers)), strict=True)
            scores = tuple(score for answer, said in of_answers for score in reader.read(sample, answer, said))
            compared = tuple(current[step][place] for step in baselines)
            yield JoinedRow(
                sample, answers, replies, scores, headline, made, is_jury=bool(cell.jurors), compared=compared
            )


def check_columns(results: Results, plan: Plan, columns: Sequence[str]) -> None:
    """Returns where some dataset of a run has each of the columns.

    Raises:
        ConfigError: none has one of them.
    """
    known = dict.fromkeys(name for dataset in plan.datasets for name in results.dataset(dataset).metadata)
    if missing := [column for column in columns if column not in known]:
        raise ConfigError(
            f"dataset {' or '.join(map(repr, plan.datasets))} has no column {', '.join(missing)}: it can be grouped by "
            f"{', '.join(known) or 'none'}"
        )


def open_run(manifest: RunManifest, store: Store, failures: Mapping[str, str] = {}) -> OpenedRun:
    """A run as benchmarks check and export it.

    Args:
        manifest: of the run.
        store: the run's.
        failures: model -> why its engine was given up in the run.
    """
    return OpenedRun(manifest.plan, manifest.score, failures, Results(manifest.plan, store))


def score_run(
    manifest: RunManifest,
    store: Store,
    failures: Mapping[str, str] = {},
    *,
    confidence: float | None = None,
    group_by: Sequence[str] | None = None,
    anew: bool = False,
) -> list[LeaderboardRow]:
    """The leaderboard of a run, from its store alone.

    Args:
        manifest: of the run.
        store: the run's.
        failures: model -> why its engine was given up in the run.
        confidence: of the intervals; None: the run's own.
        group_by: columns of the samples; None: the choice of each dataset.
        anew: whether scores that the store keeps are made again from the rows.

    Raises:
        ConfigError: a dataset has no such column.
    """
    config = manifest.score
    if confidence is not None:  # validated, unlike a copy
        config = ScoreConfig(confidence=confidence)
    results = Results(manifest.plan, store)
    check_columns(results, manifest.plan, group_by or ())
    return [row for _, row in results.score_all(manifest.plan.cells, config, failures, group_by, anew=anew)]
