"""Which words make a reply an answer."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

from eibench_ray.rows.endings import Ending, ending_of


@pytest.mark.parametrize(
    ("words", "ending"),
    [
        (("stop", "STOP", "end_turn", "eos_token", "tool_calls", "recorded", "fallback", "COMPLETE"), Ending.WHOLE),
        (("length", "max_tokens", "MAX_TOKENS", "model_length", "FINISH_REASON_MAX_TOKENS"), Ending.TRUNCATED),
        (("content_filter", "content_filter: SAFETY", "refusal", "content-filter", "sensitive"), Ending.REFUSED),
        (("abort", "error", "network_error", "insufficient_system_resource", "Network Error"), Ending.FAILED),
        ((None, "", "null", "unknown", "stop?", "a new word", "absent"), Ending.UNKNOWN),
    ],
)
def test_a_word_means_one_thing_however_it_is_written(words: tuple[str | None, ...], ending: Ending) -> None:
    assert {word: ending_of(word) for word in words} == dict.fromkeys(words, ending)


def test_only_what_is_known_to_be_an_answers_end_is_an_answer() -> None:
    assert [ending for ending in Ending if ending.is_answer] == [Ending.WHOLE, Ending.TRUNCATED, Ending.REFUSED]


def test_every_word_of_vllm_is_known() -> None:
    package = find_spec("vllm")  # read, not imported: that takes torch
    if package is None or package.origin is None:
        pytest.skip("vLLM is not installed")
    source = (Path(package.origin).parent / "v1" / "engine" / "__init__.py").read_text(encoding="utf-8")
    (words,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FINISH_REASON_STRINGS"
    ]
    endings = {word: ending_of(word) for word in words}
    assert Ending.UNKNOWN not in endings.values()
    assert {word for word, ending in endings.items() if not ending.is_answer} == {"abort", "error"}
