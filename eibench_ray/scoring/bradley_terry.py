"""Bradley-Terry: strengths of many players from comparisons of two at a time. Pure.

The odds that a player wins against another are exp(its strength - the other's). A tie counts as half a win for each.

    >>> import numpy as np
    >>> won = Duel("a", "b", np.array([1.0, 1.0, 0.5, 0.0]), np.arange(4))  # 2.5 of 4, so the odds are 2.5 to 1.5
    >>> [group] = fit_strengths([won], 0.95).groups
    >>> [(one.player, round(one.value, 3)) for one in group]  # around their mean: log(2.5 / 1.5) apart
    [('a', 0.255), ('b', -0.255)]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from eibench_ray.scoring.cluster_mean import ClusterMean, Interval, t_interval

_MOST_STEPS = 200
_NEGLIGIBLE = 1e-10
# A rating is a strength as chess has it: 400 points are odds of 10 to 1, and 1000 is the mean.
_POINTS = 400 / log(10)
_MEAN_RATING = 1000.0


@dataclass(frozen=True, slots=True)
class Duel:
    """Comparisons of two players."""

    first: str
    second: str
    shares: NDArray[np.float64]  # (comparisons,) of a win that the first has: 1, a tie 0.5, a defeat 0; without NaN
    clusters: NDArray[np.int32]  # (comparisons,) the code of each one's cluster, the same in all duels


@dataclass(frozen=True, slots=True)
class Strength:
    """One player's strength among those of its group.

    Attributes:
        value: in log-odds, around the mean of the group.
        interval: of it; None below two clusters.
    """

    player: str
    value: float
    interval: Interval | None
    n: int  # its comparisons
    num_clusters: int  # among the comparisons of the group

    @property
    def rating(self) -> float:
        """The strength on the scale of Elo ratings."""
        return _MEAN_RATING + _POINTS * self.value

    @property
    def rating_interval(self) -> Interval | None:
        """Its interval on that scale."""
        if self.interval is None:
            return None
        low, high = (_MEAN_RATING + _POINTS * end for end in (self.interval.low, self.interval.high))
        return Interval(low, high)


@dataclass(frozen=True, slots=True)
class Standings:
    """Strengths, and what has none.

    Attributes:
        groups: players who have won from each other, directly or through others, the strongest first. Only within
            such a group is a difference of strengths finite.
        won_all: players, and those against whom they have won each comparison.
        apart: players whom comparisons connect; between two of these nothing is known.
        centre: the player who is in every duel, where there are several duels; then strengths say no more than shares
            of wins.
    """

    groups: tuple[tuple[Strength, ...], ...]
    won_all: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    apart: tuple[tuple[str, ...], ...]
    centre: str | None


def fit_strengths(duels: Sequence[Duel], confidence: float) -> Standings:
    """The strengths of all players, by maximum likelihood, with intervals clustered over all duels.

    Sources: Bradley and Terry, Rank Analysis of Incomplete Block Designs (1952); Ford, Solution of a Ranking Problem
    from Binary Comparisons (1957), for when strengths are finite; Firth and Turner, Bradley-Terry Models in R: The
    BradleyTerry2 Package (2012), for ties as half a win; Liang and Zeger, Longitudinal Data Analysis Using Generalized
    Linear Models (1986), for the variance.
    """
    duels = [duel for duel in duels if len(duel.shares)]
    players = list(dict.fromkeys(name for duel in duels for name in (duel.first, duel.second)))
    place = {name: number for number, name in enumerate(players)}
    has_won = np.eye(len(players), dtype=bool)  # whether the row's player has a part of a win against the column's
    for duel in duels:
        first, second = place[duel.first], place[duel.second]
        has_won[first, second] |= bool((duel.shares > 0).any())
        has_won[second, first] |= bool((duel.shares < 1).any())
    reaches = _close(has_won)
    groups = _parts(players, reaches & reaches.T)
    won_all = []
    for group in groups:
        ours = [place[name] for name in group]
        beaten = [one for one in players if one not in group and has_won[ours, place[one]].any()]
        if beaten:
            won_all.append((group, tuple(beaten)))
    common = set(players).intersection(*({duel.first, duel.second} for duel in duels))
    return Standings(
        groups=tuple(_fit(group, duels, confidence) for group in groups if len(group) > 1),
        won_all=tuple(won_all),
        apart=tuple(_parts(players, _close(has_won | has_won.T))),
        centre=min(common) if len(players) > 2 and common else None,
    )


def _close(reaches: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The transitive closure of a relation that holds for each with itself."""
    for middle in range(len(reaches)):
        reaches = reaches | (reaches[:, [middle]] & reaches[[middle], :])
    return reaches


