"""Choices of a sample, and which of them is the likeliest."""

from __future__ import annotations

import pytest

from eibench_ray.rows.choices import AskedChoices, ChoiceRule, CompareBy, from_text, read_choices, to_text
from eibench_ray.rows.sample import Sample


def sample(choices: tuple[str, ...] | str | None) -> Sample:
    return Sample("a", {"question": "?"}, metadata={"choices": choices})


@pytest.mark.parametrize(
    ("by", "likeliest"),
    # -4 over 12 characters and 4 tokens; -3 over 3 and 1; -3.5 over 7 and 5.
    [("sum", "dog"), ("character", "a brown bear"), ("token", "the cat")],
)
def test_choices_are_compared_as_a_whole_or_by_their_length(by: CompareBy, likeliest: str) -> None:
    asked = AskedChoices(("a brown bear", "dog", "the cat"), by=by)
    found = asked.compare([[-1.0] * 4, [-3.0], [-0.7] * 5])
    assert asked.likeliest(found) == likeliest
    assert from_text(to_text(found)) == found


def test_of_equal_choices_the_first_is_the_likeliest() -> None:
    asked = AskedChoices(("b", "a"))
    assert asked.likeliest(asked.compare([[-1.0], [-1.0]])) == "b"


def test_choices_are_a_list_or_lines() -> None:
    assert read_choices(sample(("a", "b")), "choices") == ("a", "b")
    assert read_choices(sample(" a\n\nb c "), "choices") == ("a", "b c")
    assert read_choices(sample(None), "choices") == ()
    assert read_choices(sample(("a",)), "others") == ()


def test_letters_stand_for_texts() -> None:
    rule = ChoiceRule(form="letters", prefix="(", by="token")
    assert rule.read(sample(("yes", "no", "maybe"))) == AskedChoices(("A", "B", "C"), "(", "token")
    assert ChoiceRule().read(sample(("yes", "no"))) == AskedChoices(("yes", "no"))


@pytest.mark.parametrize(
    ("choices", "told"),
    [(None, "lists no choices"), (("a", " "), "lists no choices"), (("a",) * 27, "more than there are letters")],
)
def test_a_sample_without_usable_choices_is_refused(choices: tuple[str, ...] | None, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ChoiceRule(form="letters").read(sample(choices))
