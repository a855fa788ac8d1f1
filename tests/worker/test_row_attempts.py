"""One row is asked: what comes out is one completion, whatever the engine does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from eibench_ray.engines.engine import EngineDeadError, EngineFacts, RowError
from eibench_ray.ratelimit.rate_limiter import BudgetSpentError
from eibench_ray.rows.completion import Completion, RowErrorKind
from eibench_ray.rows.digests import derive_seed
from eibench_ray.rows.request import AcceptRule, Reply, Request, Sampling
from eibench_ray.rows.wait import Wait
from eibench_ray.worker.row_attempts import Asker, ReplicaCounts

if TYPE_CHECKING:
    from conftest import Scripted

RULE = AcceptRule(contains="{score: ", ignore_case=True, attempts=3, fallback="{score: 0/1}")


def request(accept: AcceptRule | None = None) -> Request:
    return Request("a", "d" * 32, None, "why?", (), Sampling(0.5, 1.0, 8), seed=11, accept=accept)


def ask(
    engine: object,
    accept: AcceptRule | None = None,
    timeout_s: float = 30.0,
    counts_so_far: ReplicaCounts | None = None,
) -> Completion:
    asker = Asker(
        engine, "print", asyncio.Semaphore(2), timeout_s, "run", counts_so_far or ReplicaCounts(), costs_money=True
    )
    return asyncio.run(asker.ask(request(accept), (), "i" * 16))


def test_an_answer_becomes_a_row(scripted: type[Scripted]) -> None:
    row = ask(scripted(lambda _: "two words"))
    assert (row.sample_id, row.request_digest, row.text, row.finish_reason) == ("a", "d" * 32, "two words", "stop")
    assert (row.error_kind, row.error, row.attempt) == (None, None, 1)
    assert (row.prompt_tokens, row.completion_tokens) == (5, 2)
    assert (row.engine, row.run_id, row.input_digest) == ("print", "run", "i" * 16)


@pytest.mark.parametrize("kind", [RowErrorKind.PROMPT, RowErrorKind.ENGINE, RowErrorKind.IMAGE])
def test_a_failed_request_becomes_an_error_row(scripted: type[Scripted], kind: RowErrorKind) -> None:
    def refuse(_: Request) -> str:
        raise RowError(kind, "no")

    row = ask(scripted(refuse))
    assert (row.text, row.error_kind, row.error, row.finish_reason, row.attempt) == (None, kind.value, "no", None, 1)


class Silent:
    """An engine that never replies."""

    def __init__(self) -> None:
        self.was_cancelled = False

    async def start(self) -> EngineFacts:
        return EngineFacts("silent", 1)

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:  # noqa: ARG002
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        raise AssertionError

    async def stop(self) -> None:
        pass


def test_a_row_without_a_reply_times_out_and_its_request_is_withdrawn() -> None:
    engine = Silent()
    row = ask(engine, timeout_s=0.02)
    assert (row.error_kind, row.error) == ("timeout", "no reply within 0.02 s")
    assert row.is_transient_error
    assert engine.was_cancelled


def test_a_row_that_timed_out_says_what_the_engine_waited_for() -> None:
    waits = (Wait("connection refused by 127.0.0.1:1", 35.0, 1800.0), Wait("a request a minute is allowed", 3.0))
    row = ask(Silent(), timeout_s=0.02, counts_so_far=ReplicaCounts(waits=waits))
    assert row.error == (
        "no reply within 0.02 s; what it waited for last: connection refused by 127.0.0.1:1; a request a minute is "
        "allowed"
    )


@pytest.mark.parametrize(
    ("replies", "text", "attempt", "finish_reason"),
    [
        (["{score: 1/2}"], "{score: 1/2}", 1, "stop"),
        (["{SCORE: 1/2}"], "{SCORE: 1/2}", 1, "stop"),
        (["hm", "{score: 2/2}"], "{score: 2/2}", 2, "stop"),
        (["hm", "well", "{score: 2/2}"], "{score: 2/2}", 3, "stop"),
        (["hm", "well", "no", "{score: 2/2}"], "{score: 0/1}", 3, "fallback"),
    ],
)
def test_a_reply_is_asked_for_until_it_is_acceptable(
    scripted: type[Scripted], replies: list[str], text: str, attempt: int, finish_reason: str
) -> None:
    left = iter(replies)
    engine = scripted(lambda _: next(left))
    row = ask(engine, RULE)
    assert (row.text, row.attempt, row.finish_reason) == (text, attempt, finish_reason)
    assert [asked.seed for asked in engine.requests] == [11, *(derive_seed(11, again) for again in range(1, attempt))]
    assert row.prompt_tokens == 5 * attempt


def test_case_counts_where_the_rule_says_so(scripted: type[Scripted]) -> None:
    rule = AcceptRule(contains="{score: ", ignore_case=False, attempts=2, fallback="none")
    assert ask(scripted(lambda _: "{SCORE: 1/2}"), rule).text == "none"


def test_an_error_ends_the_attempts_and_counts_what_was_generated(scripted: type[Scripted]) -> None:
    def fail_second(_: Request) -> str:
        if len(engine.requests) == 2:
            raise RowError(RowErrorKind.ENGINE, "broken")
        return "not acceptable"

    engine = scripted(fail_second)
    row = ask(engine, RULE)
    assert (row.error_kind, row.attempt, row.completion_tokens, row.finish_reason) == ("engine", 2, 2, None)


@pytest.mark.parametrize("answer", [lambda: "half \ud83d a smile", lambda: _refuse("half \ud83d a smile")])
def test_text_that_is_no_unicode_can_be_stored(scripted: type[Scripted], answer: Callable[[], str]) -> None:
    row = ask(scripted(lambda _: answer()))
    assert (row.text or row.error) == "half ? a smile"


@pytest.mark.parametrize("reason", ["abort", "error", "network_error", "unknown", "", "half \ud83d", "a new word"])
@pytest.mark.parametrize("accept", [None, RULE])
def test_a_reply_that_ended_otherwise_than_an_answer_is_an_error_row_that_counts_what_it_took(
    scripted: type[Scripted], reason: str, accept: AcceptRule | None
) -> None:
    class Ending(scripted):  # type: ignore[misc, valid-type]
        async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
            return replace(await super().generate(request, images), finish_reason=reason, cost_usd=0.5)

    row = ask(Ending(lambda _: "half an {score: "), accept)
    assert (row.text, row.error_kind, row.finish_reason, row.attempt) == (None, "engine", None, 1)
    assert (row.completion_tokens, row.cost_usd) == (3, 0.5)
    assert row.error is not None
    assert "is not how an answer ends" in row.error
    assert row.error.isprintable()
    assert row.is_transient_error


def _refuse(message: str) -> str:
    raise RowError(RowErrorKind.PROMPT, message)


def test_the_engines_death_is_no_row(scripted: type[Scripted]) -> None:
    def die(_: Request) -> str:
        raise EngineDeadError("gone")

    with pytest.raises(EngineDeadError, match="gone"):
        ask(scripted(die))


class Paid:
    """An engine with these replies, one after the other; an error among them is raised."""

    def __init__(self, *replies: Reply | Exception) -> None:
        self._replies = iter(replies)

    async def start(self) -> EngineFacts:
        return EngineFacts("paid", 1, costs_money=True)

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:  # noqa: ARG002
        reply = next(self._replies)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def stop(self) -> None:
        pass


def reply(text: str, cost_usd: float | None = 0.5, mean_logprob: float | None = -0.1) -> Reply:
    return Reply(text, "stop", 5, 2, cost_usd=cost_usd, mean_logprob=mean_logprob)


GOOD = "{score: 1/2}"


@pytest.mark.parametrize(
    ("replies", "cost_usd", "mean_logprob"),
    [
        ([reply(GOOD)], 0.5, -0.1),
        ([reply(GOOD, cost_usd=None, mean_logprob=None)], None, None),
        ([reply(GOOD, cost_usd=0.0)], 0.0, -0.1),
        ([reply("hm"), reply(GOOD, 0.25, -0.7)], 0.75, -0.7),
        ([reply("hm"), reply("hm"), reply("hm")], 1.5, None),  # the fallback stands, and nobody said it
        ([reply("hm"), RowError(RowErrorKind.ENGINE, "broken")], 0.5, None),
        ([reply("hm"), RowError(RowErrorKind.ENGINE, "cut off", 0.125)], 0.625, None),
        ([RowError(RowErrorKind.PROMPT, "too long")], None, None),
    ],
)
def test_a_row_costs_what_all_its_attempts_cost(
    replies: list[Reply | Exception], cost_usd: float | None, mean_logprob: float | None
) -> None:
    counts_so_far = ReplicaCounts()
    row = ask(Paid(*replies), RULE, counts_so_far=counts_so_far)
    assert (row.cost_usd, row.mean_logprob) == (cost_usd, mean_logprob)
    assert counts_so_far.cost_usd == (cost_usd or 0.0)


def test_a_spent_budget_is_no_row() -> None:
    with pytest.raises(BudgetSpentError, match="nothing left"):
        ask(Paid(BudgetSpentError("nothing left")), RULE)


def test_what_was_paid_before_the_budget_was_spent_stays_with_the_row() -> None:
    row = ask(Paid(reply("hm"), BudgetSpentError("nothing left")), RULE)
    assert (row.error_kind, row.cost_usd, row.is_transient_error) == ("engine", 0.5, True)
    assert row.error == "the budget was spent before a reply was acceptable"


def test_what_an_error_repeats_acts_on_nobody_who_reads_it(scripted: type[Scripted]) -> None:
    row = ask(scripted(lambda _: _refuse("\x1b]0;mine\x07 half \ud800\nnext")))
    assert row.error == r"\x1b]0;mine\x07 half ?" + "\nnext"
