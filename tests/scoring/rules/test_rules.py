"""The rules that ship: what is right, wrong and unreadable, with each option."""

from __future__ import annotations

import string
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.errors import ScoreError
from eibench_ray.rows.sample import Sample, TargetValue
from eibench_ray.scoring.rules import answer_pattern
from eibench_ray.scoring.rules.choice import ChoiceScorer
from eibench_ray.scoring.rules.exact_match import ExactMatchScorer
from eibench_ray.scoring.rules.includes import IncludesScorer
from eibench_ray.scoring.rules.number import NumberScorer
from eibench_ray.scoring.rules.regex import RegexScorer
from eibench_ray.scoring.rules.token_f1 import TokenF1Scorer
from eibench_ray.scoring.scorer import Scorer

RULES = (ExactMatchScorer(), NumberScorer(), ChoiceScorer(), IncludesScorer(), RegexScorer(), TokenF1Scorer())
CITIES = ("Paris", "London", "New York")


def sample(target: TargetValue, **metadata: Any) -> Sample:
    return Sample("s", {"question": "?"}, target=target, metadata=metadata)


def value(scorer: Scorer, answer: str, target: TargetValue, **metadata: Any) -> float | None:
    """The headline's value; None where nothing could be read."""
    score = scorer.read(sample(target, **metadata), answer, None)
    assert (score.status == "ok") == bool(score.values)
    return score.values.get(scorer.metrics[0].name)


@pytest.mark.parametrize(
    ("scorer", "answer", "target", "expected"),
    [
        (ExactMatchScorer(), "The  Eiffel Tower.", "eiffel tower", 1),
        (ExactMatchScorer(), "in the Eiffel Tower", "eiffel tower", 0),
        (ExactMatchScorer(), "L", ("Super Bowl L", "L"), 1),
        (ExactMatchScorer(), "the", "A", 0),
        (ExactMatchScorer(), "18", 18, 1),
        (ExactMatchScorer(ignore_case=False), "paris", "Paris", 0),
        (ExactMatchScorer(ignore_articles=False), "the Louvre", "Louvre", 0),
        (ExactMatchScorer(ignore_punctuation="none"), "Paris.", "Paris", 0),
        (ExactMatchScorer(), "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}Paris", "Paris", 0),
        (ExactMatchScorer(ignore_punctuation="all"), "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}Paris", "Paris", 1),
        (NumberScorer(), "so 65,960 in all", "65960", 1),
        (NumberScorer(), "9 * 2 = 18", "She makes 18.\n#### 18", 1),
        (NumberScorer(), "18, or 19", 18, 0),
        (NumberScorer(), "$1,000.50", 1000.5, 1),
        (NumberScorer(), "3", ("4", "3"), 1),
        (NumberScorer(), "no idea", "3", None),
        (NumberScorer(take="first"), "18, or 19", 18, 1),
        (NumberScorer(pattern="#### (.*)"), "#### 18\nThat took 3 steps.", 18, 1),
        (NumberScorer(pattern="#### (.*)"), "It is 18.", 18, None),
        (NumberScorer(tolerance=0.05), "104", 100, 1),
        (NumberScorer(decimal_comma=True), "1.000,5", "1000,5", 1),
        (IncludesScorer(), "It is PARIS, I think", "Paris", 1),
        (IncludesScorer(), "It is Rome", ("Paris", "Rome"), 1),
        (IncludesScorer(), "It is Rome", "Paris", 0),
        (IncludesScorer(), "concatenate", "cat", 1),
        (IncludesScorer(ignore_case=False), "PARIS", "Paris", 0),
        (IncludesScorer(whole_words=True), "concatenate", "cat", 0),
        (IncludesScorer(whole_words=True), "a cat.", "cat", 1),
        (RegexScorer(pattern=r"answer: (\w+)"), "Answer: Paris.", "paris", 1),
        (RegexScorer(pattern=r"answer: (\w+)"), "Answer: Rome. Answer: Paris.", "Rome", 0),
        (RegexScorer(pattern=r"answer: (\w+)", take="first"), "Answer: Rome. Answer: Paris.", "Rome", 1),
        (RegexScorer(pattern=r"answer: (\w+)", ignore_case=False), "Answer: Paris.", "Paris", None),
        (RegexScorer(), "the colour", (r"colou?rs?", "paint"), 1),
        (RegexScorer(), "the shade", r"colou?rs?", 0),
        (TokenF1Scorer(), "the cat sat", "cat", 2 / 3),
        (TokenF1Scorer(), "cat cat", "cat", 2 / 3),
        (TokenF1Scorer(), "a dog", ("cat", "the dog"), 1),
        (TokenF1Scorer(), "dog", "cat", 0),
        (ChoiceScorer(), "The answer is (B).", "B", 1),
        (ChoiceScorer(), "The answer is (B).", "(b)", 1),
        (ChoiceScorer(), "The answer is (B).", 1, 1),
        (ChoiceScorer(), "The answer is (B).", 1.0, 1),
        (ChoiceScorer(first_index=1), "The answer is (B).", "2", 1),
        (ChoiceScorer(), "B", ("A", "B"), 1),
        (ChoiceScorer(), "C", "B", 0),
        (ChoiceScorer(), "no idea", "B", None),
        (ChoiceScorer(take="first"), "The answer is A. Some say the answer is B.", "A", 1),
        (ChoiceScorer(pattern="FINAL: (.*)"), "The answer is A. FINAL: (B)", "B", 1),
        (ChoiceScorer(pattern="FINAL: (.*)"), "The answer is B", "B", None),
    ],
)
def test_a_rule_reads_an_answer(scorer: Scorer, answer: str, target: TargetValue, expected: float | None) -> None:
    assert scorer.has_something_to_ask(sample(target))
    assert value(scorer, answer, target) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("choices", [CITIES, "\n".join(CITIES)])
