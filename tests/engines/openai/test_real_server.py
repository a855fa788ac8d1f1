"""A real vLLM server answers the real client: pictures, counts, log probabilities, schemas, seeds, and its refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from asking import SCHEMA, ask, encode, endpoint
from needed import need
from PIL import Image
from vllm_server import VllmServer

from eibench_ray.engines.engine import RowError
from eibench_ray.engines.openai.openai_engine import OpenaiEngine
from eibench_ray.errors import EngineError
from eibench_ray.ratelimit.admission import LocalRateLimiter
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import PlacedImage, Reply, Request, Sampling

if TYPE_CHECKING:
    from collections.abc import Callable

need("vllm", "the server needs eibench-ray[cpu] or [gpu]")
pytestmark = pytest.mark.slow

KEY = "sk-planted-real-7Qm3vX9tLw2Z"
GREEDY, SAMPLED = Sampling(0.0, 1.0, 12), Sampling(1.0, 0.95, 12)
PLAIN = ask("why is she so happy?", sampling=GREEDY)
SEEING = replace(PLAIN, images=(PlacedImage(0, "p"),))
RED, BLUE = ([encode(Image.new("RGB", (120, 90), colour))] for colour in ("red", "blue"))
Answers = list[Any]


@pytest.fixture(scope="module")
def answered(vllm_host: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Answers]]:
    """Asks the server: requests with their pictures in, replies or errors out."""
    with (
        pytest.MonkeyPatch.context() as patch,
        VllmServer(vllm_host.serve, tmp_path_factory.mktemp("vllm") / "log", KEY) as server,
    ):
        patch.setenv("PLANTED_API_KEY", KEY)
        patch.setenv("WRONG_API_KEY", "sk-wrong-Xy81kQ02mNb6")

        def ask_all(asked: Sequence[tuple[Request, Sequence[bytes]]], **options: Any) -> Answers:
            base = {"base_url": server.base_url, "model": server.model, "api_key_env": "PLANTED_API_KEY"}
            return asyncio.run(_ask(OpenaiEngine(endpoint(**base | options), LocalRateLimiter()), asked))

        yield ask_all


async def _ask(engine: OpenaiEngine, asked: Sequence[tuple[Request, Sequence[bytes]]]) -> Answers:
    await engine.start()
    try:
        return await asyncio.gather(*(engine.generate(*one) for one in asked), return_exceptions=True)
    finally:
        await engine.stop()


def test_the_answer_depends_on_the_picture(answered: Callable[..., Answers]) -> None:
    plain, red, blue, again = answered([(PLAIN, ()), (SEEING, RED), (SEEING, BLUE), (SEEING, RED)])
    assert all(isinstance(reply, Reply) and reply.text for reply in (plain, red, blue))
    assert len({plain.text, red.text, blue.text}) == 3
    assert again.text == red.text


def test_a_reply_comes_with_its_counts(answered: Callable[..., Answers]) -> None:
    plain, red = answered([(PLAIN, ()), (SEEING, RED)], price={"input": 1.0, "output": 2.0})
    assert 0 < plain.completion_tokens <= 12
    assert plain.finish_reason in ("stop", "length")
    assert red.prompt_tokens > plain.prompt_tokens > 0
    assert plain.cost_usd == pytest.approx((plain.prompt_tokens + 2 * plain.completion_tokens) / 1e6)


def test_a_seed_repeats_its_answer(answered: Callable[..., Answers]) -> None:
    sampled = replace(SEEING, sampling=SAMPLED)
    first, again, other = answered([(sampled, RED), (sampled, RED), (replace(sampled, seed=8), RED)])
    assert first.text == again.text != other.text


def test_log_probabilities_come_where_they_are_asked_for(answered: Callable[..., Answers]) -> None:
    (with_them,) = answered([(PLAIN, ())], logprobs=True)
    (without,) = answered([(PLAIN, ())])
    assert with_them.mean_logprob < 0
    assert without.mean_logprob is None
    assert with_them.text == without.text


@pytest.mark.parametrize("json_output", ["schema", "strict"])
def test_a_schema_is_kept(answered: Callable[..., Answers], json_output: str) -> None:
    bounded = SCHEMA | {"properties": {name: SCHEMA["properties"][name] for name in ("correct", "total")}}
    request = replace(PLAIN, json_schema=bounded | {"required": ["correct", "total"]}, sampling=Sampling(0.0, 1.0, 64))
    (reply,) = answered([(request, ())], json_output=json_output)
    assert reply.finish_reason == "stop"
    verdict = json.loads(reply.text)
    assert verdict.keys() == {"correct", "total"}
    assert 0 <= verdict["correct"] <= verdict["total"] == 3


def test_a_prompt_that_is_too_long_costs_its_row_alone(answered: Callable[..., Answers]) -> None:
    long, plain = answered([(replace(PLAIN, user="so " * 2000), ()), (PLAIN, ())])
    assert isinstance(long, RowError)
    assert long.kind is RowErrorKind.PROMPT
    assert "1024" in str(long)
    assert isinstance(plain, Reply)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"api_key_env": "WRONG_API_KEY"}, "correct the key in the variable WRONG_API_KEY"),
        ({"api_key_env": None}, "name of the variable that holds it into model.engine.api_key_env"),
        ({"model": "huge"}, r"correct model\.engine\.model \(huge\)"),
    ],
)
def test_what_no_request_survives_is_named(
    answered: Callable[..., Answers], options: dict[str, Any], words: str
) -> None:
    (error,) = answered([(PLAIN, ())], **options)
    with pytest.raises(EngineError, match=words) as caught:
        raise error
    assert "sk-" not in str(caught.value)
