"""Recall of one cell: the mean over its samples, how sure it is, and what the missing verdicts could change."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eibench_ray.errors import ScoreError
from eibench_ray.records import Sample, Verdict, VerdictStatus
from eibench_ray.score.clusters import ImageClusters
from eibench_ray.score.interval import bootstrap_interval, look_up

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MISSING = "missing"  # the status of a sample that no verdict was handed in for
_STATUSES = (*(status.value for status in VerdictStatus), MISSING)
_UNREADABLE = (VerdictStatus.UNPARSED, VerdictStatus.OUT_OF_RANGE, VerdictStatus.WRONG_TOTAL)
_NO_RECALL = -1


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
    rows: Iterable[tuple[Sample, Verdict | None]], *, confidence: float, resamples: int, seed: int
) -> CellScore:
    """The scores of one cell; equal for equal arguments.

    Args:
        rows: all samples of the cell with their verdicts, None where there is none; passed over once, and a sample
            leaves 12 bytes behind, a picture its digest.
        confidence: of the intervals, e.g. 0.95.
        resamples: bootstrap resamples.
        seed: of the resampling.

    Raises:
        ScoreError: there is no sample.
    """
    import numpy as np

    columns = _Columns()
    for sample, verdict in rows:
        columns.add(sample, verdict)
    if not columns.emotions:
        raise ScoreError("a cell without samples has no recall: check the dataset and dataset.limit")
    codes, clusters, emotions = (np.frombuffer(column, column.typecode) for column in columns.arrays())
    values = list(columns.values)

    def score(codes: NDArray[np.int32], clusters: NDArray[np.int32]) -> Recall:
        return _score_group(codes, clusters, values, confidence, resamples, seed)

    by_emotion = {
        emotion: score(codes[emotions == code], clusters[emotions == code])
        for emotion, code in sorted(columns.emotions.items())
    }
    return CellScore(
        overall=score(codes, clusters),
        by_emotion=by_emotion,
        statuses={status: columns.statuses[status] for status in _STATUSES if columns.statuses[status]},
        confidence=confidence,
    )


class _Columns:
    """What scoring keeps of a cell's samples: per sample the codes of its recall, its cluster and its emotion.

    Attributes:
        values, emotions: recall and emotion -> code, in the order of the codes.
        statuses: samples per verdict status.
    """

    def __init__(self) -> None:
        self.values: dict[float, int] = {}
        self.emotions: dict[str, int] = {}
        self.statuses: Counter[str] = Counter()
        self._clusters = ImageClusters()
        self._code_of = array("i")
        self._cluster_of = array("i")
        self._emotion_of = array("i")

    def add(self, sample: Sample, verdict: Verdict | None) -> None:
        self.statuses[MISSING if verdict is None else verdict.status.value] += 1
        recall = None if verdict is None else verdict.recall
        self._code_of.append(_NO_RECALL if recall is None else self.values.setdefault(recall, len(self.values)))
        self._cluster_of.append(self._clusters.code(sample))
        self._emotion_of.append(self.emotions.setdefault(sample.emotion, len(self.emotions)))

    def arrays(self) -> tuple[array[int], array[int], array[int]]:
        """Codes of recall (-1 for none), cluster, emotion."""
        return self._code_of, self._cluster_of, self._emotion_of


def _score_group(
    codes: NDArray[np.int32],
    clusters: NDArray[np.int32],
    values: Sequence[float],
    confidence: float,
    resamples: int,
    seed: int,
) -> Recall:
    """Recall over a group of samples, in their order."""
    num_samples = len(codes)
    is_scored = codes != _NO_RECALL
    if not is_scored.all():
        codes, clusters = codes[is_scored], clusters[is_scored]
    codes, sizes = _by_cluster(codes, clusters)
    total = sum(look_up(codes, values))
    missing = num_samples - len(codes)
    mean = total / len(codes) if len(codes) else None
    low, high = mean, mean
    if mean is not None and len(sizes) > 1 and (codes != codes[0]).any():
        low, high = bootstrap_interval(codes, sizes, values, confidence, resamples, seed)
    return Recall(
        n=num_samples,
        num_scored=len(codes),
        recall=mean,
        ci_low=low,
        ci_high=high,
        bound_low=total / num_samples,
        bound_high=(total + missing) / num_samples,
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
