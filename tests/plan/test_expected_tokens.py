"""Tokens of prompts and replies before anything has run: to the token, so that estimates stay what they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from eibench_ray.engines.echo import EchoSection
from eibench_ray.engines.registry import engine_spec
from eibench_ray.plan.engine_traits import EngineTraits, Expectation
from eibench_ray.plan.expected_tokens import expected_prompt_tokens, expected_tokens, most_tokens
from eibench_ray.plan.fanout import Item, ItemAnswer, part_word, read_parts, words_of
from eibench_ray.plan.graph import DatasetSpec, EngineSpec, Plan, Prompt, Step
from eibench_ray.rows.request import Sampling

FRAME = 8  # tokens around the messages


def engine(expect: Expectation | None = None, **traits: Any) -> EngineSpec:
    spec = engine_spec("e", "eye", EchoSection(kind="echo"), "cpu", None, 0, expect or Expectation())
    return replace(spec, traits=EngineTraits(max_num_seqs=4, **traits))


def step(name: str, user: str, inputs: Mapping[str, str] | None = None, **more: Any) -> Step:
    image = more.pop("image", False)
    prompt = Prompt(None, user, image=image, is_official=False)
    return Step(name, name, "e", prompt, Sampling(0.0, 1.0, 100), 0, "faces", inputs or {}, **more)


def plan_of(*steps: Step, most_media: int = 1, spec: EngineSpec | None = None) -> Plan:
    faces = DatasetSpec("faces", "faces", None, 5, is_prepared=True, most_media=most_media)
    return Plan("test", {"e": spec or engine()}, {"faces": faces}, {one.id: one for one in steps}, ())


def reads(user: str, *others: Step, **more: Any) -> float:
    """The tokens of a prompt beside its frame and its own text."""
    own = step("own", user, {one.name: one.id for one in others}, **more)
    return expected_prompt_tokens(plan_of(*others, own), own) - FRAME - -(-len(user) // 4)


@pytest.mark.parametrize(
    ("expect", "traits", "expected", "most"),
    [
        (Expectation(), {}, 40.0, 100),
        (Expectation(), {"thinking_tokens": 50}, 60.0, 150),
        (Expectation(), {"reply_tokens": 1}, 0.4, 1),
        (Expectation(), {"reply_tokens": 10, "thinking_tokens": 50}, 4.0, 10),
        (Expectation(tokens_per_row=7.0), {"thinking_tokens": 50}, 7.0, 150),
    ],
)
def test_a_reply_is_expected_to_end_before_its_limit(
    expect: Expectation, traits: dict[str, Any], expected: float, most: int
) -> None:
    spec, own = engine(expect, **traits), step("own", "")
    assert expected_tokens(own, spec) == pytest.approx(expected)
    assert most_tokens(own, spec) == most


@pytest.mark.parametrize(
    ("word", "tokens"),
    [("question", 25), ("caption", 60), ("reference", 70), ("target", 70), ("targets", 70), ("x", 0)],
)
def test_what_a_sample_has_is_guessed(word: str, tokens: int) -> None:
    assert reads(f"{{{{ {word} }}}}") == tokens


def test_an_answer_counts_as_it_is_expected_before_what_a_sample_has() -> None:
    assert reads("{{ caption }}{{ question }}", step("caption", "")) == 40.0 + 25
    assert reads("no word", step("caption", "")) == 0


def test_an_item_is_its_text_or_as_long_as_the_answer_that_it_is_a_line_of() -> None:
    assert reads("{{ item }}", item=Item("eight ch")) == 2
    assert reads("{{ item }}", step("list", ""), item=Item(source="list", line=2)) == 40.0


def test_a_list_is_its_items_and_the_answers_about_them() -> None:
    sides = (Item("left"), Item("rightmost"))
    parts = [step(part_word("sides", number), "") for number in (1, 2)]
    assert reads("{{ sides }}", *parts, lists={"sides": sides}) == 2 * 40.0 + 1 + 3
    lines = tuple(Item(source="list", line=number) for number in (1, 2, 3))
    more = [step(part_word("more", number), "") for number in (1, 2, 3)]
    found = reads("{{ more }}", step("list", ""), *more, lists={"more": lines})
    assert found == 3 * 40.0 + 40.0, "the lines of one answer are together as long as it"


def test_pictures_count_only_where_they_are_sent() -> None:
    seeing, blind = step("a", "", image=True), step("b", "")
    plan = plan_of(seeing, blind, most_media=3, spec=engine(picture_tokens=500))
    assert expected_prompt_tokens(plan, seeing) == FRAME + 3 * 500
    assert expected_prompt_tokens(plan, blind) == FRAME


def test_an_item_reads_its_own_line() -> None:
    answers = {"list": "1. Why?\n2. Who?"}
    assert [Item(source="list", line=number).read(answers) for number in (1, 2, 3)] == ["Why?", "Who?", None]
    assert Item("left").read({}) == "left"


def test_what_a_list_needs_is_its_steps_and_the_answers_that_its_lines_are_from() -> None:
    assert words_of("more", (Item("left"), Item(source="list", line=1))) == {"more[1]", "more[2]", "list"}
    said = {"more[1]": "yes", "list": "1. Why?"}
    items = (Item("left"), Item(source="list", line=1))
    assert read_parts("more", items, said) == [ItemAnswer("left", "yes")], "what has no answer is left out"
