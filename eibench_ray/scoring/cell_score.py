"""Recall of one cell: the mean over its samples, how sure it is, and what the missing verdicts could change."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING

from eibench_ray.errors import ScoreError
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.clusters import Clusters
from eibench_ray.scoring.interval import Resampling, bootstrap_interval, look_up
from eibench_ray.scoring.judge_repeats import NoiseMeter, RepeatNoise
from eibench_ray.scoring.verdict import Verdict, VerdictStatus

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MISSING = "missing"  # the status of a sample that no verdict was handed in for
_STATUSES = (*(status.value for status in VerdictStatus), MISSING)
_UNREADABLE = (VerdictStatus.UNPARSED, VerdictStatus.OUT_OF_RANGE, VerdictStatus.WRONG_TOTAL)
_NO_RECALL = -1


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """Mean recall over a group of samples.

    Attributes:
        n: samples.
        num_scored: samples with a verdict that counts.
        recall: mean over those, of each the mean over its verdicts that count; None where there are none.
        ci_low, ci_high: bootstrap interval of `recall`, clustered by image.
        bound_low, bound_high: the mean over all samples if every missing verdict were 0, or 1, single repeats of a
            judge included.
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
        """Share of the samples that have a verdict that counts, of whichever repeat."""
        return self.num_scored / self.n

    @property
    def is_open(self) -> bool:
        """Whether a verdict is missing, so that the bounds lie apart."""
        return self.bound_low < self.bound_high


@dataclass(frozen=True, slots=True)
class CellScore:
    """The scores of one cell.

    Attributes:
        by_emotion: in alphabetical order.
        statuses: verdicts per status, only those that occur; sums to `overall.n` times the judge's repeats.
        confidence: of every interval here.
        noise: of the judge's repeats; None where it was asked once.
    """

    overall: MetricSummary
    by_emotion: Mapping[str, MetricSummary]
    statuses: Mapping[str, int]
    confidence: float
    noise: RepeatNoise | None = None

    @property
    def num_unreadable(self) -> int:
        """Replies of the judge that came but could not be scored."""
        return sum(self.statuses.get(status, 0) for status in _UNREADABLE)


def mean_recall(verdicts: Sequence[Verdict | None]) -> float | None:
    """The recall of one answer: the mean over its verdicts that count; None where none does."""
    recalls = [verdict.recall for verdict in verdicts if verdict is not None and verdict.recall is not None]
    return sum(recalls) / len(recalls) if recalls else None


def score_cell(
    rows: Iterable[tuple[Sample, Sequence[Verdict | None]]], *, confidence: float, resamples: int, seed: int
) -> CellScore:
    """The scores of one cell; equal for equal arguments.

    Args:
        rows: all samples of the cell with their verdicts, one per repeat of the judge, None where there is none; passed
            over once, and a sample leaves 14 bytes behind, a picture its digest.
        confidence: of the intervals, e.g. 0.95.
        resamples: bootstrap resamples.
        seed: of the resampling.

    Raises:
        ScoreError: there is no sample.
    """
    import numpy as np

    columns = _Columns()
    for sample, verdicts in rows:
        columns.add(sample, verdicts)
    if not columns.emotions:
        raise ScoreError("a cell without samples has no recall: check the dataset and dataset.limit")
    codes, missing, clusters, emotions = (np.frombuffer(column, column.typecode) for column in columns.arrays())
    values, resampling = list(columns.values), Resampling(confidence, resamples, seed)

    def score(of_group: NDArray[np.bool_] | slice) -> MetricSummary:
        group = _Group(codes[of_group], missing[of_group], clusters[of_group], values, columns.repeats)
        return _score_group(group, resampling)

    by_emotion = {emotion: score(emotions == code) for emotion, code in sorted(columns.emotions.items())}
    return CellScore(
        overall=score(slice(None)),
        by_emotion=by_emotion,
        statuses={status: columns.statuses[status] for status in _STATUSES if columns.statuses[status]},
        confidence=confidence,
        noise=columns.noise.read(),
    )


class _Columns:
    """Columns that scoring keeps of a cell: per sample the codes of its score, its cluster and its group.

    Attributes:
        values, emotions: recall and emotion -> code, in the order of the codes.
        statuses: verdicts per status.
        repeats: verdicts per sample.
    """

    def __init__(self) -> None:
        self.values: dict[float, int] = {}
        self.emotions: dict[str, int] = {}
        self.statuses: Counter[str] = Counter()
        self.noise = NoiseMeter()
        self.repeats = 1
        self._clusters = Clusters()
        self._code_of = array("i")
        self._missing_of = array("H")
        self._cluster_of = array("i")
        self._emotion_of = array("i")

    def add(self, sample: Sample, verdicts: Sequence[Verdict | None]) -> None:
        self.repeats = len(verdicts)
        for verdict in verdicts:
            self.statuses[MISSING if verdict is None else verdict.status.value] += 1
        if self.repeats > 1:
            self.noise.add(verdicts)
        recall = mean_recall(verdicts)
        self._missing_of.append(sum(verdict is None or verdict.recall is None for verdict in verdicts))
        self._code_of.append(_NO_RECALL if recall is None else self.values.setdefault(recall, len(self.values)))
        self._cluster_of.append(self._clusters.code(sample))
        self._emotion_of.append(self.emotions.setdefault(_group(sample), len(self.emotions)))

    def arrays(self) -> tuple[array[int], array[int], array[int], array[int]]:
        """Codes of recall (-1 for none), verdicts that do not count, cluster, emotion."""
        return self._code_of, self._missing_of, self._cluster_of, self._emotion_of


def _group(sample: Sample) -> str:
    return str(sample.metadata.get("emotion", "unspecified"))


@dataclass(frozen=True, slots=True)
class _Group:
    """Columns of some samples, in their order; `values` are what the codes stand for."""

    codes: NDArray[np.int32]
    missing: NDArray[np.uint16]
    clusters: NDArray[np.int32]
    values: Sequence[float]
    repeats: int


def _score_group(group: _Group, resampling: Resampling) -> MetricSummary:
    """Recall over a group of samples."""
    codes, clusters, values = group.codes, group.clusters, group.values
    num_samples = len(codes)
    is_scored = codes != _NO_RECALL
    lost = 0.0  # recall that rests on repeats which do not count
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
    return MetricSummary(
        n=num_samples,
        num_scored=len(codes),
        recall=mean,
        ci_low=low,
        ci_high=high,
        bound_low=(total - lost) / num_samples,
        bound_high=(total - lost + missing) / num_samples,
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
