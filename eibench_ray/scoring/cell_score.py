"""The scores of one cell: each metric over all of its samples and by groups, and how the scores ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eibench_ray.errors import ScoreError
from eibench_ray.scoring.cell_columns import MISSING, CellColumns, FigureColumn
from eibench_ray.scoring.metric_summary import MetricSummary, SampleValues, summarise
from eibench_ray.scoring.repeat_noise import RepeatNoise
from eibench_ray.scoring.sample_groups import SampleGroups
from eibench_ray.scoring.scorer import Metric, ScoreStatus

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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


def score_cell(columns: CellColumns, samples: SampleGroups, confidence: float) -> CellScore:
    """The scores of one cell; equal for equal arguments.

    Args:
        columns: of all of the cell's samples.
        samples: the same samples, in the same order.
        confidence: of the intervals.

    Raises:
        ScoreError: there is no sample.
    """
    if not len(samples.clusters):
        raise ScoreError("a cell without samples has no score: check the dataset and dataset.limit")

    def score(one: FigureColumn) -> MetricScore:
        def over(group: NDArray[np.bool_] | slice) -> MetricSummary:
            part = SampleValues(one.values[group], one.missing[group], samples.clusters[group], one.repeats)
            return summarise(part, one.metric, confidence)

        return MetricScore(
            one.metric,
            over(slice(None)),
            {column: {name: over(group) for name, group in named.items()} for column, named in samples.groups.items()},
        )

    known = dict.fromkeys([*ScoreStatus, *sorted(columns.statuses.keys() - {MISSING}), MISSING])
    return CellScore(
        metrics=tuple(map(score, columns.figures)),
        statuses={str(status): columns.statuses[status] for status in known if columns.statuses.get(status)},
        confidence=confidence,
        noise=columns.noise,
        model_noise=columns.model_noise,
    )
