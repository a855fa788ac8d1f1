"""Tests of `eibench_ray/scoring/rules/extracted_match.py`."""

import json
from pathlib import Path

import pytest

from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.rules.extracted_match import ExtractedMatchScorer
from eibench_ray.scoring.scorer import ScoreStatus

GSM8K = Path(__file__).parents[4] / "shared" / "benchmarks" / "gsm8k" / "example_model_solutions.jsonl"
RIGHT = {"6b_finetuning": 286, "6b_verification": 515, "175b_finetuning": 458, "175b_verification": 742}


@pytest.mark.parametrize(
    ("scorer", "answer", "is_right"),
    [
        (ExtractedMatchScorer(), " Paris ", True),
        (ExtractedMatchScorer(), "paris", False),
        (ExtractedMatchScorer(ignore_case=True), "paris", True),
        (ExtractedMatchScorer(ignore_punctuation=True), "Pa-ris.", True),
        (ExtractedMatchScorer(remove=("[0-9]",)), "P4aris", True),
        (ExtractedMatchScorer(pattern=r"is (\w+)"), "It is Paris, which is Rome", True),
        (ExtractedMatchScorer(pattern=r"is (\w+)", take="last"), "It is Paris, which is Rome", False),
    ],
)
def test_what_is_taken_and_cleaned_is_compared(scorer: ExtractedMatchScorer, answer: str, is_right: bool) -> None:
    assert scorer.read(Sample("a", target="Paris"), answer, None).values == {"accuracy": float(is_right)}


def test_an_answer_that_the_pattern_does_not_match_has_nothing_to_read() -> None:
    score = ExtractedMatchScorer(pattern="#(.*)").read(Sample("a", target="Paris"), "Paris", None)
    assert score.status == ScoreStatus.UNPARSED


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="is no regular expression"):
        ExtractedMatchScorer(remove=("(",))


@pytest.mark.skipif(not GSM8K.exists(), reason="GSM8K's published solutions are not beside the checkout")
def test_gsm8ks_published_solutions_get_their_published_verdicts() -> None:
    scorer = ExtractedMatchScorer(r"A: (\-?[0-9.,]+)", "first", (",", r"\$", "(?s).*A: "), ignore_case=True)
    right = dict.fromkeys(RIGHT, 0)
    for line in GSM8K.read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        sample = Sample("a", target=said["ground_truth"])
        for name in RIGHT:
            is_right = scorer.read(sample, said[name]["solution"], None).values.get("accuracy") == 1.0
            assert is_right == said[name]["is_correct"]
            right[name] += is_right
    assert right == RIGHT


@pytest.mark.parametrize(("target", "is_asked"), [("Paris", True), (("", "x"), True), (None, False), (" ", False)])
def test_a_sample_without_a_target_has_nothing_to_compare_with(
    target: str | tuple[str, ...] | None, is_asked: bool
) -> None:
    assert ExtractedMatchScorer().has_something_to_ask(Sample("s", {}, target=target)) is is_asked
