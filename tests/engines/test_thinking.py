"""Thinking in texts, and a real checkpoint that thinks, in vLLM and in transformers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from thinking_asked import ASKED, SCHEMA

from eibench_ray.engines.reasoning_parsers import REASONING_PARSERS, find_parser, opens_thinking
from eibench_ray.engines.thinking import SplitReply, ThinkingMarks, split_thinking
from eibench_ray.errors import EngineError

CLOSED = {"chat_template_kwargs": {"enable_thinking": False}}
WAYS: tuple[dict[str, Any], ...] = ({}, CLOSED, {"reasoning": "none"}, {"reasoning": "qwen3"})


@pytest.mark.parametrize(
    ("text", "is_open", "thinking", "answer"),
    [
        ("Sun.", False, None, "Sun."),
        (" Sun.\n", False, None, " Sun.\n"),  # as it stands
        ("<think>Hm.</think>Sun.", False, "Hm.", "Sun."),
        ("\n<think>\nHm.\n</think>\n\nSun.", False, "Hm.", "Sun."),
        ("Hm.</think>Sun.", False, "Hm.", "Sun."),
        ("Hm.</think>Sun.", True, "Hm.", "Sun."),
        ("<think>Hm.</think>Sun.", True, "Hm.", "Sun."),  # the model begins it once more
        ("Hm. Sun.", True, "Hm. Sun.", ""),
        ("<think>Hm.", False, "Hm.", ""),
        ("Look: <think>Hm.</think>Sun.", False, "Hm.", "Look: Sun."),
        ("<think>Hm.</think>S<think>Or?</think>un.", False, "Hm.\n\nOr?", "Sun."),
        ("<think>Hm.</think>Sun.</think>", False, "Hm.", "Sun."),
        ("<think></think>Sun.", False, None, "Sun."),
        ("", False, None, ""),
        ("", True, None, ""),
    ],
)
def test_a_text_is_split_at_its_marks(text: str, is_open: bool, thinking: str | None, answer: str) -> None:
    assert split_thinking(text, is_open=is_open) == SplitReply(thinking, answer)


def test_other_marks_are_as_good() -> None:
    marks = ThinkingMarks("[THINK]", "[/THINK]")
    assert split_thinking("[THINK]Hm.[/THINK]<think>", marks) == SplitReply("Hm.", "<think>")


QWEN3 = (
    "{% if '</think>' in m %}{% endif %}{% if add_generation_prompt %}{% if not enable_thinking %}<think>\n\n</think>"
)
INSTRUCT = "{{ m.split('<think>')[-1] }}{% if add_generation_prompt %}<|assistant|>{% endif %}"


@pytest.mark.parametrize(
    ("kind", "template", "tokens", "parser"),
    [
        ("qwen3", QWEN3, ["<think>"], "qwen3"),
        ("qwen3_vl_moe", QWEN3, ["<think>"], "qwen3"),
        ("qwen3_vl", INSTRUCT, ["<think>"], None),
        ("llama", QWEN3, ["<think>"], "deepseek_r1"),
        ("llama", QWEN3, [], None),  # vLLM's parsers would not find the mark
        ("llama", INSTRUCT, ["<think>"], None),
        ("glm4_moe", QWEN3, ["<think>"], "glm45"),
        ("seed_oss", "{% if add_generation_prompt %}<seed:think>", ["<seed:think>"], "seed_oss"),
        ("gpt_oss", "{% if add_generation_prompt %}<|start|>assistant", [], "openai_gptoss"),
        ("llama", None, ["<think>"], None),
    ],
)
def test_the_parser_follows_from_the_checkpoint(
    tmp_path: Path, kind: str, template: str | None, tokens: list[str], parser: str | None
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"content": one} for one in tokens]}))
    if template is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
        assert find_parser(tmp_path, INSTRUCT) == (parser if kind == "gpt_oss" else None)  # what is configured counts
    assert find_parser(tmp_path) == parser


def test_a_template_that_only_forgets_thinking_opens_none() -> None:
    assert not opens_thinking(INSTRUCT, "<think>")
    assert not opens_thinking("<think>", "<think>")
    assert opens_thinking(QWEN3, "<think>")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers", reason="the engine needs eibench-ray[cpu] or [gpu]")
    from thinking_checkpoint import build_thinking

    return build_thinking(tmp_path_factory.mktemp("thinking"))


Answers = Mapping[str, Any]  # what each of `ASKED` got: a reply's fields, or why there is none


def ask_transformers(checkpoint: Path, keys: Mapping[str, Any]) -> Answers:
    from eibench_ray.engines.transformers.transformers_engine import TransformersEngine
    from eibench_ray.engines.transformers.transformers_section import TransformersSection

    given = {"kind": "transformers", "source": str(checkpoint), "dtype": "float32", "max_model_len": 1024}

    async def ask() -> Answers:
        engine = TransformersEngine(TransformersSection.model_validate(given | dict(keys)), "cpu")
        await engine.start()
        # Its sampling has no budget of thinking: a plan refuses that key.
        asked = {name: one for name, one in ASKED.items() if not one.sampling.extra}
        replies = await asyncio.gather(*(engine.generate(one, ()) for one in asked.values()))
        await engine.stop()
        return {name: asdict(reply) for name, reply in zip(asked, replies, strict=True)}

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def by_transformers(checkpoint: Path) -> list[Answers]:
    return [ask_transformers(checkpoint, way) for way in WAYS[:3]]


@pytest.fixture(scope="module")
def vllm_said(checkpoint: Path, run_with_vllm: Callable[..., Any]) -> dict[str, Any]:
    return dict(run_with_vllm("think_with_vllm.py", str(checkpoint), *map(json.dumps, WAYS)))


@pytest.fixture(scope="module")
def by_vllm(vllm_said: dict[str, Any]) -> list[Answers]:
    """One per way, by engines of one process."""
    return list(vllm_said["answers"])


@pytest.fixture(params=["by_transformers", pytest.param("by_vllm", marks=pytest.mark.slow)])
def answers(request: pytest.FixtureRequest) -> list[Answers]:
    return list(request.getfixturevalue(request.param))


def test_thinking_is_split_from_the_answer_and_counted(answers: list[Answers]) -> None:
    """As the same reply is, where nobody looks for thinking."""
    thinks, _, raw = answers[:3]
    for name in ("answered", "other"):
        thinking, _, answer = raw[name]["text"].partition("</think>")
        assert thinks[name]["thinking"] == thinking.strip() != ""
        assert thinks[name]["text"] == answer.replace("</think>", "").strip() != ""
        assert thinks[name]["completion_tokens"] == raw[name]["completion_tokens"]
        # The checkpoint's tokens are bytes, and the mark is one more.
        assert thinks[name]["thinking_tokens"] == len(thinking) + 1
        assert (raw[name]["thinking"], raw[name]["thinking_tokens"]) == (None, None)


def test_a_grammar_begins_after_the_thinking(answers: list[Answers]) -> None:
    thinks, closed, raw = answers[:3]
    assert thinks["judged"]["thinking"] == thinks["answered"]["thinking"]
    for said in (thinks, closed, raw):  # where the template closes it, or nobody looks, it begins at once
        assert json.loads(said["judged"]["text"]).keys() == SCHEMA["properties"].keys()
        assert said["judged"]["finish_reason"] == "stop"
    assert (closed["judged"]["thinking"], raw["judged"]["thinking"]) == (None, None)


def test_a_limit_within_the_thinking_leaves_an_empty_answer(answers: list[Answers]) -> None:
    thinks, closed, _ = answers[:3]
    for name in ("cut", "judged and cut"):
        assert (thinks[name]["text"], thinks[name]["finish_reason"]) == ("", "length")
        assert len(thinks[name]["thinking"]) == thinks[name]["thinking_tokens"] == 6
        assert len(closed[name]["text"]) == 6


def test_the_template_closes_the_thinking_where_it_is_told_to(answers: list[Answers]) -> None:
    for reply in answers[1].values():
        assert (reply["thinking"], reply["thinking_tokens"]) == (None, None)
        assert reply["text"]
        assert "</think>" not in reply["text"]


def test_a_rows_text_does_not_end_the_thinking(answers: list[Answers]) -> None:
    """The question holds the mark: were it one, the reply would count as the answer from its first token on."""
    assert answers[0]["marked"]["thinking"]
    assert answers[0]["marked"]["thinking_tokens"] > 1


@pytest.mark.slow
def test_vllm_splits_as_transformers_does(by_vllm: list[Answers], by_transformers: list[Answers]) -> None:
    for one, other in zip(by_vllm, by_transformers, strict=False):
        for name, reply in other.items():
            if not ASKED[name].json_schema:  # grammars of two versions of one package may differ
                fields = ("text", "thinking", "thinking_tokens", "finish_reason")
                assert [one[name][field] for field in fields] == [reply[field] for field in fields]


@pytest.mark.slow
def test_a_parser_by_name_is_that_of_auto_and_a_budget_ends_the_thinking(by_vllm: list[Answers]) -> None:
    thinks, _, raw, named = by_vllm
    assert named == thinks
    assert (thinks["budgeted"]["thinking_tokens"], len(thinks["budgeted"]["thinking"])) == (3, 2)
    assert thinks["budgeted"]["text"] != thinks["answered"]["text"]
    assert "thinking_token_budget" in raw["budgeted"]  # and a plan refuses it


def test_a_variable_that_the_template_does_not_read_is_refused(checkpoint: Path) -> None:
    with pytest.raises(EngineError, match=r"reads no no_such: correct engine.chat_template_kwargs"):
        ask_transformers(checkpoint, {"chat_template_kwargs": {"no_such": 1}})


def test_room_for_thinking_is_added_to_a_replys_limit(checkpoint: Path, by_transformers: list[Answers]) -> None:
    said = ask_transformers(checkpoint, {"reasoning_tokens": 54})
    assert said["cut"] == by_transformers[0]["answered"]


@pytest.mark.slow
def test_the_names_are_vllms(vllm_said: dict[str, Any]) -> None:
    assert set(vllm_said["parsers"]) == REASONING_PARSERS
