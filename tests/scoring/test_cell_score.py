import subprocess
import sys
from collections.abc import Sequence
from dataclasses import astuple, replace

import numpy as np
import pytest
from scored_rows import score_rows

from eibench_ray.benchmarks.eibench.parsed_verdict import RECALL
from eibench_ray.errors import ConfigError, ScoreError
from eibench_ray.rows.sample import Media, Sample
from eibench_ray.scoring.cell_score import CellScore
from eibench_ray.scoring.sample_groups import MOST_GROUPS
from eibench_ray.scoring.scorer import Metric, Score, ScoreStatus


def sample(name: str, image: str | None = None, emotion: str = "happy", digest: str | None = None) -> Sample:
    return Sample(
        name, {}, (Media(image or "", digest or ""),) if image or digest else (), ("x",), {"emotion": emotion}
    )


def verdict(name: str, correct: int, total: int = 4) -> Score:
    return Score(name, {"recall": correct / total})


def failure(name: str, status: str) -> Score:
    return Score(name, status=status)


def score(samples: Sequence[Sample], *verdicts: Score, confidence: float = 0.95) -> CellScore:
    by_id = {verdict.sample_id: verdict for verdict in verdicts}
    rows = [(sample, [by_id.get(sample.sample_id)]) for sample in samples]
    return score_rows(rows, [RECALL], confidence, ["emotion"])


def test_recall_is_the_mean_over_samples_not_over_triggers() -> None:
    cell = score([sample("a"), sample("b")], verdict("a", 1, 2), verdict("b", 10, 10))
    assert cell.overall.value == 0.75
    assert (cell.overall.n, cell.overall.num_scored, cell.overall.coverage) == (2, 2, 1.0)
    assert (cell.overall.bound_low, cell.overall.bound_high) == (0.75, 0.75)


def test_failed_verdicts_lower_the_coverage_and_open_the_bounds() -> None:
    wrong = failure("b", "wrong_total")
    samples = [sample(name) for name in "abcd"]
    cell = score(samples, verdict("a", 2), wrong, failure("c", ScoreStatus.NO_ANSWER))
    assert (cell.overall.value, cell.overall.coverage) == (0.5, 0.25)
    assert (cell.overall.bound_low, cell.overall.bound_high) == (0.125, 0.875)
    assert dict(cell.statuses) == {"ok": 1, "wrong_total": 1, "no_answer": 1, "missing": 1}
    assert cell.num_unparsed == 1


def test_clusters_are_the_pictures_of_the_samples_that_have_a_score() -> None:
    samples = [*(sample(name, digest="one") for name in "ab"), sample("c", digest="two"), sample("d", digest="three")]
    cell = score(samples, verdict("a", 2), verdict("b", 1), verdict("c", 0))
    assert (cell.overall.n, cell.overall.num_scored, cell.overall.num_clusters) == (4, 3, 2)
    figures = cell.overall.figures
    assert [figures[name] for name in ("value", "n", "scored", "clusters", "coverage")] == [0.25, 4, 3, 2, 0.75]
    assert score(samples).overall.num_clusters == 0


def test_unreadable_replies_are_those_that_came_and_could_not_be_scored() -> None:
    statuses = [*(status for status in ScoreStatus if status is not ScoreStatus.OK), "wrong_total", "out_of_range"]
    cell = score([sample(s) for s in statuses], *(failure(s, s) for s in statuses))
    assert cell.num_unparsed == 3
    assert sum(cell.statuses.values()) == len(statuses)
    assert all(type(status) is str for status in cell.statuses)


def test_cell_without_verdicts_has_bounds_but_no_recall() -> None:
    overall = score([sample("a"), sample("b")]).overall
    assert (overall.value, overall.ci_low, overall.ci_high, overall.coverage) == (None, None, None, 0.0)
    assert (overall.bound_low, overall.bound_high) == (0.0, 1.0)


def test_cell_without_samples_is_an_error() -> None:
    with pytest.raises(ScoreError, match="without samples"):
        score([])


def test_emotions_are_scored_apart_in_alphabetical_order() -> None:
    samples = [sample("a", emotion="sad"), sample("b", emotion="angry"), sample("c", emotion="sad")]
    cell = score(samples, verdict("a", 4), verdict("b", 1), verdict("c", 2))
    assert {emotion: (part.n, part.value) for emotion, part in cell.groups["emotion"].items()} == {
        "angry": (1, 0.25),
        "sad": (2, 0.75),
    }
    assert list(cell.groups["emotion"]) == ["angry", "sad"]


