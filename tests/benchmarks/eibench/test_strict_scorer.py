import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eibench_ray.benchmarks.eibench.parsed_verdict import CountStatus as Status
from eibench_ray.benchmarks.eibench.strict_scorer import parse_counts, strict_schema
from eibench_ray.errors import ScoreError


def test_schema_asks_for_the_explanation_before_the_counts() -> None:
    assert strict_schema(4, 200) == {
        "type": "object",
        "properties": {
            "explanation": {"type": "string", "maxLength": 200},
            "correct": {"type": "integer", "minimum": 0, "maximum": 4},
            "total": {"const": 4},
        },
        "required": ["explanation", "correct", "total"],
        "additionalProperties": False,
    }
    assert list(strict_schema(4, 200)["properties"]) == ["explanation", "correct", "total"]


def test_schema_without_explanation_has_only_the_counts() -> None:
    schema = strict_schema(2, 0)
    assert list(schema["properties"]) == schema["required"] == ["correct", "total"]


def test_schema_refuses_a_sample_without_triggers() -> None:
    with pytest.raises(ScoreError, match="0 reference triggers"):
        strict_schema(0, 200)


@pytest.mark.parametrize(
    ("text", "correct"),
    [
        ('{"explanation": "two of them", "correct": 2, "total": 4}', 2),
        ('{"total": 4, "correct": 0}', 0),
        ('\n\t {"correct": 4, "total": 4} \r\n', 4),
        ('```json\n{"correct": 1, "total": 4}\n```', 1),
        ('```\n{"correct": 1, "total": 4}\n```\n', 1),
        ('```{"correct": 1, "total": 4}```', 1),
        ('{"correct": 3, "total": 4, "missed": {"correct": 1}}', 3),
        ('{"correct": 2.0, "total": 4}', 2),  # an integer, says JSON Schema
        ('{"correct": -0.0, "total": 4e0}', 0),
    ],
)
def test_one_object_bare_or_fenced_is_read(text: str, correct: int) -> None:
    verdict = parse_counts(text, 4)
    assert (verdict.correct, verdict.total, verdict.status) == (correct, 4, Status.OK)
    assert type(verdict.correct) is int
    assert type(verdict.total) is int


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "{score: 2/4}",
        "null",
        "4",
        '"correct"',
        "[]",
        '[{"correct": 2, "total": 4}]',
        "{}",
        '{"correct": 2}',
        '{"total": 4}',
        '{"correct": true, "total": 4}',
        '{"correct": false, "total": 4}',
        '{"correct": "2", "total": 4}',
        '{"correct": null, "total": 4}',
        '{"correct": 2.5, "total": 4}',
        '{"correct": [2], "total": 4}',
        '{"correct": {"correct": 2}, "total": 4}',
        '{"correct": NaN, "total": 4}',
        '{"correct": Infinity, "total": 4}',
        '{"correct": 1e999, "total": 4}',
        '{"correct": 1, "total": 4, "explanation": NaN}',
        '{"correct": 1, "correct": 3, "total": 4}',
        '{"correct": 2, "total": 4',
        '{"correct": 2, "total": 4} {"correct": 3, "total": 4}',
        '{"correct": 2, "total": 4} That is all.',
        'Sure: {"correct": 2, "total": 4}',
        '```json\n{"correct": 2, "total": 4}\n``` and ```json\n{"correct": 3, "total": 4}\n```',
        '```json\n{"correct": 2, "total": 4}',
        '{"correct": 99999999999999999999, "total": 4}',
        '{"correct": 2, "total": 2147483648}',
        '{"correct": ' + "9" * 5000 + ', "total": 4}',
        "[" * 100_000,
        '{"correct":' * 100_000,
        "\ud800",
        '\ufeff{"correct": 2, "total": 4}',
    ],
)
def test_anything_else_is_unparsed_and_names_no_counts(text: str) -> None:
    verdict = parse_counts(text, 4)
    assert verdict.status is Status.UNPARSED
    assert verdict.correct is verdict.total is verdict.explanation is None


@pytest.mark.parametrize(
    ("correct", "total", "status"),
    [
        (-1, 4, Status.OUT_OF_RANGE),
        (5, 4, Status.OUT_OF_RANGE),
        (1, -1, Status.OUT_OF_RANGE),
        (5, 3, Status.OUT_OF_RANGE),  # wrong total as well: the range is the worse fault
        (0, 0, Status.WRONG_TOTAL),
        (2, 5, Status.WRONG_TOTAL),
        (2, 3, Status.WRONG_TOTAL),
    ],
)
def test_counts_that_cannot_be_scored_are_kept_with_their_fault(correct: int, total: int, status: Status) -> None:
    verdict = parse_counts(json.dumps({"correct": correct, "total": total, "explanation": "so"}), 4)
    assert (verdict.correct, verdict.total, verdict.explanation, verdict.status) == (correct, total, "so", status)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('"one"', "one"),
        ('""', ""),
        ("7", None),
        ("null", None),
        ('"a\tb\x00"', "a\tb\x00"),
        (r'"\ud800!"', "?!"),
        (r'"\ud83d\ude00"', "😀"),
    ],
)
def test_explanation_is_text_that_can_be_stored_or_none(written: str, read: str | None) -> None:
    verdict = parse_counts(f'{{"explanation": {written}, "correct": 1, "total": 4}}', 4)
    assert (verdict.explanation, verdict.status) == (read, Status.OK)


ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))
NUMBERS = st.integers() | st.integers(-1, 6) | st.floats() | st.booleans() | st.none() | ANY_TEXT
JUNK = st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3))
REPLIES = st.fixed_dictionaries({}, optional={"correct": JUNK, "total": JUNK, "explanation": JUNK, "more": JUNK})
TEXTS = (
    ANY_TEXT | JUNK.map(json.dumps) | REPLIES.map(json.dumps) | REPLIES.map(lambda r: f"```json\n{json.dumps(r)}\n```")
)


@settings(max_examples=300)
@given(text=TEXTS, num_triggers=st.integers(1, 10))
def test_any_text_gives_a_verdict_that_is_sound_and_can_be_stored(text: str, num_triggers: int) -> None:
    verdict = parse_counts(text, num_triggers)
    (verdict.explanation or "").encode("utf-8")
    if verdict.status is Status.UNPARSED:
        assert verdict.correct is verdict.total is None
        return
    assert type(verdict.correct) is type(verdict.total) is int
    assert max(abs(verdict.correct), abs(verdict.total)) < 2**31
    is_sound = 0 <= verdict.correct <= verdict.total == num_triggers
    assert (verdict.status is Status.OK) == is_sound


@given(num_triggers=st.integers(1, 10), share=st.floats(0, 1), words=ANY_TEXT)
def test_every_reply_that_the_schema_allows_is_ok(num_triggers: int, share: float, words: str) -> None:
    correct = round(share * num_triggers)
    verdict = parse_counts(json.dumps({"explanation": words, "correct": correct, "total": num_triggers}), num_triggers)
    assert (verdict.correct, verdict.total, verdict.status) == (correct, num_triggers, Status.OK)