def _parts(players: Sequence[str], is_same: NDArray[np.bool_]) -> list[tuple[str, ...]]:
    """The classes of an equivalence, in the players' order."""
    rows = dict.fromkeys(tuple(row.tolist()) for row in is_same)
    return [tuple(name for name, is_in in zip(players, row, strict=True) if is_in) for row in rows]


def _fit(group: Sequence[str], duels: Iterable[Duel], confidence: float) -> tuple[Strength, ...]:
    """Strengths within a group, in which they are finite."""
    place = {name: number for number, name in enumerate(group)}
    inner = [duel for duel in duels if duel.first in place and duel.second in place]
    ends = np.array([(place[duel.first], place[duel.second]) for duel in inner])
    counts = np.array([len(duel.shares) for duel in inner], float)
    won = np.array([duel.shares.sum() for duel in inner])
    design = np.zeros((len(inner), len(group)))
    design[np.arange(len(inner)), ends[:, 0]] = 1
    design[np.arange(len(inner)), ends[:, 1]] = -1
    values = _maximise(design, won, counts)
    chance = _chances(design @ values)
    clusters, codes = np.unique(np.concatenate([duel.clusters for duel in inner]), return_inverse=True)
    errors = _errors(inner, design, chance, codes, len(clusters))
    total, sizes = int(counts.sum()), np.bincount(codes)
    freedom = max(total**2 / float(sizes @ sizes) - 1, 1.0)  # as that of a mean (cluster_mean)
    found = []
    for name, number in place.items():
        error = None if errors is None else float(errors[number])
        mean = ClusterMean(total, len(clusters), float(values[number]), error, freedom)
        n = int(counts[(ends == number).any(axis=1)].sum())
        found.append(Strength(name, mean.mean, t_interval(mean, confidence), n, len(clusters)))
    return tuple(sorted(found, key=lambda one: -one.value))


def _chances(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import expit

    chances: NDArray[np.float64] = expit(differences)
    return chances


def _maximise(
    design: NDArray[np.float64], won: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The strengths, whose mean is 0, of the greatest likelihood: Newton's method, a step halved while it goes down."""

    def likelihood(values: NDArray[np.float64]) -> float:
        differences = design @ values
        return float((won * differences - counts * np.logaddexp(0, differences)).sum())

    values = np.zeros(design.shape[1])
    for _ in range(_MOST_STEPS):
        chance = _chances(design @ values)
        step = _inverse(design, counts * chance * (1 - chance)) @ (design.T @ (won - counts * chance))
        while likelihood(values + step) < likelihood(values) and np.abs(step).max() > _NEGLIGIBLE:
            step /= 2
        values += step
        if np.abs(step).max() < _NEGLIGIBLE:
            break
    return values


def _inverse(design: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of the information among strengths whose mean is 0: all of them shifted alike say the same."""
    inverse: NDArray[np.float64] = np.linalg.pinv(design.T @ (weights[:, None] * design), hermitian=True).astype(
        np.float64
    )
    return inverse


def _errors(
    duels: Sequence[Duel],
    design: NDArray[np.float64],
    chance: NDArray[np.float64],
    codes: NDArray[np.intp],
    num_clusters: int,
) -> NDArray[np.float64] | None:
    """Standard errors of the strengths by the sandwich: what all comparisons of a cluster say together is one term.

    None below two clusters.
    """
    if num_clusters < 2:
        return None
    scores = np.zeros((num_clusters, design.shape[1]))
    start = 0
    for duel, row, expected in zip(duels, design, chance, strict=True):
        mine = codes[start : start + len(duel.shares)]
        start += len(duel.shares)
        residuals = np.bincount(mine, weights=duel.shares - expected, minlength=num_clusters)
        scores += residuals[:, None] * row
    counts = np.array([len(duel.shares) for duel in duels], float)
    bread = _inverse(design, counts * chance * (1 - chance))
    spread = scores @ bread
    variances = num_clusters / (num_clusters - 1) * (spread**2).sum(axis=0)
    errors: NDArray[np.float64] = np.sqrt(variances)
    return errors