def test_one_cluster_has_a_value_and_no_interval() -> None:
    of_one_picture = [sample(name, "one.png") for name in "abc"]
    for samples, correct in (([sample("a")], [1]), (of_one_picture, [0, 1, 4])):
        overall = score(samples, *(verdict(s.sample_id, c) for s, c in zip(samples, correct, strict=True))).overall
        assert overall.value == pytest.approx(sum(correct) / 4 / len(correct))
        assert (overall.num_clusters, overall.ci_low, overall.ci_high) == (1, None, None)


@pytest.mark.parametrize("correct", [0, 1, 4])
def test_equal_values_have_an_interval_with_a_width(correct: int) -> None:
    samples = [sample(str(number)) for number in range(24)]
    overall = score(samples, *(verdict(s.sample_id, correct) for s in samples)).overall
    assert overall.value == correct / 4
    assert overall.ci_low is not None
    assert overall.ci_high is not None
    assert 0 <= overall.ci_low <= correct / 4 <= overall.ci_high <= 1
    assert overall.ci_high - overall.ci_low > 0.1


def test_values_beyond_0_and_1_and_metrics_without_a_range_have_students_interval() -> None:
    """Recall that is not clamped, and a count without a highest value."""
    from scipy import stats  # 0.3 s of each process that collects the tests

    values = [0.5, 1.5, 0.25, 1.0, 0.75]
    expected = stats.t(4, np.mean(values), stats.sem(values)).interval(0.95)
    for metric in (RECALL, Metric("sentences", high=None)):
        rows = [(sample(str(n)), [Score(str(n), {metric.name: value})]) for n, value in enumerate(values)]
        overall = score_rows(rows, [metric], 0.95).overall
        assert (overall.ci_low, overall.ci_high) == pytest.approx(expected)


def test_order_of_the_samples_does_not_matter() -> None:
    samples = [sample(f"s{i}", f"{i // 2}.png") for i in range(40)]
    verdicts = [verdict(f"s{i}", i * i % 5) for i in range(40)]
    overall, turned = score(samples, *verdicts).overall, score(samples[::-1], *verdicts).overall
    assert overall.estimate is not None
    assert turned.estimate is not None
    assert astuple(overall.estimate) == pytest.approx(astuple(turned.estimate))
    assert astuple(replace(overall, estimate=None)) == pytest.approx(astuple(replace(turned, estimate=None)))
    assert overall.ci_low is not None
    assert overall.ci_high is not None
    assert overall.value is not None
    assert 0 <= overall.ci_low < overall.value < overall.ci_high <= 1


def test_higher_confidence_widens_the_interval() -> None:
    samples = [sample(f"s{i}") for i in range(30)]
    verdicts = [verdict(f"s{i}", i % 5) for i in range(30)]
    assert width(score(samples, *verdicts, confidence=0.5)) < width(score(samples, *verdicts, confidence=0.99))


