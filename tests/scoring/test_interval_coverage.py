"""Share of 95% intervals that hold the truth, by simulation with a known one.

Wanted is .93 to .97. No method is there everywhere with few samples: 24 right or wrong answers have 25 outcomes, and
from one true share to the next the coverage jumps by up to .04. Where that is so, the lines below allow more than .97,
never less than .93: values near 0 or 1, whose spread a small sample hardly shows, get a wider interval for what it may
not have shown, which questions of one picture that are not alike (a correlation of 0) did not need.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from eibench_ray.scoring.cluster_mean import (
    ClusterMean,
    Interval,
    bounds_interval,
    estimate_mean,
    proportion_interval,
    t_interval,
)

Array = NDArray[np.float64]
SHARES = (0.03, 0.1, 0.3, 0.5)  # those above are their mirror images, which have a test
# Questions per picture. EIBench's complex part has 50 over 23 pictures; the others have as many as that, or fewer.
ALONE_24 = (1,) * 24
EIBENCH_COMPLEX = (2,) * 20 + (3,) * 2 + (4,)
SIZES_200 = (2,) * 50 + (1,) * 100
SIZES_1615 = (2,) * 415 + (1,) * 785
NOISE = 0.01  # standard error of a simulated coverage at .95: .005 for 2,000 draws, .009 for 600


@pytest.mark.parametrize(
    ("sizes", "most", "draws"),
    [
        (ALONE_24, 0.98, 2000),
        (EIBENCH_COMPLEX, 0.985, 2000),
        (SIZES_200, 0.97, 2000),
        (SIZES_1615, 0.97, 600),
        ((5,) * 5, 1.0, 2000),  # with 5 pictures, nobody can tell whether their questions are alike
        ((20,) * 5, 1.0, 2000),
    ],
    ids=["24", "50 over 23", "200 over 150", "1615 over 1200", "25 over 5", "100 over 5"],
)
def test_intervals_of_shares_hold_the_truth(sizes: tuple[int, ...], most: float, draws: int) -> None:
    rng = np.random.default_rng(len(sizes))
    for truth, triggers, correlation in product(SHARES, (1, 4), (0.0, 0.5)):
        values = draw_values(rng, sizes, truth, triggers, correlation, draws)
        intervals = [proportion_interval(mean, 0.95) for mean in means_of(values, sizes)]
        covered = coverage(intervals, truth)
        assert 0.93 - NOISE <= covered <= most + NOISE, (truth, triggers, correlation)


def test_intervals_of_24_right_or_wrong_answers_hold_the_truth_exactly_as_often_as_the_binomial_says() -> None:
    from scipy.stats import binom  # 0.3 s of each process that collects the tests

    intervals = [proportion_interval(right_of(number, 24), 0.95) for number in range(25)]
    for truth in np.arange(0.03, 0.975, 0.005):
        holds = [found is not None and found.low <= truth <= found.high for found in intervals]
        assert 0.93 <= binom.pmf(np.arange(25), 24, truth)[holds].sum() <= 0.99


def test_all_right_is_not_sure_and_intervals_mirror_each_other() -> None:
    """Clopper and Pearson's interval of 24 of 24 is 85.8 to 100, Wilson's 86.2 to 100."""
    found = proportion_interval(right_of(24, 24), 0.95)
    assert found == Interval(pytest.approx(0.855, abs=0.01), 1.0)
    for number in range(25):
        one, other = (proportion_interval(right_of(right, 24), 0.95) for right in (number, 24 - number))
        assert one is not None
        assert other is not None
        assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low))
        assert one.high - one.low > 0.1


def test_many_right_or_wrong_answers_have_wilsons_interval() -> None:
    """Wilson, Probable Inference, the Law of Succession, and Statistical Inference (1927), written out."""
    for right, n in ((484, 1615), (1600, 1615), (180, 200)):
        z, share = 1.959964, right / n
        centre, half = share + z**2 / (2 * n), z * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
        found = proportion_interval(right_of(right, n), 0.95)
        assert found is not None
        assert found.low == pytest.approx((centre - half) / (1 + z**2 / n), abs=0.0015)
        assert found.high == pytest.approx((centre + half) / (1 + z**2 / n), abs=0.0015)


@pytest.mark.parametrize(("sizes", "least"), [(EIBENCH_COMPLEX, 0.93), (SIZES_200, 0.94), ((5,) * 5, 0.93)])
def test_students_intervals_of_other_values_hold_the_truth(sizes: tuple[int, ...], least: float) -> None:
    rng = np.random.default_rng(3)
    for correlation in (0.0, 0.5):
        of_cluster = np.repeat(rng.normal(size=(2000, len(sizes))), sizes, axis=1)
        values = 7 + correlation**0.5 * of_cluster + (1 - correlation) ** 0.5 * rng.normal(size=of_cluster.shape)
        covered = coverage([t_interval(mean, 0.95) for mean in means_of(values, sizes)], 7)
        assert least - NOISE <= covered <= 0.97 + NOISE


@pytest.mark.parametrize(("sizes", "draws"), [(EIBENCH_COMPLEX, 600), (SIZES_200, 400)])
@pytest.mark.parametrize("lost", [0.02, 0.1, 0.4])
def test_bounds_hold_the_truth_where_hard_samples_miss_their_verdict(
    sizes: tuple[int, ...], draws: int, lost: float
) -> None:
    """Wrong answers lose their verdict, right ones do not: the score itself is too high, and its interval misses."""
    rng = np.random.default_rng(4)
    for truth in (0.3, 0.7, 0.9):
        values = draw_values(rng, sizes, truth, 1, 0.5, draws)
        is_lost = (values == 0) & (rng.random(values.shape) < lost)
        lower, upper = values, np.where(is_lost, 1.0, values)
        bounds = zip(means_of(lower, sizes), means_of(upper, sizes), strict=True)
        covered = coverage([bounds_interval(*both, 0.95, proportion_interval) for both in bounds], truth)
        assert covered >= 0.93 - NOISE


def test_without_the_bounds_lost_verdicts_make_the_interval_miss() -> None:
    rng = np.random.default_rng(5)
    values = draw_values(rng, SIZES_200, 0.7, 1, 0.5, 500)
    clusters = np.repeat(np.arange(len(SIZES_200)), SIZES_200)
    found = []
    for line in values:
        is_kept = (line == 1) | (rng.random(line.shape) > 0.4)
        found.append(proportion_interval(estimate_mean(line[is_kept], clusters[is_kept]), 0.95))
    assert coverage(found, 0.7) < 0.5


@pytest.mark.parametrize("apart", [0.0, 0.25, 0.5, 1.0, 2.0, 5.0])
def test_bounds_are_widened_as_imbens_and_manski_do(apart: float) -> None:
    """By C standard errors with Phi(C + apart) - Phi(-C) = .95: from 1.96, where they are one, to 1.645, far apart."""
    from scipy.stats import norm

    lower, upper = (ClusterMean(10**6, 10**6, mean, 1.0, 1e6) for mean in (0.0, apart))
    found = bounds_interval(lower, upper, 0.95, t_interval)
    assert found is not None
    assert found.high - apart == pytest.approx(-found.low)
    assert norm.cdf(found.high) - norm.cdf(found.low) == pytest.approx(0.95, abs=1e-5)
    assert apart > 0 or found.high == pytest.approx(1.959964, abs=1e-5)
    assert apart < 5 or found.high - apart == pytest.approx(1.644854, abs=1e-5)


def draw_values(
    rng: np.random.Generator, sizes: tuple[int, ...], truth: float, triggers: int, correlation: float, draws: int
) -> Array:
    """(Draws, samples): the share of so many triggers found; clusters are alike by so much."""
    chances = np.full((draws, len(sizes)), truth)
    if correlation:
        both = 1 / correlation - 1
        chances = rng.beta(truth * both, (1 - truth) * both, size=chances.shape)
    return rng.binomial(triggers, np.repeat(chances, sizes, axis=1)) / triggers


def means_of(values: Array, sizes: tuple[int, ...]) -> Iterator[ClusterMean]:
    """The means of all draws at once, by a formula of its own; the first is checked against the package's."""
    num_clusters, n = len(sizes), sum(sizes)
    starts = np.cumsum((0, *sizes[:-1]))
    means = values.mean(axis=1)
    residuals = np.add.reduceat(values - means[:, None], starts, axis=1)
    errors = residuals.std(axis=1, ddof=1) * num_clusters**0.5 / n
    freedom = n**2 / sum(size**2 for size in sizes) - 1
    found = [ClusterMean(n, num_clusters, *both, freedom) for both in zip(means.tolist(), errors.tolist(), strict=True)]
    one = estimate_mean(values[0], np.repeat(np.arange(num_clusters), sizes))
    assert (one.mean, one.standard_error) == pytest.approx((found[0].mean, found[0].standard_error))
    assert one.degrees_of_freedom == pytest.approx(freedom)
    yield from found


def right_of(number: int, n: int) -> ClusterMean:
    return estimate_mean((np.arange(n) < number).astype(np.float64), np.arange(n))


def coverage(intervals: list[Interval | None], truth: float) -> float:
    return sum(found is not None and found.low <= truth <= found.high for found in intervals) / len(intervals)
