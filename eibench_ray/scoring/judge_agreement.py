"""Judges that graded the same answers: how far they agree, and who gives more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from eibench_ray.scoring.paired_tests import PairedDifference, compare_paired
from eibench_ray.scoring.rank_correlation import RankCorrelation, spearman
from eibench_ray.scoring.scored_cell import ScoredCell
from eibench_ray.scoring.scorer import Metric


@dataclass(frozen=True, slots=True)
class JudgePair:
    """Two judges of a dataset, over all answers that both graded; the samples of all those cells are pooled.

    Attributes:
        bias: first minus second; positive where the first gives more. Clustered by image, over cells too.
    """

    dataset: str
    metric: Metric  # in which both grade; judges with other metrics do not compare
    first: str
    second: str
    num_cells: int  # models x settings whose very answers both graded
    alpha: float | None  # Krippendorff's, at the interval level, over samples; None where it is undefined
    over_samples: RankCorrelation  # Spearman's rho of the two values of each answer
    over_cells: RankCorrelation  # Spearman's rho of the two means of each cell: do both rank the models alike?
    bias: PairedDifference


@dataclass(frozen=True, slots=True)
class JudgePanel:
    """All judges of a dataset that grade in one metric, where they are more than two."""

    dataset: str
    metric: Metric
    judges: tuple[str, ...]
    n: int  # answers that at least two of them graded
    alpha: float | None  # Krippendorff's, at the interval level, over those; None where it is undefined


def compare_judges(cells: Sequence[ScoredCell], confidence: float) -> list[JudgePair]:
    """Each pair of judges that graded the same answers, in the order of the cells."""
    pairs = []
    for first, second in combinations(judges_of(cells), 2):
        if both := pair_cells(cells, first, second):
            pairs.append(_compare(both, confidence))
    return pairs


def pair_cells(cells: Sequence[ScoredCell], first: str, second: str) -> list[tuple[ScoredCell, ScoredCell]]:
    """The cells of two judges that graded the very same answers in the same metric, side by side."""
    theirs = {cell.graded: cell for cell in cells if cell.judge == second}
    mine = [(cell, theirs.get(cell.graded)) for cell in cells if cell.judge == first]
    return [(cell, other) for cell, other in mine if other is not None]


def judges_of(cells: Sequence[ScoredCell]) -> list[str]:
    """The judges in order of appearance."""
    return list(dict.fromkeys(cell.judge for cell in cells))


def panels_of(cells: Sequence[ScoredCell]) -> list[JudgePanel]:
    """Agreement of all judges of a dataset, for each metric in which more than two graded."""
    metrics = dict.fromkeys(cell.metric for cell in cells)
    found = (_panel_of([cell for cell in cells if cell.metric == metric]) for metric in metrics)
    return [panel for panel in found if panel is not None]


def _panel_of(cells: Sequence[ScoredCell]) -> JudgePanel | None:
    judges = judges_of(cells)
    if len(judges) < 3:
        return None
    by_answers: dict[tuple[object, ...], dict[str, ScoredCell]] = {}
    for cell in cells:
        by_answers.setdefault(cell.graded, {})[cell.judge] = cell
    grades = np.hstack([_stack(graded, judges) for graded in by_answers.values()])
    num_graded = int(((~np.isnan(grades)).sum(axis=0) > 1).sum())
    return JudgePanel(cells[0].dataset, cells[0].metric, tuple(judges), num_graded, interval_alpha(grades))


def _compare(both: Sequence[tuple[ScoredCell, ScoredCell]], confidence: float) -> JudgePair:
    first = np.concatenate([mine.values for mine, _ in both])
    second = np.concatenate([theirs.values for _, theirs in both])
    clusters = np.concatenate([mine.clusters for mine, _ in both])
    means = [_shared_means(mine.values, theirs.values) for mine, theirs in both]
    mine, theirs = both[0]
    return JudgePair(
        dataset=mine.dataset,
        metric=mine.metric,
        first=mine.judge,
        second=theirs.judge,
        num_cells=len(both),
        alpha=interval_alpha(np.vstack([first, second])),
        over_samples=spearman(first, second),
        over_cells=spearman(*np.array(means).T),
        bias=compare_paired(first, second, clusters, confidence, mine.metric.span),
    )


def _shared_means(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Both means over the samples that both have; NaN where there is none."""
    has_both = ~(np.isnan(first) | np.isnan(second))
    if not has_both.any():
        return np.nan, np.nan
    return float(first[has_both].mean()), float(second[has_both].mean())


def _stack(graded: dict[str, ScoredCell], judges: Sequence[str]) -> NDArray[np.float64]:
    """(Judges, samples) of the values of the same answers, NaN for a judge that did not grade them."""
    nothing = np.full_like(next(iter(graded.values())).values, np.nan)
    return np.vstack([graded[judge].values if judge in graded else nothing for judge in judges])


def interval_alpha(values: NDArray[np.float64]) -> float | None:
    """Alpha at the interval level: 1 is full agreement, 0 is what chance gives, below 0 is worse than chance.

    None where nobody can disagree: no unit was given two values, or all values are the same (Krippendorff leaves alpha
    undefined there). Differences are squared; a unit with one value says nothing and is left out.

    Args:
        values: (observers, units), NaN where an observer gave none.

    Source: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section D, with the sums over pairs
    written as sums of squares: over all pairs of m values, (x - y)^2 adds up to m times their squared deviations.
    """
    has_value = ~np.isnan(values)
    number = has_value.sum(axis=0)
    pairable = number > 1
    units, is_there, number = values[:, pairable], has_value[:, pairable], number[pairable]
    given = units[is_there]
    if not len(given) or (given == given[0]).all():
        return None
    # nan_to_num: what is not there adds nothing
    means = np.nan_to_num(units).sum(axis=0) / number
    squares = np.nan_to_num(units - means) ** 2
    observed = float((squares.sum(axis=0) * number / (number - 1)).sum()) / len(given)
    expected = float(((given - given.mean()) ** 2).sum()) / (len(given) - 1)
    return 1 - observed / expected
