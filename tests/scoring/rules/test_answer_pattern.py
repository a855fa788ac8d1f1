"""Users' patterns: what they take, and that none takes for ever."""

from __future__ import annotations

import time

import pytest

from eibench_ray.errors import ScoreError
from eibench_ray.scoring.rules.answer_pattern import LIMIT_S, compile_pattern, find_taken


@pytest.mark.parametrize(
    ("pattern", "text", "taken"),
    [
        (r"#### (\d+)", "#### 12\n#### 13", ["12", "13"]),
        (r"\d+", "1 of 2", ["1", "2"]),
        (r"(?:answer is (\w)|option (\w))", "option C", ["C"]),
        (r"x", "", []),
    ],
)
def test_a_pattern_takes_its_group_or_all_of_its_match(pattern: str, text: str, taken: list[str]) -> None:
    assert find_taken(pattern, text) == taken


def test_case_can_be_ignored() -> None:
    assert find_taken("ANSWER: (.)", "answer: b", ignore_case=True) == ["b"]
    assert find_taken("ANSWER: (.)", "answer: b") == []


def test_what_is_no_pattern_is_said_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"'\(b' is no regular expression \(missing \)"):
        compile_pattern("(b")


def test_a_catastrophic_pattern_ends_with_what_to_do() -> None:
    began = time.process_time()

    with pytest.raises(ScoreError, match=r"takes more than 1 s on a text of 60 characters that begins 'aaaa"):
        find_taken("(a|a)*[bc]", "a" * 60)

    assert time.process_time() - began < 5 * LIMIT_S
