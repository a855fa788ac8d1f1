"""Judges held against people's labels of the same answers: how often both say the same, and who gives more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import atanh, tanh

import numpy as np
from numpy.typing import NDArray

from eibench_ray.scoring.cluster_mean import estimate_mean, proportion_interval, t_interval
from eibench_ray.scoring.judge_agreement import interval_alpha, judges_of
from eibench_ray.scoring.paired_tests import PairedDifference, compare_paired
from eibench_ray.scoring.scored_cell import ScoredCell
from eibench_ray.scoring.scorer import Metric


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval, clustered by image; None where none can be told."""

    value: float
    ci_low: float | None = None
    ci_high: float | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """A judge and people's labels of a dataset's answers; the samples of several cells are pooled.

    Attributes:
        model: whose answers they are; None: all models'.
        accuracy: share of the answers to which both give the same value; None where some value is neither 0 nor 1.
        alpha: Krippendorff's, at the interval level; None where it is undefined.
        bias: the judge's score minus the label.
    """

    dataset: str
    judge: str
    metric: Metric
    model: str | None
    num_labels: (
        int  # answers of the judge's cells that have a label; without a score of the judge's they count no further
    )
    accuracy: Estimate | None
    alpha: Estimate | None
    bias: PairedDifference


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Counts of a file's labels, so that none is dropped in silence."""

    path: str
    num_labels: int
    num_empty: int  # lines without a label
    num_unmatched: int  # labels of no answer that was compared
    unmatched: str | None  # the first of those, in words


def calibrate(cells: Sequence[ScoredCell], confidence: float) -> Iterator[Calibration]:
    """Yields each judge against the labels, over all models and, where they are several, over each."""
    for judge in judges_of(cells):
        labelled = [cell for cell in cells if cell.judge == judge and _num_labels(cell)]
        for metric in dict.fromkeys(cell.metric for cell in labelled):
            graded = [cell for cell in labelled if cell.metric == metric]
            yield _calibrate(graded, None, confidence)
            models = list(dict.fromkeys(cell.model for cell in graded))
            for model in models if len(models) > 1 else ():
                yield _calibrate([cell for cell in graded if cell.model == model], model, confidence)


def _num_labels(cell: ScoredCell) -> int:
    return 0 if cell.labels is None else int(np.count_nonzero(~np.isnan(cell.labels)))


def _calibrate(cells: Sequence[ScoredCell], model: str | None, confidence: float) -> Calibration:
    scores = np.concatenate([cell.values for cell in cells])
    labels = np.concatenate([cell.labels for cell in cells if cell.labels is not None])
    clusters = np.concatenate([cell.clusters for cell in cells])
    has_both = ~(np.isnan(scores) | np.isnan(labels))
    both = scores[has_both], labels[has_both], clusters[has_both]
    return Calibration(
        dataset=cells[0].dataset,
        judge=cells[0].judge,
        metric=cells[0].metric,
        model=model,
        num_labels=sum(map(_num_labels, cells)),
        accuracy=_estimate_accuracy(*both, confidence),
        alpha=estimate_alpha(*both, confidence),
        bias=compare_paired(scores, labels, clusters, confidence),
    )


def _estimate_accuracy(
    scores: NDArray[np.float64], labels: NDArray[np.float64], clusters: NDArray[np.int32], confidence: float
) -> Estimate | None:
    if not len(scores) or not (np.isin(scores, (0, 1)).all() and np.isin(labels, (0, 1)).all()):
        return None
    mean = estimate_mean((scores == labels).astype(np.float64), clusters)
    interval = proportion_interval(mean, confidence)
    return Estimate(mean.mean, interval.low, interval.high) if interval else Estimate(mean.mean)


def estimate_alpha(
    first: NDArray[np.float64], second: NDArray[np.float64], clusters: NDArray[np.int32], confidence: float
) -> Estimate | None:
    """Alpha of two observers at the interval level, with its interval; None where it is undefined.

    Alpha is 1 - D / E, D being the mean of half the squared differences and E the variance of all values. Linearised,
    it is a mean over units, whose standard error the spread between clusters gives. The interval is Student's t on
    Fisher's scale, atanh(alpha), so that it stays within -1 and 1; there is none where alpha is 1.

    Args:
        first: (units,), one observer's values.
        second: (units,), the other's.
        clusters: (units,), the code of each unit's cluster.
        confidence: of the interval.

    Source: Cochran, Sampling Techniques (1977), on ratios of means; Krippendorff's formula as in `interval_alpha`.
    """
    values = np.vstack([first, second])
    alpha = interval_alpha(values)
    if alpha is None:
        return None
    differing = (first - second) ** 2 / 2
    spread = ((values - values.mean()) ** 2).mean(axis=0)
    disagreement, expected = differing.mean(), spread.mean()
    terms = -(differing - disagreement) / expected + disagreement / expected**2 * (spread - expected)
    mean = estimate_mean(terms, clusters)
    if mean.standard_error is None or abs(alpha) > 1 - 1e-12:
        return Estimate(alpha)
    on_fishers_scale = replace(mean, mean=atanh(alpha), standard_error=mean.standard_error / (1 - alpha**2))
    interval = t_interval(on_fishers_scale, confidence)
    return Estimate(alpha, tanh(interval.low), tanh(interval.high)) if interval else Estimate(alpha)
