"""Ranks that a cell may have, given which differences are no chance.

Of cells that were compared pairwise, one that is surely worse than two others has at best rank 3; one that is surely
better than one other is at most last but one. What Holm's adjusted test cannot tell apart may be in either order.

>>> beaten = {("a", "c"), ("b", "c")}  # a and b are surely better than c, and cannot be told apart
>>> rank_ranges(["a", "b", "c"], beaten)["b"]
RankRange(best=1, worst=2, num_ranked=3)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from eibench_ray.scoring.cell_comparison import ComparedPair, Comparison, Side
from eibench_ray.scoring.paired_tests import is_below


@dataclass(frozen=True, slots=True)
class RankRange:
    """The best and the worst rank that a cell may have among those it is compared with."""

    best: int
    worst: int
    num_ranked: int  # cells that were compared

    @property
    def is_tied_with_best(self) -> bool:
        """Whether nothing is surely better, and something is not surely worse."""
        return self.best == 1 and self.worst > 1


def rank_ranges(names: Collection[str], beaten: Collection[tuple[str, str]]) -> dict[str, RankRange]:
    """The range of ranks of each name, given the pairs (better, worse) that are no chance."""
    wins, losses = defaultdict[str, int](int), defaultdict[str, int](int)
    for better, worse in beaten:
        wins[better] += 1
        losses[worse] += 1
    num = len(names)
    return {name: RankRange(1 + losses[name], num - wins[name], num) for name in names}


def rank_cells(comparison: Comparison) -> dict[tuple[str, str, str, str], RankRange]:
    """The range of ranks of each cell, by model, setting, dataset and judge.

    Models are ranked within their setting; where a dataset and judge have one model, its settings are. Cells that rest
    on a part of the samples, or on made up words, have no rank.
    """
    tables: dict[tuple[str, str], dict[Side, list[ComparedPair]]] = {}
    for pair in comparison.pairs:
        if all(state.is_comparable for state in comparison.states_of(pair)):
            tables.setdefault((pair.dataset, pair.judge), {}).setdefault(pair.side, []).append(pair)
    found: dict[tuple[str, str, str, str], RankRange] = {}
    for (dataset, judge), sides in tables.items():
        side: Side = "model" if "model" in sides else "setting"
        for within, ranges in _rank_within(sides[side], comparison.confidence).items():
            for name, ranked in ranges.items():
                model, setting = (name, within) if side == "model" else (within, name)
                found[model, setting, dataset, judge] = ranked
    return found


def _rank_within(pairs: Iterable[ComparedPair], confidence: float) -> Mapping[str, Mapping[str, RankRange]]:
    names: dict[str, dict[str, None]] = {}
    beaten: dict[str, set[tuple[str, str]]] = {}
    for pair in pairs:
        names.setdefault(pair.within, {}).update({pair.first: None, pair.second: None})
        lost = beaten.setdefault(pair.within, set())
        difference = pair.paired.difference
        if difference and is_below(pair.p_holm, confidence):
            is_first_better = (difference > 0) == (pair.metric.direction == "higher")
            lost.add((pair.first, pair.second) if is_first_better else (pair.second, pair.first))
    return {within: rank_ranges(names[within], beaten[within]) for within in names}
