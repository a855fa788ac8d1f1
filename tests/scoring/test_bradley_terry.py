"""Strengths by Bradley and Terry: against published figures and independent code, and where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from eibench_ray.scoring.bradley_terry import Duel, Standings, fit_strengths

# Games of the American League East, 1987: the row's team against the column's, out of 13. Agresti, Categorical Data
# Analysis (2nd edition, 2002), section 10.6; the data set `baseball` of the R package BradleyTerry2.
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
WON = (
    (0, 7, 9, 7, 7, 9, 11),
    (6, 0, 7, 5, 11, 9, 9),
    (4, 6, 0, 7, 7, 8, 12),
    (6, 8, 6, 0, 6, 7, 10),
    (6, 2, 6, 7, 0, 7, 12),
    (4, 4, 5, 6, 6, 0, 6),
    (2, 4, 1, 3, 1, 7, 0),
)


def duels_of(won: tuple[tuple[int, ...], ...], names: tuple[str, ...]) -> list[Duel]:
    """One comparison per game, each a cluster of its own."""
    found, start = [], 0
    for row in range(len(names)):
        for column in range(row + 1, len(names)):
            shares = np.array([1.0] * won[row][column] + [0.0] * won[column][row])
            found.append(Duel(names[row], names[column], shares, np.arange(start, start + len(shares), dtype=np.int32)))
            start += len(shares)
    return found


def values(standings: Standings) -> dict[str, float]:
    [group] = standings.groups
    return {one.player: one.value for one in group}


def test_baseball_has_the_published_strengths() -> None:
    found = values(fit_strengths(duels_of(WON, TEAMS), 0.95))

    # summary(BTm(...)) of that package, Baltimore being 0.
    published = {
        "Milwaukee": 1.5814,
        "Detroit": 1.4364,
        "Toronto": 1.2945,
        "New York": 1.2476,
        "Boston": 1.1077,
        "Cleveland": 0.6839,
        "Baltimore": 0.0,
    }
    assert {name: round(value - found["Baltimore"], 4) for name, value in found.items()} == published
    assert sum(found.values()) == pytest.approx(0, abs=1e-9)


def test_ratings_are_elos_scale() -> None:
    shares = np.array([1.0] * 10 + [0.0])
    [[best, worst]] = fit_strengths([Duel("a", "b", shares, np.arange(11, dtype=np.int32))], 0.95).groups

    assert (best.rating - worst.rating, best.rating + worst.rating) == (pytest.approx(400), pytest.approx(2000))
    assert best.rating_interval is not None
    assert best.rating_interval.low < best.rating < best.rating_interval.high


def random_duels(seed: int, num_samples: int, num_clusters: int) -> list[Duel]:
    """A tournament of four about the same samples, whose clusters make some players better or worse together."""
    random = np.random.default_rng(seed)
    strengths = np.array([0.6, 0.2, -0.2, -0.6])
    clusters = random.integers(0, num_clusters, num_samples).astype(np.int32)
    tilt = random.normal(0, 0.8, (num_clusters, 4))
    found = []
    for first in range(4):
        for second in range(first + 1, 4):
            at = strengths[first] - strengths[second] + tilt[clusters, first] - tilt[clusters, second]
            drawn = random.uniform(size=num_samples) < 1 / (1 + np.exp(-at))
            shares = np.where(random.uniform(size=num_samples) < 0.2, 0.5, drawn.astype(float))
            found.append(Duel("abcd"[first], "abcd"[second], shares, clusters))
    return found


def test_strengths_are_those_of_an_independent_optimiser() -> None:
    from scipy.optimize import minimize  # 0.3 s of each process that collects the tests

    duels = random_duels(3, 200, 40)

    def loss(values: np.ndarray) -> float:
        at = dict(zip("abcd", values, strict=True))
        differences = [(duel.shares, at[duel.first] - at[duel.second]) for duel in duels]
        return sum(float((np.log1p(np.exp(gap)) - shares * gap).sum()) for shares, gap in differences)

    best = minimize(loss, np.zeros(4), tol=1e-12).x
    found = values(fit_strengths(duels, 0.95))
    assert [found[name] for name in "abcd"] == pytest.approx(best - best.mean(), abs=1e-5)


def test_intervals_are_as_wide_as_clusters_that_are_left_out_in_turn_say() -> None:
    duels, num_clusters = random_duels(5, 300, 60), 60
    [group] = fit_strengths(duels, 0.95).groups
    left_out = []
    for cluster in range(num_clusters):
        rest = [
            Duel(
                duel.first, duel.second, duel.shares[duel.clusters != cluster], duel.clusters[duel.clusters != cluster]
            )
            for duel in duels
        ]
        left_out.append([values(fit_strengths(rest, 0.95))[name] for name in "abcd"])
    spread = np.array(left_out) - np.mean(left_out, axis=0)
    jackknife = np.sqrt((num_clusters - 1) / num_clusters * (spread**2).sum(axis=0))

    for one in group:
        assert one.interval is not None
        half = (one.interval.high - one.interval.low) / 2
        assert half == pytest.approx(2.0 * jackknife["abcd".index(one.player)], rel=0.1)
        assert (one.n, one.num_clusters) == (900, 60)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = []
    for seed in range(150):
        random = np.random.default_rng(seed)
        clusters = np.repeat(np.arange(30, dtype=np.int32), 4)
        chance = 1 / (1 + np.exp(-0.8))
        # All four samples of a picture fall alike: an interval that took them for independent would be half as wide.
        shares = np.repeat((random.uniform(size=30) < chance).astype(float), 4)
        groups = fit_strengths([Duel("a", "b", shares, clusters)], 0.95).groups
        for best in groups:
            one = next(one for one in best if one.player == "a")
            assert one.interval is not None
            held.append(one.interval.low <= 0.4 <= one.interval.high)
    assert 0.9 < np.mean(held) < 0.99


def duel(first: str, second: str, *shares: float) -> Duel:
    return Duel(first, second, np.array(shares), np.arange(len(shares), dtype=np.int32))


def test_who_never_lost_has_no_strength_and_is_named() -> None:
    standings = fit_strengths(
        [duel("a", "b", 1, 1), duel("a", "c", 1, 1), duel("b", "c", 1, 0), duel("d", "b", 0, 0)], 0.95
    )

    assert [[one.player for one in group] for group in standings.groups] == [["b", "c"]]
    assert standings.won_all == ((("a",), ("b", "c")), (("b", "c"), ("d",)))
    assert standings.apart == (("a", "b", "c", "d"),)
    assert fit_strengths([duel("a", "b", 1, 1)], 0.95).groups == ()


def test_a_tie_is_enough_to_have_a_strength() -> None:
    [[best, worst]] = fit_strengths([duel("a", "b", 1, 1, 0.5)], 0.95).groups

    assert best.value - worst.value == pytest.approx(np.log(2.5 / 0.5))


def test_players_whom_nothing_connects_are_apart() -> None:
    standings = fit_strengths([duel("a", "b", 1, 0), duel("c", "d", 0, 1), duel("d", "e")], 0.95)

    assert [[one.player for one in group] for group in standings.groups] == [["a", "b"], ["c", "d"]]
    assert standings.apart == (("a", "b"), ("c", "d"))
    assert standings.centre is None


def test_one_baseline_for_all_is_seen_and_says_what_win_rates_say() -> None:
    standings = fit_strengths([duel("a", "base", 1, 1, 0), duel("b", "base", 1, 0, 0)], 0.95)

    assert standings.centre == "base"
    found = values(standings)
    assert found["a"] - found["base"] == pytest.approx(np.log(2))
    assert found["b"] - found["base"] == pytest.approx(-np.log(2))
    assert fit_strengths([duel("a", "b", 1, 0)], 0.95).centre is None


def test_all_ties_show_no_spread_and_so_no_interval() -> None:
    [[best, worst]] = fit_strengths([duel("a", "b", 0.5, 0.5, 0.5)], 0.95).groups

    assert (best.value, best.interval, worst.rating_interval) == (0, None, None)