@pytest.mark.parametrize("target", ["B", "london", 1])
def test_the_options_of_a_sample_can_be_answered_in_words(choices: object, target: TargetValue) -> None:
    assert value(ChoiceScorer(), "It is London.", target, choices=choices) == 1
    assert value(ChoiceScorer(), "Paris", target, choices=choices) == 0
    assert value(ChoiceScorer(options="options"), "It is London.", target, options=choices, choices=("x",)) == 1


@pytest.mark.parametrize(
    ("scorer", "target"),
    [
        *((rule, None) for rule in RULES),
        *((rule, " ") for rule in RULES),
        (NumberScorer(), "many"),
        (ChoiceScorer(), "Paris"),
        (ChoiceScorer(), "1"),
        (ChoiceScorer(), 26),
        (ChoiceScorer(), -1),
        (ChoiceScorer(), 0.5),
        (ChoiceScorer(), float("inf")),
        (ChoiceScorer(first_index=1), "0"),
    ],
)
def test_a_target_that_says_nothing_is_none(scorer: Scorer, target: TargetValue) -> None:
    assert not scorer.has_something_to_ask(sample(target))


def test_a_letter_beyond_the_options_is_no_target() -> None:
    assert not ChoiceScorer().has_something_to_ask(sample("D", choices=CITIES))
    assert not ChoiceScorer().has_something_to_ask(sample(3, choices=CITIES))


@pytest.mark.parametrize("scorer", RULES, ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("answer", ["", " \n\t", "\N{NO-BREAK SPACE}"])
def test_an_answer_without_a_word_is_unparsed(scorer: Scorer, answer: str) -> None:
    score = scorer.read(sample(("A", "1")), answer, None)

    assert (score.status, dict(score.values)) == ("unparsed", {})
    assert score.explanation is not None
    assert score.explanation.startswith("the answer has no ")


@given(st.text())
@pytest.mark.parametrize("scorer", RULES, ids=lambda rule: type(rule).__name__)
def test_no_answer_is_too_odd(scorer: Scorer, answer: str) -> None:
    assert value(scorer, answer, ("B", "12")) in {None, *(0.0, 1.0)} or type(scorer) is TokenF1Scorer


@given(st.text(), st.text(min_size=1))
def test_what_includes_finds_was_put_there(before: str, after: str) -> None:
    assert value(IncludesScorer(), f"{before} Paris {after}", "Paris") == 1


WORDS = st.lists(st.sampled_from(string.ascii_lowercase[1:6]), min_size=1, max_size=8)


@given(WORDS, WORDS)
def test_f1_is_that_of_precision_and_recall(said: list[str], target: list[str]) -> None:
    shared = sum(min(said.count(word), target.count(word)) for word in set(said))
    precision, recall = shared / len(said), shared / len(target)
    expected = 2 * precision * recall / (precision + recall) if shared else 0

    assert value(TokenF1Scorer(), " ".join(said), " ".join(target)) == pytest.approx(expected)
    assert (expected == pytest.approx(1)) == (Counter(said) == Counter(target))


@pytest.mark.parametrize("rule", [NumberScorer, ChoiceScorer, RegexScorer])
def test_a_pattern_that_is_none_is_refused_when_it_is_given(rule: type) -> None:
    with pytest.raises(ValueError, match="is no regular expression"):
        rule(pattern="(")


def test_a_tolerance_is_a_share() -> None:
    with pytest.raises(ValueError, match="tolerance is a share of the target"):
        NumberScorer(tolerance=5)


def test_a_catastrophic_pattern_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_pattern, "LIMIT_S", 0.1)
    with pytest.raises(ScoreError, match=r"takes more than 0\.1 s"):
        RegexScorer(pattern="(a|a)*[bc]").read(sample("x"), "a" * 60, None)


@pytest.mark.parametrize(
    ("scorer", "answer", "details"),
    [
        (NumberScorer(), "so 65,960", {"number": "65,960"}),
        (ChoiceScorer(), "(B)", {"choice": "B"}),
        (IncludesScorer(), "1 or B", {"found": ["B", "1"]}),
        (RegexScorer(pattern="[A-Z]"), "1 or B", {"taken": "B"}),
    ],
)
def test_the_details_say_what_was_read(scorer: Scorer, answer: str, details: dict[str, object]) -> None:
    assert scorer.read(sample(("B", "1")), answer, None).details == details
