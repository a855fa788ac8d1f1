"""Whether a judge favours its own family: how its bias on those answers differs from that on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from eibench_ray.scoring.interval import Resampling
from eibench_ray.scoring.judge_agreement import judges_of, pair_cells
from eibench_ray.scoring.paired_tests import PairedDifference, compare_paired
from eibench_ray.scoring.scored_cell import ScoredCell
from eibench_ray.scoring.scorer import Metric

Both = Sequence[tuple[ScoredCell, ScoredCell]]


@dataclass(frozen=True, slots=True)
class Preference:
    """Difference between a judge's grants to its own family and another judge's, against other models.

    Attributes:
        own, others: the models of both sides.
        is_mutual: every other model is of the other judge's family, whose own preference is then in the figure, too;
            where there are others, those are left out.
        bias: of the judge against the other one, on its own family's answers (first) and on the others' (second), by
            sample; a positive difference favours its own. Clustered by image.
    """

    dataset: str
    metric: Metric
    judge: str
    against: str  # the other judge, which graded the same answers
    family: str | None  # of the judge; None where only the model behind it is known to be its own
    own: tuple[str, ...]
    others: tuple[str, ...]
    is_mutual: bool
    bias: PairedDifference


def find_preferences(cells: Sequence[ScoredCell], resampling: Resampling) -> list[Preference]:
    """The preference of each judge with kin among the models, against each other judge of the same answers."""
    found = []
    for judge, against in permutations(judges_of(cells), 2):
        both = pair_cells(cells, judge, against)
        own = [(mine, theirs) for mine, theirs in both if mine.is_of_judges_family]
        foreign = [(mine, theirs) for mine, theirs in both if not mine.is_of_judges_family]
        neutral = [(mine, theirs) for mine, theirs in foreign if not theirs.is_of_judges_family]
        if own and foreign:
            others = neutral or foreign
            clusters = own[0][0].clusters
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
                    bias=compare_paired(_mean_bias(own), _mean_bias(others), clusters, resampling),
                )
            )
    return found


def _mean_bias(both: Both) -> NDArray[np.float64]:
    """(samples,), what the first judge grants more, over the cells in which both have a score; NaN without one."""
    biases = np.vstack([mine.values - theirs.values for mine, theirs in both])
    is_there = ~np.isnan(biases)
    number = is_there.sum(axis=0)
    sums = np.where(is_there, biases, 0.0).sum(axis=0)
    mean: NDArray[np.float64] = np.divide(sums, number, out=np.full(len(sums), np.nan), where=number > 0)
    return mean


def _models(both: Both) -> tuple[str, ...]:
    return tuple(dict.fromkeys(mine.model for mine, _ in both))
