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
from eibench_ray.scoring.clusters import Clusters
from eibench_ray.scoring.judge_repeats import NoiseMeter, RepeatNoise
from eibench_ray.scoring.metric_summary import MetricSummary, SampleValues, summarise
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
        statuses: scores per status, only those that occur; sums to `overall.n` times the judge's repeats.
    """

    metrics: tuple[MetricScore, ...]  # the headline first
    statuses: Mapping[str, int]
    confidence: float  # of every interval here
    noise: RepeatNoise | None = None  # of the judge's repeats, by the headline; None where it was asked once

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
    """The value of one answer: the mean over its scores that have one; None where none does."""
    values = [score.values[metric] for score in scores if score is not None and metric in score.values]
    return sum(values) / len(values) if values else None


def score_cell(
    rows: Iterable[tuple[Sample, Sequence[Score | None]]],
    metrics: Sequence[Metric],
    confidence: float,
    group_by: Sequence[str] = (),
) -> CellScore:
    """The scores of one cell; equal for equal arguments.

    Args:
        rows: all samples of the cell with their scores, one per repeat of the judge, None where there is none; passed
            over once. A sample leaves 4 bytes behind, 10 for each metric and 4 for each column; a picture its digest.
        metrics: the figures, the headline first.
        confidence: of the intervals.
        group_by: columns of the samples; a sample without a value there is in none of its groups.

    Raises:
        ScoreError: there is no sample.
        ConfigError: a column has too many values, or lists.
    """
    import numpy as np

    columns = _Columns(metrics, group_by)
    for sample, scores in rows:
        columns.add(sample, scores)
    if not columns.clusters:
        raise ScoreError("a cell without samples has no score: check the dataset and dataset.limit")
    clusters = np.frombuffer(columns.clusters, np.int32)
    groups = {
        column: {name: np.frombuffer(of_sample, np.int32) == codes[name] for name in order_groups(codes)}
        for column, codes, of_sample in columns.groups
    }

    def score(metric: Metric, of_sample: array[float], missing: array[int]) -> MetricScore:
        values, lost = np.frombuffer(of_sample, np.float64), np.frombuffer(missing, np.uint16)

        def over(group: NDArray[np.bool_] | slice) -> MetricSummary:
            samples = SampleValues(values[group], lost[group], clusters[group], columns.repeats)
            return summarise(samples, metric, confidence)

        return MetricScore(
            metric,
            over(slice(None)),
            {column: {name: over(group) for name, group in named.items()} for column, named in groups.items()},
        )

    known = dict.fromkeys([*ScoreStatus, *sorted(columns.statuses.keys() - {MISSING}), MISSING])
    return CellScore(
        metrics=tuple(map(score, metrics, columns.values, columns.missing)),
        statuses={str(status): columns.statuses[status] for status in known if columns.statuses[status]},
        confidence=confidence,
        noise=columns.noise.read(),
    )


class _Columns:
    """Columns that scoring keeps of a cell's samples.

    Attributes:
        values, missing: per metric, of each sample its value (NaN for none), and how many repeats have none.
        groups: column, code of each of its values, and of each sample the code, -1 for none.
    """

    def __init__(self, metrics: Sequence[Metric], group_by: Sequence[str]) -> None:
        self._names = [metric.name for metric in metrics]
        self.values = [array("d") for _ in metrics]
        self.missing = [array("H") for _ in metrics]
        self.clusters = array("i")  # of each sample
        self.groups: list[tuple[str, dict[str, int], array[int]]] = [(column, {}, array("i")) for column in group_by]
        self.statuses: Counter[str] = Counter()  # scores per status
        self.noise = NoiseMeter(self._names[0])
        self.repeats = 1  # scores per sample
        self._numbering = Clusters()

    def add(self, sample: Sample, scores: Sequence[Score | None]) -> None:
        self.repeats = len(scores)
        for score in scores:
            self.statuses[MISSING if score is None else score.status] += 1
        if self.repeats > 1:
            self.noise.add(scores)
        for name, values, missing in zip(self._names, self.values, self.missing, strict=True):
            value = mean_value(scores, name)
            values.append(nan if value is None else value)
            missing.append(sum(score is None or name not in score.values for score in scores))
        self.clusters.append(self._numbering.code(sample))
        for column, codes, of_sample in self.groups:
            group = read_column(sample, column)
            of_sample.append(-1 if group is None else codes.setdefault(group, len(codes)))
            if len(codes) > MOST_GROUPS:
                raise ConfigError(
                    f"the samples have more than {MOST_GROUPS} values in column {column!r}: group by one with fewer"
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
