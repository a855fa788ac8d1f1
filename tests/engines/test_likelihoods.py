"""Likelihoods of choices, and of answers: vLLM, transformers and a computation by hand say the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import pytest
from choices_asked import CAPITALS, FACT, MODELS, REAL_BASE, TEXTS, asked_of, generated
from needed import need

from eibench_ray.engines.continuations import encode_choices
from eibench_ray.engines.engine import RowError
from eibench_ray.engines.transformers.transformers_engine import TransformersEngine
from eibench_ray.engines.transformers.transformers_section import TransformersSection
from eibench_ray.rows.choices import AskedChoices, from_text
from eibench_ray.weights.build import build_checkpoint

torch = need("torch", "the engine needs eibench-ray[cpu] or [gpu]")
hf = need("transformers", "the engine needs eibench-ray[cpu] or [gpu]")
pytestmark = pytest.mark.slow

Replies = Mapping[str, list[dict[str, Any]]]
NAMES = list(MODELS)


async def ask_transformers(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    keys = {"kind": "transformers", "dtype": "float32", "max_num_seqs": 3} | dict(options)
    engine = TransformersEngine(TransformersSection.model_validate(keys), "cpu")
    await engine.start()
    both = [*asked_of(name), *((one, ()) for one in (generated() if name == "chat" else ()))]
    replies = [asdict(one) for one in await asyncio.gather(*(engine.generate(*one) for one in both))]
    await engine.stop()
    return {name: replies[: len(asked_of(name))], "generated": replies[len(asked_of(name)) :]}


@pytest.fixture(scope="module")
def by_transformers() -> Replies:
    found: dict[str, Any] = {}
    for name in NAMES:
        build_checkpoint(MODELS[name]["source"].removeprefix("checkpoint:"))
        found |= {key: value for key, value in asyncio.run(ask_transformers(name, MODELS[name])).items() if value}
    return found


@pytest.fixture(scope="module")
def by_vllm(run_with_vllm: Callable[..., Any]) -> Replies:
    for name in NAMES:
        build_checkpoint(MODELS[name]["source"].removeprefix("checkpoint:"))
    return dict(run_with_vllm("compare_with_vllm.py"))


@pytest.fixture(scope="module")
def smollm2() -> tuple[Any, Any]:
    """The model and its tokenizer, in transformers."""
    folder = str(build_checkpoint("smollm2_135m"))
    return hf.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32
    ).eval(), hf.AutoTokenizer.from_pretrained(folder)


def by_hand(model: Any, prompt: list[int], tokens: list[int]) -> float:
    with torch.inference_mode():
        logprobs = model(torch.tensor([prompt + tokens])).logits[0].log_softmax(-1)
    return sum(float(logprobs[len(prompt) - 1 + place, token]) for place, token in enumerate(tokens))


def logprobs_of(reply: dict[str, Any]) -> list[float]:
    return [one.logprob for one in from_text(reply["likelihoods"])]


@pytest.mark.parametrize("name", NAMES)
def test_vllm_and_transformers_find_the_same_choices_as_likely(
    by_vllm: Replies, by_transformers: Replies, name: str
) -> None:
    for time in ("first", "again"):
        for theirs, ours in zip(by_vllm[f"{name} {time}"], by_transformers[name], strict=True):
            assert logprobs_of(theirs) == pytest.approx(logprobs_of(ours), abs=2e-3)
            assert theirs["text"] == ours["text"]
            assert [one.num_tokens for one in from_text(theirs["likelihoods"])] == [
                one.num_tokens for one in from_text(ours["likelihoods"])
            ]
            assert (theirs["finish_reason"], theirs["prompt_tokens"]) == ("stop", ours["prompt_tokens"])


def test_they_are_what_a_forward_pass_says(by_transformers: Replies, smollm2: tuple[Any, Any]) -> None:
    model, tokenizer = smollm2
    for (text, choices), reply in zip(TEXTS.values(), by_transformers["chat"], strict=True):
        messages = [{"role": "user", "content": text}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        tokens = [tokenizer.encode((choices.prefix or "") + one, add_special_tokens=False) for one in choices.texts]
        expected = [by_hand(model, prompt, one) for one in tokens]
        assert logprobs_of(reply) == pytest.approx(expected, abs=1e-3)
        weights = [len(one) if choices.by == "character" else 1 for one in choices.texts]
        best = max(range(len(expected)), key=lambda place: expected[place] / weights[place])
        assert reply["text"] == choices.texts[best]


def test_a_base_model_reads_prompt_and_choice_as_one_text(smollm2: tuple[Any, Any]) -> None:
    model, tokenizer = smollm2
    prompt = tokenizer.encode(FACT)
    whole = [tokenizer.encode(f"{FACT} {one}") for one in CAPITALS]  # as lm-evaluation-harness does it
    assert all(one[: len(prompt)] == prompt for one in whole)
    (reply,) = asyncio.run(ask_transformers("base", REAL_BASE))["base"]
    assert logprobs_of(reply) == pytest.approx([by_hand(model, prompt, one[len(prompt) :]) for one in whole], abs=1e-3)
    assert reply["text"] == "Paris"


def test_pictures_change_what_is_likely(by_vllm: Replies) -> None:
    for name in ("tiny_qwen2_vl", "tiny_llava"):
        found = [tuple(logprobs_of(reply)) for reply in by_vllm[f"{name} first"]]
        assert len(set(found)) == len(found)


def test_the_mean_of_an_answer_is_what_it_would_be_as_a_choice(
    by_vllm: Replies, by_transformers: Replies, smollm2: tuple[Any, Any]
) -> None:
    (model, tokenizer), num_alike = smollm2, 0
    for asked, theirs, ours in zip(generated(), by_vllm["generated"], by_transformers["generated"], strict=True):
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": asked.user}], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        for reply in (theirs, ours):
            tokens = tokenizer.encode(reply["text"], add_special_tokens=False)
            ended = reply["finish_reason"] == "stop"  # by the model's own last token, which is no part of the answer
            if reply["completion_tokens"] == len(tokens) + ended:  # a text can be that of other tokens, too
                num_alike += 1
                assert reply["mean_logprob"] == pytest.approx(by_hand(model, prompt, tokens) / len(tokens), abs=1e-3)
        assert theirs["mean_logprob"] == pytest.approx(ours["mean_logprob"], abs=1e-3)
    assert num_alike >= 6
    assert {reply["finish_reason"] for reply in by_vllm["generated"]} == {"stop", "length"}


def test_the_first_token_of_a_greedy_answer_is_the_likeliest_choice(smollm2: tuple[Any, Any]) -> None:
    model, tokenizer = smollm2
    prompt = tokenizer.encode(FACT)
    with torch.inference_mode():
        best = int(model(torch.tensor([prompt])).logits[0, -1].argmax())
    texts = (" Paris", " Rome", tokenizer.decode([best]))
    asked = AskedChoices(texts, prefix="")
    logprobs = [[by_hand(model, prompt, tokens)] for tokens in encode_choices(tokenizer, prompt, asked)]
    assert asked.likeliest(asked.compare(logprobs)) == tokenizer.decode([best])


def test_a_choice_without_a_token_is_a_rows_own_error(smollm2: tuple[Any, Any]) -> None:
    with pytest.raises(RowError, match="no token for the choice ''"):
        encode_choices(smollm2[1], [1], AskedChoices(("a", ""), prefix=""))
