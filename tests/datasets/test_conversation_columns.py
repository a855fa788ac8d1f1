"""Tests of `eibench_ray/datasets/conversations.py`."""

from typing import Any

import pytest

from eibench_ray.datasets.cell_values import ValueRefusedError
from eibench_ray.datasets.conversations import read_conversation


def turns(*said: tuple[str, Any]) -> dict[str, Any]:
    """A row of a conversation."""
    return {"id": "a", "messages": [{"role": role, "content": content} for role, content in said]}


def test_a_question_its_reply_and_the_system_prompt_are_taken_apart() -> None:
    row = read_conversation(turns(("system", "Be kind."), ("user", "Why?"), ("assistant", "Rain.")))
    assert row == {"id": "a", "system": "Be kind.", "question": "Why?", "target": "Rain."}


def test_a_turn_of_parts_is_its_texts() -> None:
    parts = [{"type": "image", "text": None}, {"type": "text", "text": "Why"}, {"type": "text", "text": "so?"}]
    assert read_conversation(turns(("user", parts)))["question"] == "Why\nso?"


@pytest.mark.parametrize(
    "row",
    [{"messages": "none"}, {"messages": []}, {"messages": ["a"]}, {"question": "why?", **turns(("user", "who?"))}],
)
def test_a_row_without_a_conversation_stays_as_it_is(row: dict[str, Any]) -> None:
    assert read_conversation(row) is row


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (turns(("user", "a"), ("assistant", "b"), ("user", "c")), "turn 3 is a second question"),
        (turns(("user", "a"), ("tool", "b")), "turn 2 is said by .tool."),
        (turns(("user", [{"type": "video"}])), "turn 1 has a part that is neither text nor image"),
        (turns(("user", 1.5), ("user", "c")), "turn 2 is a second question"),
    ],
)
def test_a_conversation_that_is_no_single_question_is_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueRefusedError, match=message):
        read_conversation(row)
