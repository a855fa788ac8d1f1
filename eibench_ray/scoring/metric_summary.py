"""A metric over a group of samples: the mean, how sure it is, and what the missing scores could change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eibench_ray.scoring.cluster_mean import (
    ClusterMean,
    Interval,
    bounds_interval,
    estimate_mean,
    proportion_interval,
    t_interval,
)
from eibench_ray.scoring.scorer import Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """A metric's mean over a group of samples.

    Attributes:
        ci_low, ci_high: interval of `value`, which rests on the scored samples alone: it says nothing of the others.
        bound_low, bound_high: the mean over all samples if every missing value were the metric's lowest, or its
            highest, single repeats of a judge included; None where the metric has no such value. No interval: asking
            other samples would move both.
        bound_ci_low, bound_ci_high: interval of the mean over all samples, whatever the missing values are: the bounds,
            widened by their sampling error. That of `value` where none is missing; None where a bound is.
        estimate: `value` with its standard error; None where there is none.
        is_share: whether all values lie between 0 and 1.
    """

    n: int  # samples
    num_scored: int  # samples with a value
    num_clusters: int  # different pictures among those, and samples without one
    value: float | None  # mean over those, of each the mean over its values; None where there are none
    ci_low: float | None  # both ends are None below two clusters
    ci_high: float | None
    bound_low: float | None
    bound_high: float | None
    bound_ci_low: float | None = None
    bound_ci_high: float | None = None
    estimate: ClusterMean | None = None
    is_share: bool = True

    @property
    def coverage(self) -> float:
        """Share of the samples that have a value, of whichever repeat."""
        return self.num_scored / self.n

    @property
    def figures(self) -> dict[str, float | None]:
        """Its figures under the names that files and trackers give them, in full precision."""
        return {
            "value": self.value,
            "ci_low": self.ci_low,
            "ci_high": self.ci_high,
            "coverage": self.coverage,
            "n": self.n,
            "scored": self.num_scored,
            "clusters": self.num_clusters,
        }

    @property
    def is_open(self) -> bool:
        """Whether a value is missing, so that the bounds lie apart."""
        return self.bound_low != self.bound_high

    def interval_at(self, confidence: float) -> Interval | None:
        """The interval of `value` at another confidence; None where no error is known."""
        interval_of = proportion_interval if self.is_share else t_interval
        return interval_of(self.estimate, confidence) if self.estimate else None


@dataclass(frozen=True, slots=True)
class SampleValues:
    """A metric's values of some samples.

    Attributes:
        values: (samples,) NaN where a sample has none.
        missing: (samples,) number of its repeats that have none.
        clusters: (samples,) the code of its cluster.
        repeats: scores per sample.
    """

    values: NDArray[np.float64]
    missing: NDArray[np.uint16]
    clusters: NDArray[np.int32]
    repeats: int


def summarise(samples: SampleValues, metric: Metric, confidence: float) -> MetricSummary:
    """A metric's mean over some samples, at least one, with its interval and its bounds."""
    import numpy as np

    is_scored = ~np.isnan(samples.values)
    scored = samples.values[is_scored]
    is_share = (metric.low, metric.high) == (0.0, 1.0) and bool(((scored >= 0) & (scored <= 1)).all())
    interval_of = proportion_interval if is_share else t_interval
    mean = estimate_mean(scored, samples.clusters[is_scored]) if len(scored) else None
    found = interval_of(mean, confidence) if mean else None
    lower = upper = mean
    widened = found
    if samples.missing.any():
        lower, upper = (_fill(samples, worst) for worst in (metric.low, metric.high))
        widened = bounds_interval(lower, upper, confidence, interval_of) if lower and upper else None
    return MetricSummary(
        n=len(samples.values),
        num_scored=len(scored),
        num_clusters=mean.num_clusters if mean else 0,
        value=mean.mean if mean else None,
        ci_low=found.low if found else None,
        ci_high=found.high if found else None,
        bound_low=lower.mean if lower else None,
        bound_high=upper.mean if upper else None,
        bound_ci_low=widened.low if widened else None,
        bound_ci_high=widened.high if widened else None,
        estimate=mean,
        is_share=is_share,
    )


def _fill(samples: SampleValues, value: float | None) -> ClusterMean | None:
    """The mean over all samples with a value in the place of each that is missing; None for no value."""
    import numpy as np

    if value is None:
        return None
    lost = samples.missing / samples.repeats
    filled = np.nan_to_num(samples.values) * (1 - lost) + value * lost
    return estimate_mean(filled, samples.clusters)
