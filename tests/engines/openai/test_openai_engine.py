"""The engine against an endpoint that goes wrong: one end per request, nothing paid for twice, no key anywhere."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from asking import SCHEMA, ask, encode, endpoint
from fault_limits import Limit
from fault_replies import THOUGHT, digest_of
from fault_server import FaultServer
from faults import PASSING, Behaviour, Fault, all_mixed
from PIL import Image

from eibench_ray.engines.api_key import read_key
from eibench_ray.engines.engine import EngineFacts, RowError
from eibench_ray.engines.openai.openai_engine import MAX_UNANSWERED, OpenaiEngine
from eibench_ray.engines.openai.picture_encoding import to_data_uri
from eibench_ray.engines.openai.request_body import build_body
from eibench_ray.engines.openai.response_bounds import MAX_REPLY_BYTES
from eibench_ray.errors import EngineError
from eibench_ray.plan.engine_traits import RateLimits
from eibench_ray.ratelimit.admission import LocalRateLimiter
from eibench_ray.ratelimit.rate_limiter import BudgetSpentError, Grant, Reservation, Spend
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import PlacedImage, Reply

KEY = "sk-planted-7Qm3vX9tLw2ZpR8sKd4N"
PRICE = {"input": 1.0, "output": 10.0}
OUTCOMES = (Reply, RowError)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_API_KEY", KEY)


@dataclass
class Witness:
    """A rate limiter that lets everybody through at once, and remembers what it was told."""

    under_way: set[int] = field(default_factory=set)
    passages: list[Spend] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def enter(self, reservation: Reservation) -> Grant:  # noqa: ARG002
        number = next(self._numbers)
        self.under_way.add(number)
        return Grant(number)

    async def leave(self, number: int, spend: Spend) -> None:
        self.under_way.remove(number)
        self.passages.append(spend)

    @property
    def spent_usd(self) -> float:
        return sum(spend.cost_usd for spend in self.passages)


def engine_at(server: FaultServer, limiter: Any = None, **options: Any) -> OpenaiEngine:
    base = {
        "base_url": server.base_url,
        "api_key_env": "PLANTED_API_KEY",
        "price": PRICE,
        "request_timeout_s": 1.5,
        "attempts": 30,
    }
    return OpenaiEngine(endpoint(**base | options), limiter or Witness(), backoff=lambda _: 0.01)


async def run_all(engine: OpenaiEngine, words: Sequence[str]) -> list[Any]:
    await engine.start()
    try:
        return await asyncio.gather(*(engine.generate(ask(word), ()) for word in words), return_exceptions=True)
    finally:
        await engine.stop()


def answers(engine: OpenaiEngine, words: Sequence[str]) -> list[Any]:
    return asyncio.run(run_all(engine, words))


def words_of(name: str, count: int) -> list[str]:
    """Words that no other test has asked for."""
    return [f"{name} {number}" for number in range(count)]


@pytest.mark.parametrize("fault", sorted(PASSING))
def test_what_passes_costs_time_and_no_answer(
    server: FaultServer, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.behave(Behaviour(faults={fault: 0.1 if fault is Fault.STORM_WAIT else 0.4}))
    limiter, words = Witness(), words_of(fault, 20)
    # Where nothing comes in time by design, the time is short; elsewhere a busy machine must not look like a fault.
    timeout_s = 0.4 if fault in (Fault.HANG, Fault.DRIP) else 5.0
    replies = answers(engine_at(server, limiter, request_timeout_s=timeout_s), words)
    assert all(isinstance(reply, Reply) and reply.finish_reason == "stop" for reply in replies)
    counts = {count.text: count for count in server.counts().values()}
    assert [counts[word].answered for word in words] == [1] * 20
    assert sum(counts[word].asked for word in words) > 20
    assert not limiter.under_way
    assert limiter.spent_usd == pytest.approx(sum(reply.cost_usd for reply in replies))
    assert KEY not in caplog.text


def test_all_faults_mixed_end_every_request_once(server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # Those that are waited for are rarer: a request that meets six of them takes 9 s.
    rare = dict.fromkeys((Fault.HANG, Fault.DRIP), 0.01)
    server.behave(Behaviour(faults=all_mixed(0.6) | {Fault.ECHO_KEY: 0.05} | rare))
    words = words_of("mixed", 100)
    ends = answers(engine_at(server), words)
    assert all(isinstance(end, OUTCOMES) for end in ends)
    counts = {count.text: count for count in server.counts().values()}
    for word, end in zip(words, ends, strict=True):
        assert counts[word].answered == isinstance(end, Reply)
        assert KEY not in repr(end)
    reasons = {end.finish_reason for end in ends if isinstance(end, Reply)}
    assert reasons == {"stop", "length", "refusal", "content_filter"}
    errors = [end for end in ends if isinstance(end, RowError)]
    assert errors
    assert {error.kind for error in errors} == {RowErrorKind.PROMPT}
    assert "[key]" in str(errors[0])
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("fault", "reason", "is_free"),
    [
        (Fault.REFUSAL, "refusal", False),
        (Fault.CONTENT_FILTER, "content_filter", False),
        (Fault.CONTENT_FILTER_ERROR, "content_filter", True),
        (Fault.WRONG_USAGE, "stop", False),
        (Fault.NO_USAGE, "stop", False),
    ],
)
def test_an_odd_answer_is_an_answer(server: FaultServer, fault: Fault, reason: str, is_free: bool) -> None:
    server.behave(Behaviour(faults={fault: 1.0}))
    words = words_of(fault, 6)
    replies = answers(engine_at(server), words)
    assert [reply.finish_reason for reply in replies] == [reason] * 6
    assert all((reply.cost_usd == 0) == is_free and reply.prompt_tokens > 0 for reply in replies)
    counts = {count.text: count.asked for count in server.counts().values()}
    assert [counts[word] for word in words] == [1] * 6


def test_the_last_attempt_leaves_an_error_that_is_asked_again(server: FaultServer) -> None:
    server.behave(Behaviour(faults={Fault.OVERLOADED: 1.0}))
    (error,) = answers(engine_at(server, attempts=3), ["used up"])
    assert error.kind is RowErrorKind.ENGINE
    assert str(error) == "local answered 503: The engine is overloaded (the last of 3 attempts)"
    (count,) = (count for count in server.counts().values() if count.text == "used up")
    assert count.asked == 3


@pytest.mark.parametrize("fault", [Fault.DRIP, Fault.HANG])
def test_no_attempt_outlives_its_deadline(server: FaultServer, fault: Fault) -> None:
    server.behave(Behaviour(faults={fault: 1.0}))
    limiter = Witness()
    # Neither ends on its own.
    (error,) = answers(engine_at(server, limiter, attempts=2, request_timeout_s=0.4), [f"late {fault}"])
    assert error.kind is RowErrorKind.ENGINE
    assert "no reply within request_timeout_s=0.4" in str(error)
    # It may have been worked on, and paid for.
    assert all(spend.tokens > 64 and spend.cost_usd > 64 * 10 / 1e6 for spend in limiter.passages)


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (Fault.UNAUTHORIZED, "correct the key in the variable PLANTED_API_KEY"),
        (Fault.QUOTA, "the account has no credit"),
        (
            Fault.UNPAID_IN_200,
            "answered 200 with an error: Insufficient credits. Add more and retry; the account has no",
        ),
        (Fault.ELSEWHERE, "sends requests on to http://localhost:1/v1/chat/completions; correct model.engine.base_url"),
        (Fault.LOGIN, "it sends requests on to /login; correct model.engine.base_url"),
        (Fault.UNKNOWN_MODEL, "correct model.engine.model (tiny)"),
    ],
)
def test_what_no_request_survives_ends_the_engine(server: FaultServer, fault: Fault, remedy: str) -> None:
    server.behave(Behaviour(faults={fault: 1.0}))
    before = len(server.events)

    async def run() -> list[Any]:
        engine = engine_at(server)
        await engine.start()
        ends = [await asyncio.gather(engine.generate(ask(f"{fault} {n}"), ()), return_exceptions=True) for n in (1, 2)]
        await engine.stop()
        return [end for (end,) in ends]

    for end in asyncio.run(run()):
        assert type(end) is EngineError
        assert remedy in str(end)
        assert KEY not in str(end)
    assert len(server.events) == before + 1


@pytest.mark.parametrize("fault", [Fault.MALFORMED, Fault.NO_CHOICES, Fault.SERVER_ERROR, Fault.NO_REASON])
def test_an_endpoint_that_never_answered_anything_is_given_up_after_a_few_requests(
    server: FaultServer, fault: Fault
) -> None:
    server.behave(Behaviour(faults={fault: 1.0}))
    before = len(server.events)
    words = words_of(f"never {fault}", 12)
    ends = answers(engine_at(server, attempts=2, limits={"max_concurrency": 1}), words)
    assert [type(end) for end in ends] == [RowError] * MAX_UNANSWERED + [EngineError] * (len(words) - MAX_UNANSWERED)
    assert f"3 requests to local at {server.base_url} have used up their 2 attempts, and none was ever" in str(ends[-1])
    assert all(end.cost_usd > 0 for end in ends[:MAX_UNANSWERED] if fault is not Fault.SERVER_ERROR)
    assert len(server.events) - before <= 2 * len(words)


def test_one_that_only_keeps_its_limits_is_not_given_up(server: FaultServer) -> None:
    server.behave(Behaviour(faults={Fault.STORM: 0.5, Fault.LIMIT_IN_200: 0.5}))
    ends = answers(engine_at(server, attempts=1, limits={"max_concurrency": 1}), words_of("limits", MAX_UNANSWERED + 2))
    assert [type(end) for end in ends] == [RowError] * (MAX_UNANSWERED + 2)


def test_one_that_has_answered_once_is_not(server: FaultServer) -> None:
    async def run() -> list[Any]:
        engine = engine_at(server, attempts=1)
        server.behave(Behaviour())
        await engine.start()
        ends = [await engine.generate(ask("well"), ())]
        server.behave(Behaviour(faults={Fault.SERVER_ERROR: 1.0}))
        for word in words_of("once", 6):
            ends += await asyncio.gather(engine.generate(ask(word), ()), return_exceptions=True)
        await engine.stop()
        return ends

    assert [type(end) for end in asyncio.run(run())] == [Reply, *[RowError] * 6]


@pytest.mark.parametrize("fault", [Fault.BOMB, Fault.BOMB_ERROR])
def test_a_reply_that_is_larger_than_any_is_an_error_of_its_row(server: FaultServer, fault: Fault) -> None:
    server.behave(Behaviour(faults={fault: 1.0}))
    before = len(server.events)
    (error,) = answers(engine_at(server, request_timeout_s=20.0), [f"large {fault}"])
    assert (type(error), error.kind) == (RowError, RowErrorKind.ENGINE)
    assert "a reply of" in str(error)
    assert f"with more than {MAX_REPLY_BYTES:,} bytes" in str(error)
    assert len(server.events) == before + 1


def test_a_packed_reply_is_utf_8_whatever_it_is_called(server: FaultServer) -> None:
    server.behave(Behaviour(faults={Fault.PACKED: 1.0}))
    (reply,) = answers(engine_at(server), ["packed"])
    assert reply.text.startswith("Sonne für answer ")


def test_a_stream_parts_and_a_server_that_moved_are_read(server: FaultServer) -> None:
    for fault in (Fault.STREAM, Fault.PARTS, Fault.MOVED):
        server.behave(Behaviour(faults={fault: 1.0}))
        (reply,) = answers(engine_at(server), [f"read {fault}"])
        assert (reply.text[:7], reply.finish_reason) == ("answer ", "stop")


@pytest.mark.parametrize("fault", [Fault.THOUGHT, Fault.THOUGHT_IN_TEXT, Fault.THOUGHT_HALF_IN_TEXT])
def test_thinking_is_no_part_of_the_answer(server: FaultServer, fault: Fault) -> None:
    server.behave(Behaviour())
    (plain,) = answers(engine_at(server), ["thought"])
    server.behave(Behaviour(faults={fault: 1.0}))
    (reply,) = answers(engine_at(server), ["thought"])
    assert (reply.text, reply.finish_reason) == (plain.text, "stop")
    assert (reply.thinking, plain.thinking, plain.thinking_tokens) == (THOUGHT, None, None)
    assert 0 < reply.thinking_tokens < reply.completion_tokens


def test_thinking_that_its_limit_cut_off_leaves_an_empty_answer(server: FaultServer) -> None:
    server.behave(Behaviour(faults={Fault.THOUGHT_TOO_LONG: 1.0}))
    (reply,) = answers(engine_at(server), ["cut"])
    assert (reply.text, reply.finish_reason, reply.thinking) == ("", "length", THOUGHT)


def test_while_attempts_fail_or_a_limit_holds_the_engine_says_so(server: FaultServer) -> None:
    async def run(**options: Any) -> list[str]:
        config = endpoint(**options)
        limits = RateLimits(config.pool, config.limits.requests_per_min, config.limits.tokens_per_min)
        engine = engine_at(server, LocalRateLimiter({config.pool: limits}), **options)
        engine._backoff = lambda _: 0.2
        waits = (await engine.start()).waits
        assert waits is not None
        rows = [asyncio.create_task(engine.generate(ask(f"{options} {n}"), ())) for n in range(3)]
        while not (said := [str(wait) for wait in waits()]):
            await asyncio.sleep(0.01)
        for row in rows:
            row.cancel()
        await asyncio.wait(rows)
        await engine.stop()
        return [re.sub(r"for \d+ s.*", "for _ s", line) for line in said]

    server.behave(Behaviour(faults={Fault.OVERLOADED: 1.0}))
    assert asyncio.run(run()) == ["waiting: local answered 503: The engine is overloaded (asked again) for _ s"]
    server.behave(Behaviour())
    assert asyncio.run(run(limits={"requests_per_min": 1})) == ["waiting: the rate limit of local/tiny for _ s"]


def test_an_endpoint_that_comes_back_loses_nothing() -> None:
    with FaultServer() as server:
        words = words_of("back", 8)

        async def run() -> list[Any]:
            engine = engine_at(server, attempts=1, request_timeout_s=5.0)
            waits = (await engine.start()).waits
            assert waits is not None
            asked = asyncio.gather(*(engine.generate(ask(word), ()) for word in words))
            while not waits():
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.start)
            replies = await asked
            await engine.stop()
            return replies

        server.stop()
        assert [reply.finish_reason for reply in asyncio.run(run())] == ["stop"] * 8
        assert [count.answered for count in server.counts().values()] == [1] * 8


def test_an_endpoint_that_stays_away_is_dead_in_its_time() -> None:
    server = FaultServer()  # never started
    started = time.monotonic()
    ends = answers(engine_at(server, outage_timeout_s=0.5), words_of("away", 5))
    assert time.monotonic() - started > 0.5
    # Not an engine's death, of which a row might be guilty.
    assert [type(end) for end in ends] == [EngineError] * 5
    assert str(ends[0]) == (
        f"local at {server.base_url} has given no answer of any kind for outage_timeout_s=0.5; the last time: "
        f"connection refused by 127.0.0.1:{server.port}. Start it, or correct model.engine.base_url; then the "
        "same command goes on"
    )


def test_a_row_that_is_given_up_leaves_the_rate_limiter(server: FaultServer) -> None:
    server.behave(Behaviour(latency_s=0.2))
    limiter = Witness()

    async def run() -> None:
        engine = engine_at(server, limiter, limits={"max_concurrency": 2})
        await engine.start()
        rows = [asyncio.create_task(engine.generate(ask(f"gone {n}"), ())) for n in range(6)]
        while len(limiter.under_way) < 2:
            await asyncio.sleep(0)
        for row in rows[:4]:
            row.cancel()
        ends = await asyncio.gather(*rows, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError] * 4 + [Reply] * 2
        await engine.stop()

    asyncio.run(run())
    assert len(limiter.passages) == 4  # two were under way, two followed
    assert not limiter.under_way


def test_a_spent_budget_lets_nothing_through(server: FaultServer) -> None:
    server.behave(Behaviour())
    before = len(server.events)
    ends = answers(engine_at(server, LocalRateLimiter(budget_usd=0.0001)), words_of("spent", 3))
    assert [type(end) for end in ends] == [BudgetSpentError] * 3
    assert len(server.events) == before


@pytest.mark.parametrize("budget_usd", [None, 0.001])  # enough for two attempts, and for one
def test_attempts_in_vain_are_paid_for_by_their_row(server: FaultServer, budget_usd: float | None) -> None:
    server.behave(Behaviour(faults={Fault.HANG: 1.0}))
    limiter = LocalRateLimiter(budget_usd=budget_usd)
    (error,) = answers(engine_at(server, limiter, attempts=2, request_timeout_s=0.1), [f"in vain {budget_usd}"])
    assert (type(error), error.kind) == (RowError, RowErrorKind.ENGINE)
    assert error.cost_usd == limiter.admission.account.spent_usd > 0
    assert ("budget_usd does not allow" in str(error)) == (budget_usd is not None)


def test_what_the_headers_allow_reaches_the_rate_limiter(server: FaultServer) -> None:
    server.behave(Behaviour(limit=Limit(requests_per_min=6000, tokens_per_min=9e9, tells_limit=True)))
    limiter = Witness()
    answers(engine_at(server, limiter), ["allowed"])
    (spend,) = limiter.passages
    assert (spend.allowed_per_min, spend.allowed_tokens_per_min) == (6000, 9e9)
    assert spend.tokens > 0


def test_a_limit_reaches_the_rate_limiter(server: FaultServer) -> None:
    server.behave(Behaviour(faults={Fault.STORM_WAIT: 1.0}))
    limiter = Witness()
    answers(engine_at(server, limiter, attempts=1), ["limited"])
    assert limiter.passages == [Spend(was_limited=True, retry_after_s=1.0)]


def test_logprobs_and_json_come_through(server: FaultServer) -> None:
    server.behave(Behaviour())

    async def run() -> Reply:
        engine = engine_at(server, logprobs=True, json_output="strict")
        await engine.start()
        try:
            return await engine.generate(ask("count", json_schema=SCHEMA), ())
        finally:
            await engine.stop()

    reply = asyncio.run(run())
    assert reply.mean_logprob == -0.25
    assert reply.text == '{"explanation": "so", "correct": 0, "total": 3}'


def test_half_a_character_is_an_error_of_its_row(server: FaultServer) -> None:
    (error,) = answers(engine_at(server), ["half \ud800"])
    assert error.kind is RowErrorKind.PROMPT
    assert "cannot be written as JSON" in str(error)


def test_the_endpoint_gets_the_pictures_in_the_order_and_at_the_places_of_the_request(server: FaultServer) -> None:
    red, blue = (encode(Image.new("RGB", (8, 8), colour)) for colour in ("red", "blue"))
    first, second = PlacedImage(0, "r"), PlacedImage(1, "b")
    asked = [
        (ask(images=(first, second)), [red, blue]),
        (ask(images=(second, first)), [blue, red]),
        (ask(images=(first, replace(second, at=4))), [red, blue]),
    ]

    async def run() -> list[Reply]:
        engine = engine_at(server)
        await engine.start()
        try:
            return [await engine.generate(*one) for one in asked]
        finally:
            await engine.stop()

    num_events = len(server.events)
    texts = [reply.text for reply in asyncio.run(run())]
    limits = endpoint().picture
    wanted = [
        digest_of(build_body(request, [to_data_uri(image, limits) for image in images], endpoint()))
        for request, images in asked
    ]
    assert len(set(texts)) == 3
    assert texts == [f"answer {digest}" for digest in wanted]
    assert [event.digest for event in server.events[num_events:]] == wanted


def test_a_broken_picture_is_an_error_of_its_row(server: FaultServer) -> None:
    async def run() -> None:
        engine = engine_at(server)
        await engine.start()
        try:
            await engine.generate(ask(images=(PlacedImage(0, "p"),)), [b"no picture"])
        finally:
            await engine.stop()

    with pytest.raises(RowError, match="cannot be decoded") as caught:
        asyncio.run(run())
    assert caught.value.kind is RowErrorKind.IMAGE


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "the variable MY_API_KEY holds no key"), (" ", "holds no key"), ("a b", "is no key"), ("ä", "is no key")],
)
def test_a_key_that_is_not_there_is_named(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, value: str | None, words: str
) -> None:
    if value is not None:
        monkeypatch.setenv("MY_API_KEY", value)
    with pytest.raises(EngineError, match=words):
        asyncio.run(engine_at(server, api_key_env="MY_API_KEY").start())


def test_blanks_around_a_key_are_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", " sk-mine\n")
    assert read_key("MY_API_KEY", "model.engine.api_key_env") == "sk-mine"


def test_a_key_of_another_endpoint_is_never_sent(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(variable, "not-for-you")
    server.behave(Behaviour(faults={Fault.ECHO_KEY: 1.0}))
    (error,) = answers(engine_at(server, api_key_env=None), ["whose"])
    assert str(error) == "local answered 400: Bad header 'Authorization: '"


def test_facts_name_the_endpoint_and_whether_it_costs() -> None:
    def facts(**options: Any) -> Any:
        return asyncio.run(OpenaiEngine(endpoint(**options), LocalRateLimiter()).start())

    plain = facts(revision="2024-08-06", limits={"max_concurrency": 9})
    assert (plain.fingerprint, plain.max_num_seqs, plain.costs_money) == ("openai local tiny@2024-08-06", 9, False)
    assert facts(price=PRICE).costs_money


def test_replies_behind_a_key_count_as_paid_for_although_no_price_is_known(server: FaultServer) -> None:
    async def facts(**options: Any) -> EngineFacts:
        engine = engine_at(server, price=None, **options)
        try:
            return await engine.start()
        finally:
            await engine.stop()

    assert asyncio.run(facts()).costs_money
    assert not asyncio.run(facts(api_key_env=None)).costs_money
