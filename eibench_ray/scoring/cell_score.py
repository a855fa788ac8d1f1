"""A metric over one cell: the mean over its samples, how sure it is, and what the missing scores could change."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from operator import mul
from typing import TYPE_CHECKING

from eibench_ray.errors import ConfigError, ScoreError
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.clusters import Clusters
from eibench_ray.scoring.interval import Resampling, bootstrap_interval, look_up
from eibench_ray.scoring.judge_repeats import NoiseMeter, RepeatNoise
from eibench_ray.scoring.scorer import Metric, Score, ScoreStatus

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_COVERAGE = 0.95  # of the samples: a figure that rests on fewer is no match for others
MOST_GROUPS = 64  # by one column; more are ids, not groups
MISSING = "missing"  # the status of a sample that no score was handed in for
# Of replies that came, and had a score or were not meant to.
_READABLE = frozenset({*map(str, ScoreStatus), MISSING} - {ScoreStatus.UNPARSED.value})
_NO_VALUE = -1


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """A metric's mean over a group of samples.

    Attributes:
        ci_low, ci_high: bootstrap interval of `value`, clustered by image.
        bound_low, bound_high: the mean over all samples if every missing value were the metric's lowest, or its
            highest, single repeats of a judge included; None where the metric has no such value.
    """

    n: int  # samples
    num_scored: int  # samples with a value
    num_clusters: int  # different pictures among those, and samples without one
    value: float | None  # mean over those, of each the mean over its values; None where there are none
    ci_low: float | None
    ci_high: float | None
    bound_low: float | None
    bound_high: float | None

    @property
    def coverage(self) -> float:
        """Share of the samples that have a value, of whichever repeat."""
        return self.num_scored / self.n

    @property
    def is_open(self) -> bool:
        """Whether a value is missing, so that the bounds lie apart."""
        return self.bound_low != self.bound_high


@dataclass(frozen=True, slots=True)
class MetricScore:
    """One metric of a cell."""

    metric: Metric
    overall: MetricSummary
    groups: Mapping[str, Mapping[str, MetricSummary]]

    @property
    def figures(self) -> dict[str, float | None]:
        """The value, its interval and coverage under the names that flat tables give them."""
        name, overall = self.metric.name, self.overall
        return {
            name: overall.value,
            f"{name}_ci_low": overall.ci_low,
            f"{name}_ci_high": overall.ci_high,
            f"{name}_coverage": overall.coverage,
        }


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
    resampling: Resampling,
    group_by: Sequence[str] = (),
) -> CellScore:
    """The scores of one cell; equal for equal arguments.

    Args:
        rows: all samples of the cell with their scores, one per repeat of the judge, None where there is none; passed
            over once. A sample leaves 4 bytes behind, 10 for each metric and 4 for each column; a picture its digest.
        metrics: the figures, the headline first.
        resampling: how intervals are made.
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
        codes, values = _encode(np.frombuffer(of_sample, np.float64))
        lost = np.frombuffer(missing, np.uint16)

        def over(group: NDArray[np.bool_] | slice) -> MetricSummary:
            return _summarise(
                _Group(codes[group], lost[group], clusters[group], values, columns.repeats), metric, resampling
            )

        return MetricScore(
            metric,
            over(slice(None)),
            {column: {name: over(group) for name, group in named.items()} for column, named in groups.items()},
        )

    known = dict.fromkeys([*ScoreStatus, *sorted(columns.statuses.keys() - {MISSING}), MISSING])
    return CellScore(
        metrics=tuple(map(score, metrics, columns.values, columns.missing)),
        statuses={str(status): columns.statuses[status] for status in known if columns.statuses[status]},
        confidence=resampling.confidence,
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


@dataclass(frozen=True, slots=True)
class _Group:
    """Columns of some samples, in their order; `values` are what the codes stand for, -1 for none."""

    codes: NDArray[np.int32]
    missing: NDArray[np.uint16]
    clusters: NDArray[np.int32]
    values: Sequence[float]
    repeats: int


def _encode(values: NDArray[np.float64]) -> tuple[NDArray[np.int32], list[float]]:
    """Codes of values, -1 for NaN, and what they stand for."""
    import numpy as np

    is_there = ~np.isnan(values)
    found, codes = np.unique(values[is_there], return_inverse=True)
    encoded = np.full(len(values), _NO_VALUE, np.int32)
    encoded[is_there] = codes
    return encoded, found.tolist()


def _summarise(group: _Group, metric: Metric, resampling: Resampling) -> MetricSummary:
    """A metric over a group of samples."""
    codes, clusters, values = group.codes, group.clusters, group.values
    num_samples = len(codes)
    is_scored = codes != _NO_VALUE
    lost = 0.0  # of the sum, what rests on repeats that have no value
    if not is_scored.all():
        codes, clusters = codes[is_scored], clusters[is_scored]
    if group.repeats > 1:
        lost = sum(map(mul, look_up(codes, values), group.missing[is_scored].tolist())) / group.repeats
    codes, sizes = _by_cluster(codes, clusters)
    total = sum(look_up(codes, values))
    missing = int(group.missing.sum()) / group.repeats
    mean = total / len(codes) if len(codes) else None
    low, high = mean, mean
    if mean is not None and len(sizes) > 1 and (codes != codes[0]).any():
        low, high = bootstrap_interval(codes, sizes, values, resampling)

    def bound(value: float | None) -> float | None:
        """The mean with a value in the place of each that is missing."""
        if not missing:
            return mean
        return None if value is None else (total - lost + missing * value) / num_samples

    return MetricSummary(
        n=num_samples,
        num_scored=len(codes),
        num_clusters=len(sizes),
        value=mean,
        ci_low=low,
        ci_high=high,
        bound_low=bound(metric.low),
        bound_high=bound(metric.high),
    )


def _by_cluster(codes: NDArray[np.int32], clusters: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The codes with those of a cluster side by side, and the size of each cluster; clusters in order of appearance."""
    import numpy as np

    if (clusters[1:] > clusters[:-1]).all():  # every sample stands alone
        return codes, np.broadcast_to(np.int64(1), len(codes))
    _, first, cluster = np.unique(clusters, return_index=True, return_inverse=True)
    position = np.empty_like(first)
    position[first.argsort()] = np.arange(len(first))
    return codes[position[cluster].argsort(kind="stable")], np.bincount(position[cluster])
