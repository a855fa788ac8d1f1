"""The echo engine: an answer that depends on the whole request, and on nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eibench_ray.benchmarks.eibench.strict_scorer import parse_named, strict_schema
from eibench_ray.config.engine_section import PriceSection
from eibench_ray.engines.echo import EchoEngine, EchoSection
from eibench_ray.engines.engine import EngineFacts, RowError
from eibench_ray.engines.openai.batch_engine import OpenaiBatchEngine
from eibench_ray.engines.openai.openai_engine import OpenaiEngine
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.engines.registry import create_engine, engine_spec
from eibench_ray.engines.replay import ReplayEngine, ReplaySection
from eibench_ray.engines.vllm.vllm_engine import VllmEngine
from eibench_ray.engines.vllm.vllm_section import VllmSection
from eibench_ray.plan.engine_traits import Expectation
from eibench_ray.ratelimit.admission import LocalRateLimiter
from eibench_ray.ratelimit.rate_limiter import BudgetSpentError, Grant, Reservation
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Request, Sampling
from eibench_ray.storage.local import LOCAL

REQUEST = Request("a", "0a1b2c3d" * 4, None, "why is she happy?", (), Sampling(0, 1, 8), 0)


def echo(request: Request, images: Sequence[bytes] = (), **options: Any) -> str:
    return asyncio.run(EchoEngine(EchoSection(kind="echo", **options)).generate(request, images)).text


def test_the_same_request_has_the_same_answer_and_another_one_another() -> None:
    assert echo(REQUEST, [b"123"]) == echo(REQUEST, [b"123"])
    assert (
        len({echo(REQUEST, [b"123"]), echo(REQUEST, [b"1234"]), echo(REQUEST), echo(replace(REQUEST, digest="f" * 32))})
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


def test_a_schema_by_trigger_gets_a_boolean_for_each() -> None:
    schema = strict_schema(3, 80, per_trigger=True)
    verdicts = [
        parse_named(echo(replace(REQUEST, digest=f"{number:04x}" * 8, json_schema=schema)), 3) for number in range(8)
    ]
    assert len({verdict.hits for verdict in verdicts}) == 8


def test_a_request_that_it_shall_fail_on_is_an_error_of_its_row() -> None:
    with pytest.raises(RowError, match="the prompt contains 'happy'") as caught:
        echo(REQUEST, fails_on="happy")
    assert caught.value.kind is RowErrorKind.PROMPT
    assert echo(REQUEST, fails_on="sad")


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (EchoSection(kind="echo"), EchoEngine),
        (ReplaySection(kind="replay", predictions="p"), ReplayEngine),
        (VllmSection(kind="vllm", source="a/b", max_model_len=64), VllmEngine),
        (OpenaiSection(kind="openai", endpoint="local", base_url="http://127.0.0.1:9/v1", model="tiny"), OpenaiEngine),
        (
            OpenaiSection(kind="openai", endpoint="local", base_url="http://a", model="tiny", mode="batch"),
            OpenaiBatchEngine,
        ),
    ],
)
def test_a_spec_names_its_engine(config: Any, kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.forkserver.ensure_running", lambda: None)  # or it imports vLLM: 8 CPU s
    spec = engine_spec("k", "name", config, "cpu", str(tmp_path / "p.jsonl"), 0, Expectation())
    assert isinstance(create_engine(spec, LocalRateLimiter(), tmp_path, LOCAL), kind)


PRICE = PriceSection(input=1e6, output=1e6)  # a dollar per word


def test_with_a_price_a_reply_costs_its_words_and_the_prompts() -> None:
    reply = asyncio.run(EchoEngine(EchoSection(kind="echo", price=PRICE)).generate(REQUEST, ()))
    assert reply.cost_usd == pytest.approx(len(f"{REQUEST.user} {reply.text}".split()))
    assert asyncio.run(EchoEngine(EchoSection(kind="echo")).generate(REQUEST, ())).cost_usd is None


def test_it_says_that_it_costs_money() -> None:
    async def facts(**options: Any) -> EngineFacts:
        return await EchoEngine(EchoSection(kind="echo", **options)).start()

    assert asyncio.run(facts(price=PRICE)).costs_money
    assert not asyncio.run(facts()).costs_money


def test_a_paid_reply_needs_room_in_the_budget_for_the_longest_one() -> None:
    async def run() -> None:
        limiter = LocalRateLimiter(budget_usd=30.0)
        engine = EchoEngine(EchoSection(kind="echo", price=PRICE), limiter)
        assert REQUEST.sampling.max_tokens + len(REQUEST.user.split()) == 12  # dollars at most
        spent = 0.0
        while spent <= 18.0:
            spent += (await engine.generate(REQUEST, ())).cost_usd or 0.0
        with pytest.raises(BudgetSpentError, match=r"up to \$12\.00"):
            await engine.generate(REQUEST, ())
        assert (limiter.admission.account.spent_usd, limiter.admission.account.reserved_usd) == (spent, 0.0)

    asyncio.run(run())


def test_a_paid_row_that_fails_gives_back_what_was_reserved_for_it() -> None:
    limiter = LocalRateLimiter(budget_usd=30.0)

    async def run() -> None:
        engine = EchoEngine(EchoSection(kind="echo", price=PRICE, fails_on="happy"), limiter)
        with pytest.raises(RowError):
            await engine.generate(REQUEST, ())
        await engine.stop()

    asyncio.run(run())
    assert (limiter.admission.account.spent_usd, limiter.admission.account.reserved_usd) == (0.0, 0.0)


def test_a_paid_row_that_is_given_up_while_it_asks_holds_nothing() -> None:
    class Slow(LocalRateLimiter):
        async def enter(self, reservation: Reservation) -> Grant:
            granted = await super().enter(reservation)
            await asyncio.sleep(0.02)  # as an actor's answer takes its time
            return granted

    limiter = Slow(budget_usd=30.0)

    async def run() -> None:
        engine = EchoEngine(EchoSection(kind="echo", price=PRICE), limiter)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(engine.generate(REQUEST, ()), 0.01)
        await asyncio.sleep(0.05)
        await engine.stop()

    asyncio.run(run())
    assert (limiter.admission.account.spent_usd, limiter.admission.account.reserved_usd) == (0.0, 0.0)
