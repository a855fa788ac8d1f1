"""Examples of a prompt: which are shown to a sample, and as what."""

from __future__ import annotations

import pytest

from eibench_ray.plan.example_set import ExampleSet
from eibench_ray.rows.sample import Media, Sample


def sample(name: str, question: str, *, media: tuple[Media, ...] = ()) -> Sample:
    return Sample(name, {"question": question}, media, target="yes", metadata={"level": 2})


def test_the_first_ones_that_are_not_the_sample_itself_are_shown() -> None:
    shots = ExampleSet(2, (sample("a", "why?"), sample("b", "who?"), sample("c", "where?"), sample("d", "when?")))
    assert [one["id"] for one in shots.shown_to(sample("x", "what?"))] == ["a", "b"]
    assert [one["id"] for one in shots.shown_to(sample("b", "what?"))] == ["a", "c"]
    assert [one["id"] for one in shots.shown_to(sample("x", "why?"))] == ["b", "c"], "the same question is no example"


def test_the_same_question_about_another_picture_is_an_example() -> None:
    shots = ExampleSet(1, (sample("a", "why?", media=(Media("a.png"),)),))
    assert [one["id"] for one in shots.shown_to(sample("x", "why?"))] == ["a"]


def test_exactly_enough_examples_are_enough_and_one_fewer_is_refused() -> None:
    assert len(ExampleSet(1, (sample("a", "why?"),)).shown_to(sample("x", "who?"))) == 1
    with pytest.raises(ValueError, match="it shows 1 examples, and 0 are not this very sample"):
        ExampleSet(1, (sample("a", "why?"),)).shown_to(sample("a", "who?"))


def test_an_example_reads_as_a_sample_does() -> None:
    [one] = ExampleSet(1, (sample("a", "why?"),)).shown_to(sample("x", "who?"))
    assert one == {"level": 2, "question": "why?", "id": "a", "target": "yes", "targets": ("yes",)}
    [bare] = ExampleSet(1, (Sample("a", {"question": "why?"}),)).shown_to(sample("x", "who?"))
    assert "target" not in bare
