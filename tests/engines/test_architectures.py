"""vLLM on the architectures of the benchmark's models: it answers pictures, and as transformers does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from asking_models import PAIRS, PENALISED, PICTURES, request, show
from needed import need

from eibench_ray.engines.engine import RowError
from eibench_ray.engines.transformers.transformers_engine import TransformersEngine
from eibench_ray.engines.transformers.transformers_section import TransformersSection
from eibench_ray.weights.build import build_checkpoint

need("vllm", "the engine needs eibench-ray[cpu] or [gpu]")
pytestmark = pytest.mark.slow

NAMES = ("tiny_llava", "tiny_llava_next", "tiny_qwen2_vl", "tiny_idefics3")


@pytest.fixture(scope="module")
def answers(run_with_vllm: Callable[..., Any]) -> Mapping[str, Any]:
    """Answers of vLLM, by checkpoint."""
    for name in NAMES:
        build_checkpoint(name)
    return dict(run_with_vllm("answer_with_vllm.py", *NAMES))


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_depends_on_the_picture(answers: Mapping[str, Any], name: str) -> None:
    *texts, of_turned = answers[name]["texts"]
    assert len(set(texts)) == len(PICTURES)
    assert of_turned == texts[-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_text_with_the_pictures_token_is_refused(answers: Mapping[str, Any], name: str) -> None:
    assert answers[name]["refused"]


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_is_rendered_without_the_engine_as_the_model_read_it(answers: Mapping[str, Any], name: str) -> None:
    """Pictures included."""
    rendered, read = zip(*answers[name]["num_tokens"], strict=True)
    assert rendered == read
    assert len(set(read)) > 1


@pytest.mark.parametrize("name", NAMES)
def test_the_order_and_the_places_of_pictures_change_the_answer(answers: Mapping[str, Any], name: str) -> None:
    assert len(set(answers[name]["pairs"])) == len(PAIRS), answers[name]["pairs"]


@pytest.mark.parametrize("name", NAMES)
def test_transformers_says_the_same(answers: Mapping[str, Any], name: str) -> None:
    config = TransformersSection.model_validate(
        {"kind": "transformers", "source": f"checkpoint:{name}", "dtype": "float32"}
    )

    async def ask() -> list[str]:
        engine = TransformersEngine(config, "cpu")
        await engine.start()
        shown = [show(request(), pictures) for pictures in PICTURES]
        pairs = [show(request(), pair, *places) for pair, places in PAIRS]
        penalised = [show(request(**keys), PICTURES[1]) for keys in PENALISED]
        asked = (engine.generate(*one) for one in (*shown, *pairs, *penalised))
        replies = await asyncio.gather(*asked, return_exceptions=True)
        await engine.stop()
        return [str(reply) if isinstance(reply, RowError) else reply.text for reply in replies]

    said = answers[name]
    assert asyncio.run(ask()) == [
        *said["texts"][: len(PICTURES)],
        *said["pairs"],
        *said["sampled"][: len(PENALISED)],
    ]


@pytest.mark.parametrize("name", NAMES)
def test_sampling_does_what_its_names_say(answers: Mapping[str, Any], name: str) -> None:
    greedy, sampled = answers[name]["texts"][1], answers[name]["sampled"]
    penalised, narrow = sampled[: len(PENALISED)], sampled[len(PENALISED) : len(PENALISED) + 3]
    assert len({greedy, *penalised}) >= len(PENALISED)  # two of them may agree within twelve tokens
    assert narrow == [greedy] * 3
    for only in sampled[len(PENALISED) + 3 :]:  # one token, twelve times
        assert only == only[: len(only) // 12] * 12 != ""