def test_samples_of_one_picture_count_together() -> None:
    verdicts = [verdict(f"s{i}", 4 * (i // 4 % 2)) for i in range(40)]  # fours of equal values
    alone = [sample(f"s{i}") for i in range(40)]
    by_path = [sample(f"s{i}", f"{i // 4}.png") for i in range(40)]
    by_digest = [sample(f"s{i}", f"{i}.png", digest=f"d{i // 4}") for i in range(40)]
    assert score(by_path, *verdicts) == score(by_digest, *verdicts)
    assert width(score(by_path, *verdicts)) > 1.5 * width(score(alone, *verdicts))  # in theory 2: clusters of 4


def test_95_percent_interval_covers_the_truth_and_would_not_without_clusters() -> None:
    """200 synthetic datasets of 60 pictures with 1 to 6 questions; a picture's questions are alike in difficulty.

    The share that covers has a standard error of 0.015 at 0.95.
    """
    rng = np.random.default_rng(7)
    clustered, unclustered = 0, 0
    for _ in range(200):
        samples, alone, verdicts = [], [], []
        for image in range(60):
            difficulty = rng.beta(1, 2)  # the true recall is its mean, 1/3
            for question in range(rng.integers(1, 7)):
                name = f"{image}-{question}"
                samples.append(sample(name, f"{image}.png"))
                alone.append(sample(name))
                verdicts.append(verdict(name, int(rng.binomial(4, difficulty))))
        clustered += covers(score(samples, *verdicts), 1 / 3)
        unclustered += covers(score(alone, *verdicts), 1 / 3)
    assert 0.90 <= clustered / 200 <= 0.985
    assert unclustered / 200 < 0.85


def test_modules_that_score_load_no_numerics_before_they_need_them() -> None:
    script = (
        "import sys, eibench_ray.scoring.reply_scoring, eibench_ray.scoring.cell_score, eibench_ray.report.leaderboard;"
        "print(*{'numpy', 'scipy', 'polars', 'rich', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def width(cell: CellScore) -> float:
    assert cell.overall.ci_low is not None
    assert cell.overall.ci_high is not None
    return cell.overall.ci_high - cell.overall.ci_low


def covers(cell: CellScore, truth: float) -> bool:
    assert cell.overall.ci_low is not None
    assert cell.overall.ci_high is not None
    return cell.overall.ci_low <= truth <= cell.overall.ci_high


def test_the_figures_stay_as_they_are_to_the_digit() -> None:
    """Interleaved pictures, three emotions, verdicts that do not count: the figures of a reference run."""
    samples, verdicts = [], []
    for number in range(60):
        name, picture = f"s{number}", None if number % 7 == 0 else f"picture {number * 5 % 23}"
        samples.append(sample(name, digest=picture, emotion=("happy", "angry", "sadness")[number % 3]))
        if number % 11:
            verdicts.append(verdict(name, number * 7 % 4, 3))
    cell = score(samples, *verdicts)
    found = [
        figure for r in (cell.overall, *cell.groups["emotion"].values()) for figure in (r.value, r.ci_low, r.ci_high)
    ]
    assert found == pytest.approx(
        [
            *(0.5123456790123457, 0.426721478332431, 0.5972514183578305),
            *(0.5, 0.31446030356808996, 0.6855396964319098),
            *(0.5, 0.32800869294136736, 0.6719913070586326),
            *(0.537037037037037, 0.3541006506699278, 0.710518274928728),
        ],
        rel=1e-14,
    )


def test_groups_are_numbers_in_order_booleans_and_texts_and_never_too_many() -> None:
    levels = (10, 9, 2.5, True, "b", None, "")
    samples = [Sample(f"s{n}", metadata={"level": level, "id": n}) for n, level in enumerate(levels)]
    rows = [(one, [Score(one.sample_id, {"recall": 0.5})]) for one in samples]
    cell = score_rows(rows, [RECALL], 0.95, ["level"])
    assert {name: found.n for name, found in cell.groups["level"].items()} == {
        "2.5": 1,
        "9": 1,
        "10": 1,
        "b": 1,
        "true": 1,
    }
    assert list(cell.groups["level"]) == ["2.5", "9", "10", "b", "true"]
    with pytest.raises(ConfigError, match="column 'tags' holds lists, by which samples cannot be grouped"):
        score_rows([(Sample("s", metadata={"tags": ("a",)}), [None])], [RECALL], 0.95, ["tags"])
    many = [(Sample(f"s{n}", metadata={"id": n}), [None]) for n in range(MOST_GROUPS + 1)]
    with pytest.raises(ConfigError, match=f"more than {MOST_GROUPS} values in column 'id': group by one with fewer"):
        score_rows(many, [RECALL], 0.95, ["id"])


def test_an_interval_at_another_confidence_is_the_one_of_a_cell_with_that_confidence() -> None:
    samples = [sample(name) for name in "abcd"]
    verdicts = [verdict("a", 1), verdict("b", 4), verdict("c", 2), verdict("d", 3)]
    wide, narrow = (score(samples, *verdicts, confidence=confidence).overall for confidence in (0.99, 0.9))
    found = wide.interval_at(0.9)
    assert found is not None
    assert (found.low, found.high) == (narrow.ci_low, narrow.ci_high)
    assert score(samples).overall.interval_at(0.9) is None


def test_a_cells_headline_is_its_first_metric() -> None:
    length = Metric("length", format=".0f", high=None)
    cell = score_rows(
        [(sample("a"), [Score("a", {"length": 7.0, "recall": 0.5})])], [length, RECALL], 0.95, ["emotion"]
    )
    assert (cell.metric, cell.overall.value, cell.groups["emotion"]["happy"].value) == (length, 7.0, 7.0)
    assert [one.metric for one in cell.metrics] == [length, RECALL]
