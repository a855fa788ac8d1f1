"""The echo engine: an answer that depends on the whole request, and on nothing else."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eibench_ray.config.schema import EchoEngine, Expectation, OpenaiEngine, ReplayEngine, VllmEngine
from eibench_ray.endpoints.local import LocalTurnstile
from eibench_ray.engines.base import RowError
from eibench_ray.engines.create import create_engine
from eibench_ray.engines.echo import Echo
from eibench_ray.engines.openai.engine import Openai
from eibench_ray.engines.replay import Replay
from eibench_ray.engines.vllm import Vllm
from eibench_ray.plan.graph import EngineSpec
from eibench_ray.records import Request, RowErrorKind, Sampling
from eibench_ray.score.strict import strict_schema

REQUEST = Request("a", "0a1b2c3d" * 4, None, "why is she happy?", "i", Sampling(0, 1, 8), 0)


def echo(request: Request, image: bytes | None = None, **options: Any) -> str:
    return asyncio.run(Echo(EchoEngine(kind="echo", **options)).generate(request, image)).text


def test_the_same_request_has_the_same_answer_and_another_one_another() -> None:
    assert echo(REQUEST, b"123") == echo(REQUEST, b"123")
    assert (
        len({echo(REQUEST, b"123"), echo(REQUEST, b"1234"), echo(REQUEST), echo(replace(REQUEST, digest="f" * 32))})
        == 4
    )


@pytest.mark.parametrize("num_triggers", [1, 4, 10])
def test_a_request_with_a_schema_gets_json_that_follows_it(num_triggers: int) -> None:
    verdicts = [
        json.loads(echo(replace(REQUEST, digest=f"{number:04x}" * 8, json_schema=strict_schema(num_triggers, 80))))
        for number in range(30)
    ]
    assert {verdict["total"] for verdict in verdicts} == {num_triggers}
    assert {verdict["correct"] for verdict in verdicts} == set(range(num_triggers + 1))


def test_a_request_that_it_shall_fail_on_is_an_error_of_its_row() -> None:
    with pytest.raises(RowError, match="the prompt contains 'happy'") as caught:
        echo(REQUEST, fails_on="happy")
    assert caught.value.kind is RowErrorKind.PROMPT
    assert echo(REQUEST, fails_on="sad")


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (EchoEngine(kind="echo"), Echo),
        (ReplayEngine(kind="replay", predictions="p"), Replay),
        (VllmEngine(kind="vllm", source="a/b", max_model_len=64), Vllm),
        (OpenaiEngine(kind="openai", endpoint="local", base_url="http://127.0.0.1:9/v1", model="tiny"), Openai),
    ],
)
def test_a_spec_names_its_engine(config: Any, kind: type, tmp_path: Path) -> None:
    spec = EngineSpec("k", "name", config, "cpu", str(tmp_path / "p.jsonl"), 0, Expectation())
    assert isinstance(create_engine(spec, LocalTurnstile()), kind)
