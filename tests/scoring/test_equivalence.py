"""A mean against an earlier one of the same samples: how often the tests err, where the truth is known.

Samples stay, answers and verdicts are drawn anew: with a chance of `noise` the second measurement has another answer
than the first. The tests know nothing of that chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from eibench_ray.scoring.cluster_mean import ClusterMean, Interval, estimate_mean, proportion_interval, t_interval
from eibench_ray.scoring.equivalence import LEVEL, RepeatedComparison, compare_repeated

ONE_BY_ONE = {number: np.arange(number) for number in (91, 342, 1615)}
FIFTY = np.repeat(np.arange(23), [2] * 20 + [3, 3, 4])  # 50 samples of 23 pictures


def compare(mean: ClusterMean, other: float) -> RepeatedComparison:
    found = compare_repeated(mean.mean, alone(mean.mean - other), partial(proportion_interval, mean))
    assert found is not None
    return found


def alone(difference: float) -> Interval:
    return Interval(difference, difference)


@dataclass(frozen=True)
class Truth:
    """Samples, of which each has its own chance that an answer names one of its points."""

    clusters: NDArray[np.int64]
    share: float  # the mean of the chances
    points: int = 5  # in an answer; 1: right or wrong
    alike: bool = False  # whether all samples have the same chance; else Beta, samples of a picture alike
    noise: float = 1.0
    gap: float = 0.0  # how much better the second one is

    def repeat(self, rng: np.random.Generator) -> tuple[float, NDArray[np.float64]]:
        """The mean of the first measurement, and the values of the second."""
        number = len(self.clusters)
        chances = np.full(number, self.share)
        if not self.alike:
            room = 1 - self.gap  # so that no chance passes 1
            chances = room * rng.beta(2 * self.share / room, 2 * (1 - self.share / room), number)[self.clusters]
        luck, new_luck = rng.random((2, number, self.points))
        is_new = rng.random((number, 1)) < self.noise
        first = (luck < chances[:, None]).mean(axis=1)
        second = (np.where(is_new, new_luck, luck) < chances[:, None] + self.gap).mean(axis=1)
        return float(first.mean()), second

    def simulate(self, number: int) -> list[RepeatedComparison]:
        rng = np.random.default_rng(17)
        found = []
        for _ in range(number):
            first, second = self.repeat(rng)
            found.append(compare(estimate_mean(second, self.clusters), first))
        return found


def share_of(found: list[bool]) -> float:
    return sum(found) / len(found)


# In the worst case all of the error is noise: the samples are alike, and all answers differ.
WORST = [
    Truth(clusters, share, points, alike=True)
    for clusters, share, points in (
        (ONE_BY_ONE[1615], 0.3, 5),
        (ONE_BY_ONE[342], 0.5, 1),
        (ONE_BY_ONE[91], 0.3, 1),
        (FIFTY, 0.4, 5),
        (FIFTY, 0.97, 5),
        (FIFTY, 0.03, 1),
    )
]
USUAL = [
    Truth(clusters, 0.45, noise=noise)
    for clusters in (ONE_BY_ONE[1615], ONE_BY_ONE[91], FIFTY)
    for noise in (0.0, 0.5, 1.0)
]


@pytest.mark.parametrize("truth", [*WORST, *USUAL])
def test_the_same_mean_differs_by_chance_in_one_of_twenty_cases_at_most(truth: Truth) -> None:
    alarms = share_of([one.p_value < LEVEL for one in truth.simulate(500)])
    assert alarms <= 0.08  # 0.05, and three standard errors of the simulation
    if truth.noise == 0:
        assert alarms == 0


def test_the_test_is_exact_where_all_is_noise() -> None:
    assert share_of([one.p_value < LEVEL for one in WORST[0].simulate(1500)]) == pytest.approx(LEVEL, abs=0.017)


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("clusters", [FIFTY, ONE_BY_ONE[91], ONE_BY_ONE[1615]], ids=len)
def test_what_is_the_margin_off_is_never_called_alike_more_often_than_the_level(
    clusters: NDArray[np.int64], noise: float
) -> None:
    for truth in (Truth(clusters, 0.45, noise=noise, gap=0.05), Truth(clusters, 0.1, 1, True, noise, gap=0.05)):
        assert share_of([one.is_within(0.05) for one in truth.simulate(200)]) <= 0.1


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_many_samples_tell_what_is_alike_and_what_is_not(noise: float) -> None:
    same, better = (Truth(ONE_BY_ONE[1615], 0.45, noise=noise, gap=gap).simulate(100) for gap in (0.0, 0.1))
    assert share_of([one.is_within(0.05) for one in same]) >= 0.99
    assert share_of([one.p_value < LEVEL for one in better]) >= 0.99


def test_fifty_samples_tell_neither() -> None:
    same, off = (Truth(FIFTY, 0.45, gap=gap).simulate(300) for gap in (0.0, 0.05))
    assert share_of([one.is_within(0.05) for one in same]) <= 0.02
    assert share_of([one.is_within(0.05) for one in off]) <= 0.02
    assert share_of([one.p_value < LEVEL for one in off]) <= 0.05


def by_t(mean: ClusterMean, low: float, high: float) -> RepeatedComparison:
    found = compare_repeated(mean.mean, Interval(low, high), partial(t_interval, mean))
    assert found is not None
    return found


def test_by_t_intervals_it_is_students_test_with_twice_the_variance() -> None:
    from scipy.stats import t  # 0.3 s of each process that collects the tests

    found = by_t(ClusterMean(60, 23, 0.7, 0.1, 22), 0.3, 0.3)
    error = 0.1 * 2**0.5
    assert found.p_value == pytest.approx(2 * t.sf(0.3 / error, 22))
    assert (found.low, found.high) == pytest.approx((0.3 - t.ppf(0.95, 22) * error, 0.3 + t.ppf(0.95, 22) * error))


def test_each_test_takes_the_end_of_the_shift_that_is_against_it() -> None:
    mean = ClusterMean(400, 400, 0.5, 0.01, 399)
    low, high, both = (by_t(mean, *ends) for ends in ((0.03, 0.03), (0.04, 0.04), (0.03, 0.04)))
    assert both.p_value == low.p_value
    assert (both.low, both.high) == (low.low, high.high)
    assert by_t(mean, -0.01, 0.04).p_value == pytest.approx(1)


def test_values_without_any_spread_have_an_error_yet() -> None:
    nothing = ClusterMean(50, 23, 0.0, 0.0, 22)
    assert not compare(nothing, 0.0).is_within(0.05)
    assert compare(nothing, 0.01).p_value > 0.5
    assert compare(nothing, 0.39).p_value < 0.01


def test_one_cluster_tells_no_error() -> None:
    assert compare_repeated(0.5, alone(0.1), partial(proportion_interval, ClusterMean(3, 1, 0.5, None, 1))) is None


@pytest.mark.parametrize("other", [0.0, 0.2, 1.04])
def test_no_p_value_is_nothing(other: float) -> None:
    assert 0 < compare(ClusterMean(1615, 1615, 0.6, 0.008, 1614), other).p_value < 1e-9
