"""The scores of one cell: each metric over all of its samples and by groups, and how the scores ended."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

from eibench_ray.errors import ConfigError, ScoreError
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.answer_repeats import by_answer, join_repeats, repeat_figures
from eibench_ray.scoring.clusters import Clusters
from eibench_ray.scoring.metric_summary import MetricSummary, SampleValues, summarise
from eibench_ray.scoring.repeat_noise import NoiseMeter, RepeatNoise, add_noise
from eibench_ray.scoring.scorer import Metric, Score, ScoreStatus

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_COVERAGE = 0.95  # of the samples: a figure that rests on fewer is no match for others
MOST_GROUPS = 64  # by one column; more are ids, not groups
MISSING = "missing"  # the status of a sample that no score was handed in for
# Of replies that came, and had a score or were not meant to.
_READABLE = frozenset({*map(str, ScoreStatus), MISSING} - {ScoreStatus.UNPARSED.value})


@dataclass(frozen=True, slots=True)
class MetricScore:
    """One metric of a cell."""

    metric: Metric
    overall: MetricSummary
    groups: Mapping[str, Mapping[str, MetricSummary]]


@dataclass(frozen=True, slots=True)
class CellScore:
    """The scores of one cell.

    Attributes:
        metrics: the headline first; those of repeated answers (pass@k, majority@k) last.
        statuses: scores per status, only those that occur; sums to `overall.n` times the answers and the judge's
            repeats.
    """

    metrics: tuple[MetricScore, ...]
    statuses: Mapping[str, int]
    confidence: float  # of every interval here
    noise: RepeatNoise | None = None  # of the judge's repeats, by the headline; None where it was asked once
    model_noise: RepeatNoise | None = None  # of the model's repeats, likewise

    @property
    def metric(self) -> Metric:
        """The headline."""
        return self.metrics[0].metric

    @property
    def overall(self) -> MetricSummary:
        """The headline over all samples."""
        return self.metrics[0].overall

    @property
    def groups(self) -> Mapping[str, Mapping[str, MetricSummary]]:
        """The headline by groups of samples."""
        return self.metrics[0].groups

    @property
    def num_unparsed(self) -> int:
        """Answers, or replies of the judge, that came but in which no score could be read."""
        return sum(count for status, count in self.statuses.items() if status not in _READABLE)


def mean_value(scores: Sequence[Score | None], metric: str) -> float | None:
    """The value of one sample: the mean over its scores that have one; None where none does."""
    values = [score.values[metric] for score in scores if score is not None and metric in score.values]
    return sum(values) / len(values) if values else None


def score_cell(
    rows: Iterable[tuple[Sample, Sequence[Score | None]]],
    metrics: Sequence[Metric],
    confidence: float,
    group_by: Sequence[str] = (),
    num_answers: int = 1,
) -> CellScore:
    """The scores of one cell; equal for equal arguments.

    Args:
        rows: all samples of the cell with their scores, answer by answer one per repeat of the judge, None where there
            is none; passed over once. A sample leaves 4 bytes behind, 10 for each metric and 4 for each column; a
            picture its digest.
        metrics: the figures, the headline first.
        confidence: of the intervals.
        group_by: columns of the samples; a sample without a value there is in none of its groups.
        num_answers: answers to each sample.

    Raises:
        ScoreError: there is no sample.
        ConfigError: a column has too many values, or lists.
    """
    import numpy as np

    columns = _Columns(metrics, group_by, num_answers)
    for sample, scores in rows:
        columns.add(sample, scores)
    if not columns.clusters:
        raise ScoreError("a cell without samples has no score: check the dataset and dataset.limit")
    clusters = np.frombuffer(columns.clusters, np.int32)
    groups = {
        column: {name: np.frombuffer(of_sample, np.int32) == codes[name] for name in order_groups(codes)}
        for column, codes, of_sample in columns.groups
    }

    def score(one: _Column) -> MetricScore:
        values, lost = np.frombuffer(one.values, np.float64), np.frombuffer(one.missing, np.uint16)

        def over(group: NDArray[np.bool_] | slice) -> MetricSummary:
            samples = SampleValues(values[group], lost[group], clusters[group], one.repeats)
            return summarise(samples, one.metric, confidence)

        return MetricScore(
            one.metric,
            over(slice(None)),
            {column: {name: over(group) for name, group in named.items()} for column, named in groups.items()},
        )

    known = dict.fromkeys([*ScoreStatus, *sorted(columns.statuses.keys() - {MISSING}), MISSING])
    return CellScore(
        metrics=tuple(map(score, columns.metrics)),
        statuses={str(status): columns.statuses[status] for status in known if columns.statuses[status]},
        confidence=confidence,
        noise=columns.noise.read(),
        model_noise=columns.model_noise.read(),
    )


class _Column:
    """One metric of each sample: its value (NaN for none), and how many of its repeats have none."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.values = array("d")
        self.missing = array("H")
        self.repeats = 1  # values of which each is the mean

    def add(self, value: float | None, missing: int) -> None:
        self.values.append(nan if value is None else value)
        self.missing.append(missing)


