"""Recall of one cell: the mean over its samples, how sure it is, and what the missing verdicts could change."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eibench_ray.errors import ScoreError
from eibench_ray.records import Sample, Verdict, VerdictStatus

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MISSING = "missing"  # the status of a sample that no verdict was handed in for
_STATUSES = (*(status.value for status in VerdictStatus), MISSING)
_UNREADABLE = (VerdictStatus.UNPARSED, VerdictStatus.OUT_OF_RANGE, VerdictStatus.WRONG_TOTAL)
_RESAMPLED_AT_ONCE = 4_000_000  # clusters times resamples: 32 MB of indices, however large the dataset is


@dataclass(frozen=True, slots=True)
class Recall:
    """Mean recall over a group of samples.

    Attributes:
        n: samples.
        num_scored: samples with a verdict that counts.
        recall: mean over those; None where there are none.
        ci_low, ci_high: bootstrap interval of `recall`, clustered by image.
        bound_low, bound_high: the mean over all samples if every missing verdict were 0, or 1.
    """

    n: int
    num_scored: int
    recall: float | None
    ci_low: float | None
    ci_high: float | None
    bound_low: float
    bound_high: float

    @property
    def coverage(self) -> float:
        """Share of the samples that have a verdict that counts."""
        return self.num_scored / self.n


@dataclass(frozen=True, slots=True)
class CellScore:
    """The scores of one cell.

    Attributes:
        by_emotion: in alphabetical order.
        statuses: samples per verdict status, only those that occur; sums to `overall.n`.
        confidence: of every interval here.
    """

    overall: Recall
    by_emotion: Mapping[str, Recall]
    statuses: Mapping[str, int]
    confidence: float

    @property
    def num_unreadable(self) -> int:
        """Replies of the judge that came but could not be scored."""
        return sum(self.statuses.get(status, 0) for status in _UNREADABLE)


def score_cell(
    samples: Sequence[Sample], verdicts: Mapping[str, Verdict], *, confidence: float, resamples: int, seed: int
) -> CellScore:
    """The scores of one cell; equal for equal arguments.

    Args:
        samples: all samples of the cell.
        verdicts: by sample id; a sample without one counts as missing.
        confidence: of the intervals, e.g. 0.95.
        resamples: bootstrap resamples.
        seed: of the resampling.

    Raises:
        ScoreError: there is no sample.
    """
    if not samples:
        raise ScoreError("a cell without samples has no recall: check the dataset and dataset.limit")
    by_emotion: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_emotion[sample.emotion].append(sample)

    def score(group: Sequence[Sample]) -> Recall:
        return _score_group(group, verdicts, confidence, resamples, seed)

    statuses = Counter(
        verdicts[sample.sample_id].status.value if sample.sample_id in verdicts else MISSING for sample in samples
    )
    return CellScore(
        overall=score(samples),
        by_emotion={emotion: score(by_emotion[emotion]) for emotion in sorted(by_emotion)},
        statuses={status: statuses[status] for status in _STATUSES if statuses[status]},
        confidence=confidence,
    )


def _score_group(
    samples: Sequence[Sample], verdicts: Mapping[str, Verdict], confidence: float, resamples: int, seed: int
) -> Recall:
    clusters: dict[tuple[str, str], list[float]] = defaultdict(list)
    for sample in samples:
        verdict = verdicts.get(sample.sample_id)
        if verdict is not None and verdict.recall is not None:
            clusters[_cluster(sample)].append(verdict.recall)
    values = [value for cluster in clusters.values() for value in cluster]
    missing = len(samples) - len(values)
    mean = sum(values) / len(values) if values else None
    low, high = mean, mean
    if mean is not None and len(clusters) > 1 and len(set(values)) > 1:
        low, high = _interval(list(clusters.values()), confidence, resamples, seed)
    return Recall(
        n=len(samples),
        num_scored=len(values),
        recall=mean,
        ci_low=low,
        ci_high=high,
        bound_low=sum(values) / len(samples),
        bound_high=(sum(values) + missing) / len(samples),
    )


def _cluster(sample: Sample) -> tuple[str, str]:
    """What a sample is resampled with: its picture by content, else by path; a sample without one stands alone."""
    if sample.image_digest is not None:
        return "digest", sample.image_digest
    if sample.image_path is not None:
        return "path", sample.image_path
    return "sample", sample.sample_id


def _interval(clusters: Sequence[Sequence[float]], confidence: float, resamples: int, seed: int) -> tuple[float, float]:
    """Percentile interval of the mean over all values, whole clusters resampled.

    Percentile, not BCa: both cover alike here (the simulation in the tests), and only the percentile interval exists
    for every input and stays within the values' range.
    """
    import numpy as np
    from scipy.stats import bootstrap

    def ratio(sums: NDArray[np.float64], counts: NDArray[np.float64], axis: int = -1) -> Any:
        return sums.sum(axis=axis) / counts.sum(axis=axis)

    sums = np.array([sum(values) for values in clusters])
    counts = np.array([float(len(values)) for values in clusters])
    interval = bootstrap(
        (sums, counts),
        ratio,
        paired=True,
        vectorized=True,
        method="percentile",
        confidence_level=confidence,
        n_resamples=resamples,
        batch=max(1, min(resamples, _RESAMPLED_AT_ONCE // len(clusters))),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)
