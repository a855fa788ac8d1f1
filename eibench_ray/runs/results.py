"""Cells joined and scored: samples, answers and judges' replies of the store become figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from eibench_ray.benchmarks.benchmark import OpenedRun
from eibench_ray.config.schema import ScoreConfig
from eibench_ray.datasets.dataset import Dataset, open_dataset
from eibench_ray.errors import ConfigError
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.plan.slices import cut
from eibench_ray.report.leaderboard_row import LeaderboardRow
from eibench_ray.rows.completion import Completion
from eibench_ray.rows.digests import digest_input
from eibench_ray.rows.sample import Sample
from eibench_ray.runs.failed_cells import THE_JUDGE, RowErrors, explain_engines, explain_failure
from eibench_ray.runs.run_record import RunManifest
from eibench_ray.runs.score_reader import LostReader, make_reader
from eibench_ray.scoring.answer_repeats import by_answer
from eibench_ray.scoring.cell_score import MIN_COVERAGE, MISSING, score_cell
from eibench_ray.scoring.joined_row import JoinedRow
from eibench_ray.scoring.judged.jury import AgreementMeter
from eibench_ray.scoring.scorer import Metric, Score, ScoreStatus
from eibench_ray.store.slice_store import Store

RANGE_ROWS = 1024


class GapMeter:
    """Whether a cell rests on all of its samples, as the leaderboard has it, told row by row."""

    def __init__(self) -> None:
        self._num_rows = self._num_scored = 0
        self._has_gaps = False

    def add(self, row: JoinedRow) -> None:
        """Counts a row."""
        self._num_rows += 1
        self._num_scored += row.value is not None
        self._has_gaps = self._has_gaps or None in row.scores

    @property
    def is_partial(self) -> bool:
        """Whether a sample was not asked, or too few have a score."""
        return self._has_gaps or 0 < self._num_scored < MIN_COVERAGE * self._num_rows


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
        for part in cut(dataset, self._plan.datasets[dataset].rows, RANGE_ROWS):
            yield from part.pick(self.dataset(dataset).samples(part.start, part.stop))

    def join(self, cell: Cell) -> Iterator[JoinedRow]:
        """The cell's rows in the dataset's order."""
        dataset, spec = self.dataset(cell.dataset), self._plan.datasets[cell.dataset]
        # As long as the longest slice: a shorter range would read that slice again and again.
        size = max(RANGE_ROWS, *(self._store.slice_rows(step) or 0 for step in cell.steps))
        for part in cut(cell.dataset, spec.rows, size):
            samples = part.pick(dataset.samples(part.start, part.stop))
            yield from self._join(cell, samples, self._current_rows(cell, part.start, part.stop))

    def row(self, cell: Cell, number: int) -> JoinedRow:
        """One row of the cell, by its number in the dataset."""
        samples = self.dataset(cell.dataset).samples(number, number + 1)
        return next(self._join(cell, samples, self._current_rows(cell, number, number + 1)))

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
        counts, reader = _Counts(self._plan, cell), make_reader(cell)
        agreement = AgreementMeter()

        def scored() -> Iterator[tuple[Sample, tuple[Score | None, ...]]]:
            for row in self.join(cell):
                counts.add(row)
                if row.is_jury:
                    agreement.add(row.scores)
                yield row.sample, row.scores

        if group_by is None:
            group_by = self._plan.datasets[cell.dataset].group_by
        score = score_cell(scored(), reader.metrics, config.confidence, group_by, len(cell.answers))
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
            agreement=agreement.read(),
            mean_words=counts.mean_words,
            endings=dict(counts.answers.endings),
            reply_endings=dict(sum((repeat.endings for repeat in counts.replies), Counter())),
            has_pictures=counts.has_pictures,
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

    def _join(
        self, cell: Cell, samples: Sequence[Sample], current: Mapping[str, Mapping[str, Completion]]
    ) -> Iterator[JoinedRow]:
        reader = make_reader(cell)
        headline = reader.metrics[0].name
        baselines = cell.baseline.answers if cell.baseline else ()
        for sample in samples:
            answers = tuple(current[step].get(sample.sample_id) for step in cell.answers)
            replies = tuple(current[step].get(sample.sample_id) for step in cell.verdicts)
            made = {step: row for step in cell.steps if (row := current[step].get(sample.sample_id)) is not None}
            of_answers = zip(answers, by_answer(replies, len(answers)), strict=True)
            scores = tuple(score for answer, said in of_answers for score in reader.read(sample, answer, said))
            compared = tuple(current[step].get(sample.sample_id) for step in baselines)
            yield JoinedRow(
                sample, answers, replies, scores, headline, made, is_jury=bool(cell.jurors), compared=compared
            )


class _Counts:
    """Counts of a cell's rows beside their scores, made while they are read."""

    def __init__(self, plan: Plan, cell: Cell) -> None:
        compared = cell.baseline.answers if cell.baseline else ()
        judging = plan.steps_behind(compared) - plan.steps_behind(cell.answers) | {*cell.verdicts}
        self._calls = [step for step in cell.steps if step not in judging | {*cell.answers}]
        self._sources = [plan.sources_of(answer) for answer in cell.answers]
        self.answers = RowErrors()
        judges = [f"judge {name}" if cell.jurors else THE_JUDGE for name, _ in cell.seats]
        self.replies = [RowErrors(judge) for _ in cell.answers for judge in judges]
        self.num_cut_while_thinking = self._num_texts = self._num_words = 0
        self.num_refused = self.num_empty = self.num_fallbacks = self.num_calls_truncated = 0
        self._num_unscored = 0  # answers, or replies, on which the scorer failed
        self._first_unscored: Score | None = None
        self.cost_usd: float | None = None
        self.has_pictures = False
        self._logprob, self._num_logprobs = 0.0, 0

    @property
    def mean_words(self) -> float | None:
        """Words per answer that is a text; None where none is."""
        return self._num_words / self._num_texts if self._num_texts else None

    @property
    def mean_logprob(self) -> float | None:
        """Mean log probability over the answers whose own mean is known; None where none is."""
        return self._logprob / self._num_logprobs if self._num_logprobs else None

    @property
    def num_errors(self) -> int:
        """Answers and replies of the judge that are errors."""
        return sum(column.num_errors for column in (self.answers, *self.replies))

    @property
    def scorer_error(self) -> str | None:
        """The answers, or replies, on which the scorer failed, and why; None where there is none."""
        if (first := self._first_unscored) is None:
            return None
        one, several = ("reply", "replies") if self.replies else ("answer", "answers")
        count = f"1 {one}," if self._num_unscored == 1 else f"{self._num_unscored:,} {several}, the first"
        return f"its scorer failed on {count} of sample {first.sample_id!r} (scorer_error): {first.explanation}"

    def add(self, row: JoinedRow) -> None:
        self.has_pictures = self.has_pictures or bool(row.sample.media)
        for score in row.scores:
            if score is not None and score.status == ScoreStatus.SCORER_ERROR:
                self._num_unscored += 1
                self._first_unscored = self._first_unscored or score
        for answer, sources in zip(row.answers, self._sources, strict=True):
            self.answers.add(answer, {step: made for step, made in row.made.items() if step in sources})
            if answer is not None:
                self.num_refused += answer.is_refused
                self.num_empty += answer.is_empty
                self.num_cut_while_thinking += answer.is_cut_while_thinking
                self._num_texts += answer.text is not None
                self._num_words += len((answer.text or "").split())
                if answer.mean_logprob is not None:
                    self._logprob += answer.mean_logprob
                    self._num_logprobs += 1
        for column, reply in zip(self.replies, row.replies, strict=True):
            column.add(reply)
            self.num_fallbacks += reply is not None and reply.is_fallback
        self.num_calls_truncated += sum(row.made[step].is_truncated for step in self._calls if step in row.made)
        if (cost_usd := row.cost_usd) is not None:
            self.cost_usd = (self.cost_usd or 0.0) + cost_usd


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
) -> list[LeaderboardRow]:
    """The leaderboard of a run, from its store alone.

    Args:
        manifest: of the run.
        store: the run's.
        failures: model -> why its engine was given up in the run.
        confidence: of the intervals; None: the run's own.
        group_by: columns of the samples; None: the choice of each dataset.

    Raises:
        ConfigError: a dataset has no such column.
    """
    config = manifest.score
    if confidence is not None:  # validated, unlike a copy
        config = ScoreConfig(confidence=confidence)
    results = Results(manifest.plan, store)
    check_columns(results, manifest.plan, group_by or ())
    return [results.score(cell, config, failures, group_by) for cell in manifest.plan.cells]
