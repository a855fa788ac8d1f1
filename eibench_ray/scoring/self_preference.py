"""Whether a judge favours its own family: the scores of those answers against what their quality lets expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from eibench_ray.scoring.judge_agreement import judges_of, pair_cells
from eibench_ray.scoring.paired_tests import NOTHING_TO_COMPARE, PairedDifference, compare_paired
from eibench_ray.scoring.scored_cell import ScoredCell
from eibench_ray.scoring.scorer import Metric

Both = Sequence[tuple[ScoredCell, ScoredCell]]

_LEAST_SPREAD = 10.0  # times what chance alone lets the cells' means differ: Staiger and Stock's F


@dataclass(frozen=True, slots=True)
class Preference:
    """A judge's scores of its own family's answers, against those that another judge's scores let expect.

    Attributes:
        own, others: the models of both sides.
        is_mutual: every other model is of the other judge's family, whose own preference is then in the figure, too;
            where there are others, those are left out.
        slope: of the judge's scores over the other judge's; below 1 where the judge uses a narrower scale. None where
            the cells of a side are single, or too alike in quality to tell it.
        excess: the mean score of its own family's answers (first), and the expected one (second); a positive
            difference favours its own. Without a slope nothing is expected, and n is 0. Clustered by image.
    """

    dataset: str
    metric: Metric
    judge: str
    against: str  # the other judge, which graded the same answers
    family: str | None  # of the judge; None where only the model behind it is known to be its own
    own: tuple[str, ...]
    others: tuple[str, ...]
    is_mutual: bool
    slope: float | None
    excess: PairedDifference


def find_preferences(cells: Sequence[ScoredCell], confidence: float) -> list[Preference]:
    """The preference of each judge with kin among the models, against each other judge of the same answers."""
    found = []
    for judge, against in permutations(judges_of(cells), 2):
        both = pair_cells(cells, judge, against)
        own = [(mine, theirs) for mine, theirs in both if mine.is_of_judges_family]
        foreign = [(mine, theirs) for mine, theirs in both if not mine.is_of_judges_family]
        neutral = [(mine, theirs) for mine, theirs in foreign if not theirs.is_of_judges_family]
        if own and foreign:
            others = neutral or foreign
            slope, excess = _excess_of(own, others, confidence)
            found.append(
                Preference(
                    dataset=own[0][0].dataset,
                    metric=own[0][0].metric,
                    judge=judge,
                    against=against,
                    family=own[0][0].judge_family,
                    own=_models(own),
                    others=_models(others),
                    is_mutual=not neutral,
                    slope=slope,
                    excess=excess,
                )
            )
    return found


def _excess_of(own: Both, others: Both, confidence: float) -> tuple[float | None, PairedDifference]:
    """The slope, and own scores against expected ones; nothing where the slope cannot be told.

    Judges use their scales differently: one that grants 20 to 80 where another grants 0 to 100 seems to favour the
    weak models, whoever they are. So the line that leads from the other judge's scores to this judge's is fitted first,
    with one slope for both sides and an intercept for each; the preference is what lies between the intercepts.

    The line goes through the means of cells, not through single answers: those of the other judge are noisy, and noise
    flattens a line (Fuller), which would make the better side look favoured. What noise the means still have is
    subtracted from their squares and products. The interval takes the slope's own error in: it is that of a mean of
    linear terms, one per sample.

    Sources: Fuller, Measurement Error Models (1987), 1.2 and 3.1; Staiger and Stock, Instrumental Variables Regression
    with Weak Instruments (1997), for the spread that the means must have.
    """
    mine = np.vstack([judge.values for judge, _ in (*own, *others)])
    theirs = np.vstack([other.values for _, other in (*own, *others)])
    has_both = ~(np.isnan(mine) | np.isnan(theirs))
    is_own = np.arange(len(mine)) < len(own)
    known, used = has_both.any(axis=1), has_both.any(axis=0)
    if not (known & is_own).any() or not (known & ~is_own).any():
        return None, NOTHING_TO_COMPARE
    has_both, is_own, clusters = has_both[known][:, used], is_own[known], own[0][0].clusters[used]
    score, quality = (_fill(values[known][:, used], has_both) for values in (mine, theirs))
    centred_score, centred = _within(score, is_own), _within(quality, is_own)
    places = centred.mean(axis=1)  # of the cells on the other judge's scale, around their side's
    noise = _noise(centred, centred, clusters)
    if float(places @ places) <= _LEAST_SPREAD * max(noise, 1e-12):
        return None, NOTHING_TO_COMPARE
    spread = float(places @ places) - noise
    slope = (float(places @ centred_score.mean(axis=1)) - _noise(centred, centred_score, clusters)) / spread
    residuals = centred_score - slope * centred
    lead = quality[is_own].mean(axis=0) - quality[~is_own].mean(axis=0)
    # The slope's error, sample by sample; its mean is 0.
    slope_terms = places @ (residuals - residuals.mean(axis=1, keepdims=True)) / spread
    expected = score[~is_own].mean(axis=0) + slope * lead + lead.mean() * slope_terms
    return slope, compare_paired(score[is_own].mean(axis=0), expected, clusters, confidence)


def _fill(values: NDArray[np.float64], is_there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(cells, samples) without gaps: a cell's mean where it has no value, and the rest farther from it to make up.

    Every row keeps the mean of what is there, and the error of that mean.
    """
    number = is_there.sum(axis=1, keepdims=True)
    means = np.where(is_there, values, 0.0).sum(axis=1, keepdims=True) / number
    filled: NDArray[np.float64] = means + np.where(is_there, values - means, 0.0) * (values.shape[1] / number)
    return filled


def _within(values: NDArray[np.float64], is_own: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(cells, samples), each minus the mean of its side's cells."""
    centred = values.copy()
    for side in (is_own, ~is_own):
        centred[side] -= values[side].mean(axis=0)
    return centred


def _noise(first: NDArray[np.float64], second: NDArray[np.float64], clusters: NDArray[np.int32]) -> float:
    """Sum over cells of the sampling covariance of two means, by cluster."""
    names, codes = np.unique(clusters, return_inverse=True)
    num_clusters = len(names)
    if num_clusters < 2:
        return np.inf
    sums_of = [
        np.concatenate([np.bincount(codes, weights=row - row.mean()) for row in values]) for values in (first, second)
    ]
    products = sums_of[0] * sums_of[1]
    return float(products.sum()) * num_clusters / (num_clusters - 1) / len(clusters) ** 2


def _models(both: Both) -> tuple[str, ...]:
    return tuple(dict.fromkeys(mine.model for mine, _ in both))
