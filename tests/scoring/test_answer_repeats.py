"""Answers that were asked for repeatedly: pass@k, majority@k, and the share of the variance that is the model's own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import pytest
from scored_rows import score_rows

from eibench_ray.rows.sample import Media, Sample
from eibench_ray.scoring.accuracy import ACCURACY
from eibench_ray.scoring.answer_repeats import by_answer, pass_at_k, repeat_figures
from eibench_ray.scoring.cell_score import CellScore
from eibench_ray.scoring.cluster_mean import estimate_mean, proportion_interval
from eibench_ray.scoring.rules.choice import ChoiceScorer
from eibench_ray.scoring.rules.exact_match import ExactMatchScorer
from eibench_ray.scoring.rules.includes import IncludesScorer
from eibench_ray.scoring.rules.number import NumberScorer
from eibench_ray.scoring.rules.regex import RegexScorer
from eibench_ray.scoring.scorer import Metric, Score, Scorer, ScoreStatus

CHOICES = Sample("s", {"choices": "red\ngreen\nblue"}, target="B")


def verdicts(*values: float | None) -> list[Score | None]:
    return [None if value is None else Score("s", {"accuracy": value}) for value in values]


def letters(said: str) -> list[Score | None]:
    """Scores of answers that choose these letters, B being right; `?` chooses none and is wrong."""
    return [
        Score("s", {"accuracy": 0.0}, ScoreStatus.UNPARSED)
        if letter == "?"
        else Score("s", {"accuracy": float(letter == "B")}, extracted=letter)
        for letter in said
    ]


def majority(answers: Sequence[Score | None]) -> float | None:
    return repeat_figures(ACCURACY, len(answers))[-1].read(answers)


def score(rows: Sequence[Sequence[Score | None]], num_answers: int, pictures: Sequence[int] | None = None) -> CellScore:
    pictures = range(len(rows)) if pictures is None else pictures
    samples = [Sample(f"s{number}", {}, (Media(f"{picture}.png"),)) for number, picture in enumerate(pictures)]
    return score_rows(list(zip(samples, rows, strict=True)), [ACCURACY], 0.95, num_answers=num_answers)


# n, c, k and the value by hand: 1 - C(n - c, k) / C(n, k).
@pytest.mark.parametrize(
    ("n", "c", "k", "value"),
    [(5, 2, 2, 0.7), (5, 2, 1, 0.4), (5, 0, 5, 0.0), (5, 5, 1, 1.0), (3, 1, 3, 1.0), (10, 3, 5, 1 - 21 / 252)],
)
def test_pass_at_k_is_as_by_hand(n: int, c: int, k: int, value: float) -> None:
    assert pass_at_k(n, c, k) == pytest.approx(value)


@pytest.mark.parametrize(("n", "c", "k"), [(6, 2, 3), (7, 3, 2), (8, 1, 4)])
def test_pass_at_k_is_the_share_of_all_draws_with_a_right_one(n: int, c: int, k: int) -> None:
    draws = list(combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize(("n", "c", "k"), [(200, 7, 10), (100, 1, 100), (200, 150, 100)])
def test_pass_at_k_is_the_product_that_was_published(n: int, c: int, k: int) -> None:
    """Chen et al. (2021), figure 3: 1 - prod(1 - k / arange(n - c + 1, n + 1)), and 1 where n - c < k."""
    published = 1.0 if n - c < k else 1 - float(np.prod(1 - k / np.arange(n - c + 1, n + 1)))
    assert pass_at_k(n, c, k) == pytest.approx(published)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.83])
def test_pass_at_k_has_no_bias(share: float) -> None:
    """Its mean over all that five answers can be is the chance itself, unlike 1 - (1 - c / n)^k."""
    mean = naive = 0.0
    for answers in product([True, False], repeat=5):
        right = sum(answers)
        chance = share**right * (1 - share) ** (5 - right)
        mean += chance * pass_at_k(5, right, 3)
        naive += chance * (1 - (1 - right / 5) ** 3)
    assert mean == pytest.approx(1 - (1 - share) ** 3)
    assert naive < mean - 0.001


def test_figures_are_of_powers_of_two_and_of_all_answers() -> None:
    def names(number: int) -> list[str]:
        return [figure.metric.name for figure in repeat_figures(ACCURACY, number)]

    assert names(1) == []
    assert names(2) == ["pass@2", "majority@2"]
    assert names(5) == ["pass@2", "pass@4", "pass@5", "majority@5"]
    assert names(8) == ["pass@2", "pass@4", "pass@8", "majority@8"]
    assert repeat_figures(Metric("recall"), 5) == []


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("BBACC", 0.5),  # two letters have most votes, one is right
        ("BBACD", 1.0),  # most answers are wrong, but no wrong one is said as often
        ("AABCD", 0.0),
        ("B????", 1.0),  # what says nothing has no vote
        ("?????", 0.0),
        ("ABCD", 0.25),
    ],
)
def test_what_most_answers_say_is_the_majoritys(said: str, value: float) -> None:
    assert majority(letters(said)) == value


@pytest.mark.parametrize(
    ("values", "value"), [((1, 1, 0), 1.0), ((1, 0, 0), 0.0), ((1, 0), 0.5), ((1, 1, None), None), ((None, None), None)]
)
def test_verdicts_vote_where_nothing_is_extracted(values: tuple[float | None, ...], value: float | None) -> None:
    assert majority(verdicts(*values)) == value


@pytest.mark.parametrize(
    ("scorer", "sample", "same"),
    [
        (ChoiceScorer(), CHOICES, ("The answer is (B).", "B", "green")),
        (NumberScorer(), Sample("s", target=1000), ("So 1,000", "= 1000.0", "1000")),
        (NumberScorer(), Sample("s", target=2000), ("So 1,000", "= 1e3")),
        (RegexScorer(pattern="is (.+)"), Sample("s", target="red"), ("It is Red", "is red ")),
        (ExactMatchScorer(), Sample("s", target="Paris"), ("The Louvre.", "louvre")),
    ],
)
def test_rules_extract_equal_texts_from_equal_answers(scorer: Scorer, sample: Sample, same: tuple[str, ...]) -> None:
    found = {scorer.read(sample, answer, None).extracted for answer in same}
    assert len(found) == 1
    assert found != {None}


def test_a_rule_that_extracts_nothing_says_none() -> None:
    assert IncludesScorer().read(Sample("s", target="red"), "a red one", None).extracted is None


def test_what_belongs_to_an_answer_stands_together() -> None:
    assert by_answer("aabbcc", 3) == ["aa", "bb", "cc"]
    assert by_answer((), 2) == [(), ()]


def test_a_cell_has_the_mean_over_repeats_and_the_figures_of_repeats_beside_it() -> None:
    cell = score([verdicts(1, 0, 0, 1, 0), verdicts(1, 1, 1, 1, 1)], 5)
    assert {one.metric.name: one.overall.value for one in cell.metrics} == pytest.approx(
        {"accuracy": 0.7, "pass@2": 0.85, "pass@4": 1.0, "pass@5": 1.0, "majority@5": 0.5}
    )
    assert cell.overall.n == 2
    assert cell.statuses == {"ok": 10}
    assert all(one.overall.ci_low is not None for one in cell.metrics)
    assert cell.noise is None


def test_the_interval_is_that_of_all_answers_clustered_by_picture() -> None:
    rng = np.random.default_rng(3)
    right, pictures = rng.random((40, 4)) < 0.6, np.arange(40) // 2
    cell = score([verdicts(*map(float, row)) for row in right], 4, pictures.tolist())
    flat = estimate_mean(right.astype(float).ravel(), np.repeat(pictures, 4))
    expected = proportion_interval(flat, 0.95)
    assert expected is not None
    assert (cell.overall.ci_low, cell.overall.ci_high) == pytest.approx((expected.low, expected.high))
    assert cell.overall.num_clusters == 20


def test_a_missing_answer_costs_only_the_figures_that_need_it() -> None:
    cell = score([verdicts(1, 0, None), verdicts(1, 1, 1)], 3)
    found = {one.metric.name: one.overall for one in cell.metrics}
    assert (found["accuracy"].coverage, found["pass@2"].coverage) == (1.0, 1.0)
    assert (found["accuracy"].bound_low, found["accuracy"].bound_high) == pytest.approx((4 / 6, 5 / 6))
    assert (found["pass@3"].coverage, found["majority@3"].coverage) == (0.5, 0.5)
    assert (found["majority@3"].bound_low, found["majority@3"].bound_high) == (0.5, 1.0)


def test_an_answer_is_right_where_most_verdicts_of_a_judge_that_repeats_say_so() -> None:
    cell = score([verdicts(1, 1, 0, 0, 0, 1), verdicts(0, 0, 0, 0, 0, 0)], 2)
    found = {one.metric.name: one.overall.value for one in cell.metrics}
    assert found == pytest.approx({"accuracy": 0.25, "pass@2": 0.5, "majority@2": 0.25})
    assert cell.noise is not None
    assert (cell.noise.repeats, cell.noise.n) == (3, 4)  # four answers, three verdicts on each
    assert cell.model_noise is not None
    assert (cell.model_noise.repeats, cell.model_noise.n) == (2, 2)


@pytest.mark.parametrize(("between", "within"), [(1.0, 1.0), (0.5, 2.0), (2.0, 0.25)])
def test_the_models_own_share_of_the_variance_is_found(between: float, within: float) -> None:
    rng = np.random.default_rng(11)
    truth = within / (within + between)
    values = rng.normal(0, between**0.5, (4000, 1)) + rng.normal(0, within**0.5, (4000, 5))
    rows = [
        (Sample(f"s{row}"), [Score("s", {"grade": value}) for value in of_row]) for row, of_row in enumerate(values)
    ]
    found = score_rows(rows, [Metric("grade", low=None, high=None)], 0.95, num_answers=5).model_noise
    assert found is not None
    assert found.variance_share == pytest.approx(truth, abs=0.02)
    assert found.sd == pytest.approx((within / 4000) ** 0.5, rel=0.03)


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_right_and_wrong_have_the_share_that_their_chances_give(spread: float) -> None:
    """Samples whose chance is 0.5 +- spread: within 0.25 - spread^2 of a variance of 0.25."""
    rng = np.random.default_rng(5)
    chances = 0.5 + spread * rng.choice([-1, 1], 3000)
    right = rng.random((3000, 6)) < chances[:, None]
    found = score([verdicts(*map(float, row)) for row in right], 6).model_noise
    assert found is not None
    assert found.variance_share == pytest.approx(1 - spread**2 / 0.25, abs=0.02)
