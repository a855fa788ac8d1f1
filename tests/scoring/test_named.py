"""The strict verdict by trigger: exactly one boolean for each, or no verdict."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eibench_ray.benchmarks.eibench.parsed_verdict import RECALL, UNPARSED
from eibench_ray.benchmarks.eibench.parsed_verdict import CountStatus as Status
from eibench_ray.benchmarks.eibench.strict_scorer import StrictScorer, parse_named, strict_schema
from eibench_ray.engines.openai.response_format import to_strict_schema
from eibench_ray.rows.sample import Sample


def reply(named: object, **more: object) -> str:
    return json.dumps({"explanation": "so", "named": named, **more})


def test_the_schema_asks_for_one_boolean_per_trigger_after_the_explanation() -> None:
    schema = strict_schema(3, 80, per_trigger=True)
    assert list(schema["properties"]) == schema["required"] == ["explanation", "named"]
    named = schema["properties"]["named"]
    assert named["properties"] == {"1": {"type": "boolean"}, "2": {"type": "boolean"}, "3": {"type": "boolean"}}
    assert named["required"] == ["1", "2", "3"]
    assert named["additionalProperties"] is schema["additionalProperties"] is False
    assert list(strict_schema(3, 0, per_trigger=True)["properties"]) == ["named"]


def test_openais_strict_mode_takes_the_schema_as_it_is_but_for_the_length() -> None:
    schema = strict_schema(3, 80, per_trigger=True)
    sent = to_strict_schema(schema)
    assert sent["properties"]["named"] == schema["properties"]["named"]
    assert "maxLength" not in sent["properties"]["explanation"]


@pytest.mark.slow
@pytest.mark.parametrize("num_triggers", [1, 3, 10])
def test_xgrammar_lets_through_just_the_right_number(num_triggers: int) -> None:
    xgrammar = pytest.importorskip("xgrammar", reason="comes with vLLM")
    testing = pytest.importorskip("xgrammar.testing")
    schema = json.dumps(strict_schema(num_triggers, 20, per_trigger=True))
    grammar = xgrammar.Grammar.from_json_schema(schema, any_whitespace=False)

    def passes(count: int, value: object = True) -> bool:
        named = {str(number): value for number in range(1, count + 1)}
        return bool(testing._is_grammar_accept_string(grammar, reply(named)))

    assert passes(num_triggers)
    assert not passes(num_triggers - 1)
    assert not passes(num_triggers + 1)
    assert not passes(num_triggers, 1)
    assert not passes(num_triggers, "true")


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        (reply({"1": True, "2": False, "3": True}), (True, False, True)),
        (reply({"3": True, "1": False, "2": False}), (False, False, True)),
        (f"```json\n{reply({'1': False, '2': False, '3': False})}\n```", (False, False, False)),
        ('{"named": {"1": true, "2": true, "3": true}}', (True, True, True)),
        (reply({"1": True, "2": True, "3": False}, correct=0, total=9), (True, True, False)),
    ],
)
def test_hits_are_in_the_order_of_the_triggers_and_recall_is_theirs(text: str, hits: tuple[bool, ...]) -> None:
    verdict = parse_named(text, 3)
    assert (verdict.hits, verdict.correct, verdict.total, verdict.status) == (hits, sum(hits), 3, Status.OK)


@pytest.mark.parametrize("count", [1, 2, 4, 12])
def test_another_number_of_booleans_is_a_wrong_total_without_hits(count: int) -> None:
    verdict = parse_named(reply({str(number): True for number in range(1, count + 1)}), 3)
    assert (verdict.correct, verdict.total, verdict.status) == (count, count, Status.WRONG_TOTAL)
    assert verdict.hits is None
    assert verdict.explanation == "so"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I would say all of them.",
        "{}",
        reply({}),
        reply(None),
        reply([True, False, True]),
        reply({"1": True, "2": False, "3": 1}),
        reply({"1": True, "2": False, "3": "true"}),
        reply({"1": True, "2": False, "3": None}),
        reply({"0": True, "1": False, "2": True}),
        reply({"1": True, "2": False, "4": True}),
        reply({"01": True, "2": False, "3": True}),
        reply({"cake": True, "sun": False, "dog": True}),
        '{"named": {"1": true, "1": false, "2": true, "3": true}}',
        '{"correct": 2, "total": 3}',
        reply({"1": True, "2": False, "3": True})[:-1],
        reply({"1": True, "2": False, "3": True}) + " Thus.",
    ],
)
def test_what_does_not_say_it_of_numbered_triggers_is_unparsed(text: str) -> None:
    assert parse_named(text, 3) == UNPARSED


V2 = StrictScorer("triggers", explanation_chars=0, explanation_words=30)


def test_the_second_version_asks_for_the_verdict_first_and_bounds_no_length() -> None:
    schema = strict_schema(3, 0, 30, per_trigger=True)
    assert list(schema["properties"]) == schema["required"] == ["named", "explanation"]
    assert "maxLength" not in json.dumps(schema)
    assert list(strict_schema(3, 0, 0, per_trigger=True)["properties"]) == ["named"]
    assert list(strict_schema(3, 0, 30)["properties"]) == ["correct", "total", "explanation"]
    assert V2.prompt_words == {"explanation_words": "30"}
    assert StrictScorer(explanation_chars=0, explanation_words=0).prompt_words == {"explanation_words": ""}


@pytest.mark.parametrize("cut", [1, 2, 3, 12, 40])
def test_an_explanation_that_breaks_off_costs_the_second_version_no_verdict(cut: int) -> None:
    whole = (
        '{"named": {"1": true, "2": false, "3": true}, "explanation": "It names the cake, not the \\ud83d\\ude00 dog."}'
    )
    text = whole[:-cut]
    sample = Sample("s", {}, target=("a", "b", "c"))
    assert V2.read(sample, "", text).values == {RECALL.name: 2 / 3}
    first = StrictScorer("triggers").read(sample, "", text)
    assert (first.status, first.values) == (Status.UNPARSED, {})


def test_a_verdict_that_breaks_off_is_none() -> None:
    sample = Sample("s", {}, target=("a", "b", "c"))
    for text in ('{"named": {"1": true, "2": false', '{"named": {"1": true, "2": false, "3": true}', '{"named"'):
        assert V2.read(sample, "", text).status == Status.UNPARSED


def test_two_places_of_the_explanation_are_refused() -> None:
    with pytest.raises(ValueError, match="explanation_chars is 200 and explanation_words 30"):
        StrictScorer(explanation_words=30)


VALUES = st.booleans() | st.sampled_from([None, 0, 1, "true", [True]])
ANYTHING = st.dictionaries(st.sampled_from(["1", "2", "3", "4", "0", "01", "a"]), st.booleans() | VALUES) | VALUES


@settings(max_examples=100)
@given(named=ANYTHING, num_triggers=st.integers(1, 4))
def test_whatever_is_named_the_verdict_is_sound(named: object, num_triggers: int) -> None:
    verdict = parse_named(reply(named), num_triggers)
    is_whole = isinstance(named, dict) and {key: type(value) for key, value in named.items()} == {
        str(number): bool for number in range(1, num_triggers + 1)
    }
    assert (verdict.status is Status.OK) == is_whole == (verdict.hits is not None)
    if verdict.hits is not None:
        assert (len(verdict.hits), sum(verdict.hits)) == (verdict.total, verdict.correct)
