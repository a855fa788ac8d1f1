import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eibench_ray.scoring.cluster_mean import (
    ClusterMean,
    Interval,
    bounds_interval,
    estimate_mean,
    proportion_interval,
    t_interval,
)


def print_errors() -> None:
    """Prints the standard errors of means over more clusters than OpenBLAS leaves to one thread."""
    rng = np.random.default_rng(0)
    print([estimate_mean(rng.random(20_000), np.arange(20_000)).standard_error for _ in range(20)])


def test_standard_error_of_samples_that_stand_alone_is_that_of_the_textbook() -> None:
    values = np.array([0.2, 0.9, 0.4, 0.4, 1.0])
    mean = estimate_mean(values, np.array([7, 3, 0, 9, 4]))
    assert (mean.n, mean.num_clusters) == (5, 5)
    assert mean.degrees_of_freedom == pytest.approx(4)
    assert mean.mean == pytest.approx(0.58)
    assert mean.standard_error == pytest.approx(values.std(ddof=1) / 5**0.5)


def test_standard_error_of_clusters_is_that_of_a_ratio_of_sums() -> None:
    values, clusters = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.5]), np.array([0, 0, 1, 2, 2, 2])
    sums, sizes = np.array([1.0, 1.0, 1.5]), np.array([2, 1, 3])
    residuals = sums - values.mean() * sizes
    mean = estimate_mean(values, clusters)
    assert mean == ClusterMean(
        n=6,
        num_clusters=3,
        mean=pytest.approx(3.5 / 6),
        standard_error=pytest.approx((1.5 * (residuals**2).sum() / 36) ** 0.5),
        degrees_of_freedom=pytest.approx(36 / 14 - 1),
    )


def test_the_standard_error_of_very_many_clusters_does_not_depend_on_the_number_of_cores() -> None:
    command = [sys.executable, "-c", f"import {Path(__file__).stem} as here; here.print_errors()"]
    said = {
        subprocess.run(
            command,
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            cwd=Path(__file__).parent,
            check=True,
            capture_output=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(said) == 1


def test_one_cluster_has_a_mean_and_no_interval() -> None:
    mean = estimate_mean(np.array([0.0, 1.0]), np.array([4, 4]))
    assert mean == ClusterMean(2, 1, 0.5, None, 1.0)
    assert proportion_interval(mean, 0.95) is None
    assert t_interval(mean, 0.95) is None


def test_values_without_spread_have_an_interval_as_a_share_and_none_by_t() -> None:
    for value in (0.0, 0.1, 1.0):
        mean = estimate_mean(np.full(24, value), np.arange(24))
        interval = proportion_interval(mean, 0.95)
        assert interval is not None
        assert interval.low <= value <= interval.high
        assert interval.high - interval.low > 0.1
        assert t_interval(mean, 0.95) is None


def test_t_interval_is_students() -> None:
    mean = ClusterMean(n=9, num_clusters=5, mean=2.0, standard_error=0.5, degrees_of_freedom=4.0)
    interval = t_interval(mean, 0.95)
    assert interval == Interval(pytest.approx(2 - 2.776445 * 0.5), pytest.approx(2 + 2.776445 * 0.5))  # t table, 4


def test_a_million_samples_take_no_longer_than_some_sorts_of_them() -> None:
    rng = np.random.default_rng(0)
    values, clusters = rng.random(1_000_000), rng.integers(0, 600_000, 1_000_000).astype(np.int32)

    def cpu_s(work: Callable[[], object]) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    # It takes less than one; a loop over the samples takes seven.
    assert cpu_s(lambda: estimate_mean(values, clusters)) < 3 * cpu_s(lambda: np.sort(values, kind="stable"))


@pytest.mark.parametrize("apart", [0.0, 0.5, 1.0, 3.0])
def test_an_interval_of_bounds_holds_the_mean_at_either_of_them_as_often_as_it_says(apart: float) -> None:
    """Imbens and Manski's equation: a mean at one bound is missed to the near side alone where the other is far."""
    from scipy import stats  # 0.3 s of each process that collects the tests

    error, freedom, confidence = 0.04, 9.0, 0.95
    lower, upper = (ClusterMean(100, 10, mean, error, freedom) for mean in (0.3, 0.3 + apart * error))
    found = bounds_interval(lower, upper, confidence, t_interval)
    assert found is not None
    ends = (lower.mean - found.low) / error, (found.high - upper.mean) / error
    assert ends[0] == pytest.approx(ends[1])
    covered = stats.t.cdf(ends[0] + apart, freedom) - stats.t.cdf(-ends[0], freedom)
    assert covered == pytest.approx(confidence, abs=1e-9)


def test_bounds_without_an_error_have_no_interval_and_those_without_spread_no_narrower_one() -> None:
    known, alone = ClusterMean(100, 10, 0.3, 0.04, 9.0), ClusterMean(5, 1, 0.5, None, 1.0)
    assert bounds_interval(known, alone, 0.95, t_interval) is None
    assert bounds_interval(alone, known, 0.95, t_interval) is None
