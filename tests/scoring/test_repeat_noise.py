"""A judge asked several times: its noise, and what becomes of recall, coverage and bounds."""

from __future__ import annotations

from itertools import count
from math import sqrt

import numpy as np
import pytest
from scored_rows import score_rows

from eibench_ray.benchmarks.eibench.parsed_verdict import RECALL
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.cell_score import CellScore
from eibench_ray.scoring.repeat_noise import NoiseMeter, RepeatNoise
from eibench_ray.scoring.scorer import Metric, Score, ScoreStatus

# Six targets, each rated by four others: Shrout and Fleiss (1979), table 2. Their ICC(1, 1) is .17.
NUMBERS = count()
SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def verdict(correct: int | None, total: int = 4, hits: tuple[bool, ...] | None = None) -> Score:
    if correct is None:
        return Score("s", status=ScoreStatus.UNPARSED)
    return Score("s", {"recall": correct / total}, details={"named": hits}, explanation=f"words {next(NUMBERS)}")


def measure(rows: list[list[int | None]], total: int = 4) -> RepeatNoise | None:
    meter = NoiseMeter("recall")
    for row in rows:
        meter.add([verdict(correct, total) for correct in row])
    return meter.read()


def score(rows: list[list[int | None]]) -> CellScore:
    judged = [
        (Sample(f"s{number}", target=("a",) * 4), [verdict(correct) for correct in row])
        for number, row in enumerate(rows)
    ]
    return score_rows(judged, [RECALL], 0.95)


def test_a_judge_that_was_asked_once_has_no_noise_to_tell() -> None:
    assert measure([[1], [2]]) is None
    assert measure([]) is None


def test_a_judge_that_repeats_itself_has_none() -> None:
    noise = measure([[1, 1, 1], [3, 3, 3], [0, 0, 0]])
    assert noise == RepeatNoise(repeats=3, n=3, sd=0.0, differ=0.0, variance_share=0.0)


def test_the_noise_of_a_cell_is_that_of_its_headline() -> None:
    length = Metric("length", format=".0f", high=None)
    scores = [Score("s", {"recall": recall, "length": 7.0}) for recall in (0.0, 1.0)]
    for metrics, sd in (([RECALL, length], sqrt(0.5)), ([length, RECALL], 0.0)):
        noise = score_rows([(Sample("s", target=("a",)), scores)], metrics, 0.95).noise
        assert noise is not None
        assert noise.sd == pytest.approx(sd)


def test_noise_is_measured_where_all_repeats_count() -> None:
    noise = measure([[4, 0], [4, 4], [0, 0], [None, 4], [2, None]])
    assert noise is not None
    assert (noise.repeats, noise.n, noise.differ) == (2, 3, pytest.approx(1 / 3))
    assert noise.sd == pytest.approx(sqrt(0.5 / 3 / 3))  # of three samples one differs, by (1 - 0)^2 / 2
    assert noise.sd_of_mean == pytest.approx(noise.sd / sqrt(2))


def test_the_sd_is_that_of_a_cells_mean_between_repeats_of_the_judge() -> None:
    """200 cells of 200 answers, graded three times: each answer has a chance of its own to be granted a trigger.

    The true sd is known from the chances. The standard deviation of the three means, with two degrees of freedom,
    would lie between 0.16 and 1.92 times as much in 95% of the cells; this one, with 400, within a tenth.
    """
    rng = np.random.default_rng(2)
    chances = rng.beta(1, 1, 200)
    true = sqrt(float((chances * (1 - chances) / 4).sum())) / 200
    measured, means = [], []
    for _ in range(200):
        grades = rng.binomial(4, chances[:, None], (200, 3))
        noise = measure(grades.tolist())
        assert noise is not None
        assert noise.sd is not None
        measured.append(noise.sd)
        means.append(grades.mean() / 4)
    assert np.mean(measured) == pytest.approx(true, rel=0.01)
    assert np.quantile(measured, [0.025, 0.975]) == pytest.approx([true, true], rel=0.1)
    assert np.std(means) == pytest.approx(true / sqrt(3), rel=0.15)  # the printed mean over three repeats


def test_the_share_of_variance_is_what_the_intraclass_correlation_leaves() -> None:
    noise = measure([list(row) for row in SHROUT_FLEISS], total=1)
    assert noise is not None
    assert noise.variance_share == pytest.approx(1 - 0.1657, abs=1e-3)


def test_pure_chance_is_all_noise_and_a_steady_judge_hardly_any() -> None:
    rng = np.random.default_rng(0)
    chance = measure(rng.integers(0, 5, (4000, 3)).tolist())
    levels = 10 * rng.integers(0, 5, (4000, 1)) + rng.integers(0, 2, (4000, 3))
    steady = measure(levels.tolist(), total=50)
    assert chance is not None
    assert steady is not None
    assert chance.variance_share == pytest.approx(1, abs=0.03)
    assert steady.variance_share == pytest.approx(0.25 / (200 + 0.25), rel=0.1)


def test_what_cannot_be_said_is_none() -> None:
    assert measure([[None, 1]]) == RepeatNoise(2, 0, None, None, None)
    assert measure([[1, 2]]) == RepeatNoise(2, 1, pytest.approx(np.std([0.25, 0.5], ddof=1)), 1.0, None)
    assert measure([[2, 2], [2, 2]]) == RepeatNoise(2, 2, 0.0, 0.0, None)


def test_other_triggers_are_another_verdict_though_as_many_are_named() -> None:
    meter = NoiseMeter("recall")
    meter.add([verdict(1, 2, (True, False)), verdict(1, 2, (False, True))])
    meter.add([verdict(1, 2, (True, False)), verdict(1, 2, (True, False))])
    noise = meter.read()
    assert noise is not None
    assert (noise.differ, noise.sd) == (0.5, 0.0)


def test_an_answers_recall_is_the_mean_over_its_verdicts_that_count() -> None:
    cell = score([[4, 0], [2, None], [None, None]])
    assert cell.overall.value == pytest.approx(0.5)
    assert (cell.overall.n, cell.overall.num_scored) == (3, 2)
    assert dict(cell.statuses) == {"ok": 3, "unparsed": 3}
    assert cell.num_unparsed == 3
    assert cell.noise is not None
    assert (cell.noise.repeats, cell.noise.n) == (2, 1)


def test_bounds_take_every_missing_verdict_as_nothing_or_all() -> None:
    overall = score([[4, 0], [2, None], [None, None]]).overall
    assert overall.bound_low == pytest.approx((0.5 + 0.25 + 0) / 3)
    assert overall.bound_high == pytest.approx((0.5 + 0.75 + 1) / 3)


def test_bounds_are_open_though_every_sample_has_a_verdict() -> None:
    overall = score([[4, 4], [2, None]]).overall
    assert overall.coverage == 1
    assert overall.is_open
    assert not score([[4, 4], [2, 1]]).overall.is_open


@pytest.mark.parametrize("seed", range(20))
def test_recall_lies_within_its_bounds_whatever_is_missing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grades = [[None if rng.random() < 0.4 else int(rng.integers(5)) for _ in range(3)] for _ in range(12)]
    overall = score(grades).overall
    assert overall.value is not None
    assert overall.bound_low - 1e-12 <= overall.value <= overall.bound_high + 1e-12
    missing = sum(grade is None for row in grades for grade in row) / 36
    assert overall.bound_high - overall.bound_low == pytest.approx(missing)