class _Columns:
    """Columns that scoring keeps of a cell's samples.

    Attributes:
        groups: column, code of each of its values, and of each sample the code, -1 for none.
    """

    def __init__(self, metrics: Sequence[Metric], group_by: Sequence[str], num_answers: int) -> None:
        self._num_answers = num_answers
        self._of_score = [_Column(metric) for metric in metrics]
        figures = repeat_figures(metrics[0], num_answers)
        self._of_repeats = [(_Column(figure.metric), figure) for figure in figures]
        self.metrics = [*self._of_score, *(column for column, _ in self._of_repeats)]
        self.clusters = array("i")  # of each sample
        self.groups: list[tuple[str, dict[str, int], array[int]]] = [(column, {}, array("i")) for column in group_by]
        self.statuses: Counter[str] = Counter()  # scores per status
        self.noise, self.model_noise = NoiseMeter(metrics[0].name), NoiseMeter(metrics[0].name)
        self._numbering = Clusters()

    def add(self, sample: Sample, scores: Sequence[Score | None]) -> None:
        for score in scores:
            self.statuses[MISSING if score is None else score.status] += 1
        for column in self._of_score:
            metric, column.repeats = column.metric.name, len(scores)
            missing = sum(score is None or metric not in score.values for score in scores)
            column.add(mean_value(scores, metric), missing)
        add_noise(scores, self._num_answers, judge=self.noise, model=self.model_noise)
        if self._of_repeats:
            answers = [join_repeats(each) for each in by_answer(scores, self._num_answers)]
            for column, figure in self._of_repeats:
                column.add(value := figure.read(answers), value is None)
        self.clusters.append(self._numbering.code(sample))
        for name, codes, of_sample in self.groups:
            group = read_column(sample, name)
            of_sample.append(-1 if group is None else codes.setdefault(group, len(codes)))
            if len(codes) > MOST_GROUPS:
                raise ConfigError(
                    f"the samples have more than {MOST_GROUPS} values in column {name!r}: group by one with fewer"
                )


def read_column(sample: Sample, column: str) -> str | None:
    """The value of a sample in a column by which it can be grouped, as JSON has it; None where it has none.

    Raises:
        ConfigError: it holds a list.
    """
    value = sample.metadata.get(column)
    if isinstance(value, tuple):
        raise ConfigError(f"column {column!r} holds lists, by which samples cannot be grouped: choose another")
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None or value == "" else str(value)


def order_groups(names: Iterable[str]) -> list[str]:
    """The values of a column in order: numbers as numbers, before texts."""

    def key(name: str) -> tuple[bool, float, str]:
        try:
            return False, float(name), name
        except ValueError:
            return True, 0.0, name

    return sorted(names, key=key)
