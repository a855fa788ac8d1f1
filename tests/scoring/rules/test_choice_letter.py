"""The letter of a reply: as models write it, and none where they do not say."""

from __future__ import annotations

import time

import pytest

from eibench_ray.scoring.rules.choice_letter import find_letter

CITIES = ("Paris", "London", "New York", "York")


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        (" B. ", "B"),
        ("(B)", "B"),
        ("**B**", "B"),
        ("B)", "B"),
        ("Option B", "B"),
        ("$\\boxed{B}$", "B"),
        ("So it is \\boxed{\\text{C}}.", "C"),
        ("The answer is (B)", "B"),
        ("The answer is B. BECAUSE: A food web models", "B"),
        ("The correct answer is **b**.", "B"),
        ("The answer is option D", "D"),
        ("The correct answer to this question is: C", "C"),
        ("the correct option is\n\nA", "A"),
        ("Answer: E", "E"),
        ("**Answer:** C\n\nA is wrong since ...", "C"),
        ("**Answer**: C", "C"),
        ("Answer - C", "C"),
        ("A: B", "B"),
        ("I choose B", "B"),
        ("The answer is not A, the answer is B.", "B"),
        ("The answer is A. No, wait: the answer is C.", "C"),
        ("B. Paris", "B"),
        ("(b) because it is", "B"),
        ("B\n\nParis is the capital.", "B"),
        ("Let me think. A is too small.\n\n**D**", "D"),
        ("Let me think. A is too small.\n\n**D**\n\n \n", "D"),
        ("It must be B.", "B"),
        ("A dog is no cat, so B it is", "B"),
        ("I think it is C", "C"),
        ("", None),
        ("   \n", None),
        ("I do not know.", None),
        ("A dog", None),
        ("The answer is a dog", None),
        ("The answer is I think unclear", None),
        ("A or B", None),
        ("A. Paris\nB. London", None),
        ("C++ is a language, and A/B a test", None),
        ("Vielleicht größer", None),
        ("答案是 B", "B"),
        ("\ud800", None),
    ],
)
def test_a_letter_is_read_as_it_is_written(reply: str, letter: str | None) -> None:
    assert find_letter(reply) == letter


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("Paris", "A"),
        ("It is london!", "B"),
        ("New York", "C"),
        ("York", "D"),
        ("The answer is Paris, not London.", "A"),
        ("the answer is New York", "C"),
        ("London or Paris", None),
        ("Rome", None),
        ("The answer is B, Paris", "B"),
        ("Plan H", None),
        ("The answer is A York", "D"),
        ("The answer is A, Paris", "A"),
        ("The answer is A", "A"),
        ("", None),
    ],
)
def test_an_options_text_stands_for_its_letter(reply: str, letter: str | None) -> None:
    assert find_letter(reply, CITIES) == letter


def test_the_first_statement_can_be_taken() -> None:
    assert find_letter("The answer is A. Others say the answer is C.", first=True) == "A"


@pytest.mark.parametrize(
    "part", ["answer ", "A ", "( ", "\\boxed{", "*", "is A. ", "answer is ", "B\n", "answer is the option "]
)
def test_a_long_reply_is_read_at_once(part: str) -> None:
    began = time.process_time()

    find_letter(part * (200_000 // len(part)), CITIES)

    assert time.process_time() - began < 2
