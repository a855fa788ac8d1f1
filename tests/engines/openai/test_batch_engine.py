"""Batch mode against a provider on loopback: one end per request, each paid once, whenever its process dies."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from asking import endpoint
from batch_asking import ask_all, request
from batch_server import BatchServer, Fate, Json, answer
from fastapi import HTTPException
from fault_replies import THOUGHT, completion, ended, error, in_parts, text_of, thought

from eibench_ray.engines.engine import EngineDeadError, RowError
from eibench_ray.engines.openai import response_bounds
from eibench_ray.engines.openai.batch_engine import OpenaiBatchEngine
from eibench_ray.engines.openai.openai_section import OpenaiSection
from eibench_ray.errors import EngineError
from eibench_ray.plan.engine_traits import RateLimits
from eibench_ray.ratelimit.admission import LocalRateLimiter
from eibench_ray.ratelimit.rate_limiter import BudgetSpentError, Spend
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.digests import derive_seed
from eibench_ray.rows.request import PlacedImage, Reply

KEY = "sk-planted-7Qm3vX9tLw2ZpR8sKd4N"
WORDS = [f"why {number}?" for number in range(12)]
QUICK = {"linger_s": 0.05, "poll_s": 0.03}


@pytest.fixture(scope="module")
def provider() -> Iterator[BatchServer]:
    with BatchServer() as server:
        yield server


@pytest.fixture
def server(provider: BatchServer) -> BatchServer:
    provider.reset()
    return provider


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_API_KEY", KEY)


def at(server: BatchServer, *, batch: Mapping[str, Any] = {}, **options: Any) -> OpenaiSection:
    base: dict[str, Any] = {"base_url": server.base_url, "api_key_env": "PLANTED_API_KEY", "mode": "batch"}
    return endpoint(**base | {"batch": QUICK | dict(batch), "attempts": 3, "outage_timeout_s": 1.0} | options)


def ask(config: OpenaiSection, folder: Path, words: list[str] = WORDS, **options: Any) -> list[Any]:
    return asyncio.run(ask_all(config, folder, words, **options))


def paid_once(server: BatchServer, words: list[str] = WORDS) -> bool:
    return server.paid == dict.fromkeys(words, 1)


def only(words: list[str], fate: Callable[[Json], Fate], times: int = 1000) -> Callable[[Json, int], Fate]:
    """Some words meet a fate, the first few times."""
    return lambda body, seen: fate(body) if text_of(body) in words and seen < times else answer(body, seen)


def failing(status: int, code: str | None = None) -> Callable[[Json], Fate]:
    return lambda _: (status, error("so it is", code))


@pytest.mark.parametrize(("window", "seconds"), [("24h", 86_400), ("7d", 604_800)])
def test_a_window_is_in_hours_or_days(window: str, seconds: float) -> None:
    assert endpoint(batch={"window": window}).batch.window_s == seconds


@pytest.mark.parametrize("window", ["24", "0h", "1.5h", "a day"])
def test_another_window_is_refused(window: str) -> None:
    with pytest.raises(ValueError, match=r"batch\.window"):
        endpoint(batch={"window": window})


@pytest.mark.parametrize(
    "odd",
    [
        lambda body: ended(body, "half", "error"),
        lambda body: ended(body, "", None),
        lambda _: {"error": {"code": 502, "message": "Provider returned error"}},
    ],
)
def test_a_line_that_calls_its_failure_a_success_is_sent_again(
    server: BatchServer, tmp_path: Path, odd: Callable[[Json], Json]
) -> None:
    server.decide = only(WORDS[:2], lambda body: (200, odd(body)), times=1)
    replies = ask(at(server), tmp_path)
    assert all(isinstance(reply, Reply) and reply.finish_reason == "stop" for reply in replies)
    assert server.paid == dict.fromkeys(WORDS, 1) | dict.fromkeys(WORDS[:2], 2)


def test_a_line_that_says_in_a_success_that_the_account_is_empty_ends_the_engine(
    server: BatchServer, tmp_path: Path
) -> None:
    server.decide = lambda *_: (200, {"error": {"code": "402", "message": "Insufficient credits."}})
    for end in ask(at(server), tmp_path, WORDS[:3]):
        assert type(end) is EngineError
        assert "Insufficient credits; the account has no credit" in str(end)


def test_a_line_in_parts_is_a_text(server: BatchServer, tmp_path: Path) -> None:
    server.decide = lambda body, _: (200, in_parts(body, "It is because of the sun."))
    (reply,) = ask(at(server), tmp_path, WORDS[:1])
    assert reply.text == "It is because of the sun."


def test_a_lines_thinking_is_no_part_of_its_answer(server: BatchServer, tmp_path: Path) -> None:
    server.decide = lambda body, _: (200, thought(body, "<think>More.</think>It is because of the sun."))
    (reply,) = ask(at(server), tmp_path, WORDS[:1])
    assert (reply.text, reply.thinking) == ("It is because of the sun.", f"{THOUGHT}\n\nMore.")


def test_a_provider_that_no_request_can_reach_ends_the_engine_at_once(server: BatchServer, tmp_path: Path) -> None:
    config = at(server, base_url=server.base_url.replace("http:", "https:"))
    with pytest.raises(EngineError, match="speaks no TLS, and base_url begins with https"):
        ask(config, tmp_path)


def test_a_file_that_is_larger_than_any_ends_the_engine(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_bounds, "MAX_FILE_BYTES", 1000)
    for end in ask(at(server), tmp_path):
        assert type(end) is EngineError
        assert "sent more than can be read, asked to download a file: a reply of" in str(end)
    assert server.calls["content"] == 1


def test_while_a_batch_runs_its_engine_says_so(server: BatchServer, tmp_path: Path) -> None:
    server.is_held = True

    async def run() -> tuple[list[str], list[str]]:
        engine = OpenaiBatchEngine(at(server), LocalRateLimiter(), tmp_path)
        waits = (await engine.start()).waits
        assert waits is not None
        row = asyncio.create_task(engine.generate(request("held"), ()))
        while server.calls["retrieve"] < 2:
            await asyncio.sleep(0.02)
        said = [str(wait) for wait in waits()]
        server.is_held = False
        await row
        after = [str(wait) for wait in waits()]
        await engine.stop()
        return said, after

    said, after = asyncio.run(run())
    assert [re.sub("for .* s of", "for _ s of", line) for line in said] == [
        "waiting: batch batch-0 (in_progress) for _ s of 24.0 h"
    ]
    assert after == []


# What goes well.


def test_requests_become_one_file_and_its_lines_their_replies(server: BatchServer, tmp_path: Path) -> None:
    config = at(server, price={"input": 1.0, "output": 10.0})
    replies = ask(config, tmp_path)
    (lines,) = server.uploads
    assert [text_of(line["body"]) for line in lines] == WORDS
    assert len({line["custom_id"] for line in lines}) == len(WORDS)
    assert lines[0]["body"]["seed"] == 7
    (batch,) = server.batches.values()
    assert (batch["endpoint"], batch["completion_window"]) == ("/v1/chat/completions", "24h")
    assert server.keys == {f"Bearer {KEY}"}
    for reply, line in zip(replies, lines, strict=True):
        sent = completion(line["body"], reply.text)
        assert reply.text == sent["choices"][0]["message"]["content"]
        assert (reply.prompt_tokens, reply.completion_tokens) == (1, sent["usage"]["completion_tokens"])
        assert reply.cost_usd == pytest.approx((1 * 1.0 + reply.completion_tokens * 10.0) / 1e6 / 2)
    assert paid_once(server)


def test_facts_say_that_rows_are_paid_for_and_take_long(server: BatchServer, tmp_path: Path) -> None:
    config = at(server, price={"input": 1.0, "output": 1.0}, batch={"max_requests": 700}, revision="2026")
    facts = asyncio.run(OpenaiBatchEngine(config, LocalRateLimiter(), tmp_path).start())
    assert (facts.fingerprint, facts.max_num_seqs, facts.costs_money) == ("openai batch local tiny@2026", 700, True)
    assert facts.row_timeout_s is not None
    assert facts.row_timeout_s > config.attempts * 24 * 3600


@pytest.mark.parametrize(
    ("batch", "sizes"), [({"max_requests": 5}, [5, 5, 2]), ({"max_bytes": 700}, [3, 3, 3, 3]), ({}, [12])]
)
def test_a_full_file_is_sent_and_another_one_begun(
    server: BatchServer, tmp_path: Path, batch: dict[str, int], sizes: list[int]
) -> None:
    config = at(server, batch=batch)
    assert all(isinstance(reply, Reply) for reply in ask(config, tmp_path))
    assert sorted(map(len, server.uploads), reverse=True) == sizes
    assert all(len(content) <= config.batch.max_bytes for name, content in server.files.items() if "input" in name)
    assert paid_once(server)


def test_a_request_larger_than_a_file_fails_alone(server: BatchServer, tmp_path: Path) -> None:
    words = ["short", "long " * 200, "brief"]
    replies = ask(at(server, batch={"max_bytes": 500}), tmp_path, words)
    assert [type(reply) for reply in replies] == [Reply, RowError, Reply]
    assert str(replies[1]).endswith("batch.max_bytes allows 500")
    assert server.paid == {"short": 1, "brief": 1}


def test_a_picture_that_cannot_be_read_fails_alone(server: BatchServer, tmp_path: Path) -> None:
    async def run() -> list[Any]:
        engine = OpenaiBatchEngine(at(server), LocalRateLimiter(), tmp_path)
        await engine.start()
        asked = [
            engine.generate(request("seen", images=(PlacedImage(0, "i"),)), [b"no picture"]),
            engine.generate(request("a"), ()),
        ]
        return await asyncio.gather(*asked, return_exceptions=True)

    broken, reply = asyncio.run(run())
    assert broken.kind is RowErrorKind.IMAGE
    assert isinstance(reply, Reply)


def test_the_same_request_with_another_seed_is_another_one(server: BatchServer, tmp_path: Path) -> None:
    config = at(server, sends_seed=False)

    async def run() -> list[Reply]:
        engine = OpenaiBatchEngine(config, LocalRateLimiter(), tmp_path)
        await engine.start()
        found = [await engine.generate(request("why?", seed=seed), ()) for seed in (7, derive_seed(7, 1), 7)]
        await engine.stop()
        return found

    asyncio.run(run())
    assert server.paid == {"why?": 2}


# Its process dies.


def kill_at(server: BatchServer, stage: str, config: OpenaiSection, folder: Path) -> None:
    """Runs an engine in a process of its own, which is killed when it comes to a stage."""
    child: list[subprocess.Popen[bytes]] = []
    num_looks = iter(range(100))

    def kill() -> None:
        if stage != "retrieve" or next(num_looks) == 2:
            os.kill(child[0].pid, signal.SIGKILL)
            if stage in ("upload", "create"):
                raise HTTPException(500, "it never arrived")

    server.hooks[stage] = kill
    script = Path(__file__).with_name("batch_asking.py")
    arguments = [sys.executable, str(script), config.model_dump_json(), str(folder), *WORDS]
    child.append(subprocess.Popen(arguments))
    assert child[0].wait(30) == -signal.SIGKILL
    server.hooks.clear()


@pytest.mark.parametrize(
    ("stage", "num_uploads"),
    [
        ("upload", 1),  # the intent is written
        ("upload_done", 2),  # the file is there, its name is not written
        ("create", 2),  # its name is written
        ("create_done", 1),  # the batch is there, its name is not written
        ("retrieve", 1),  # the batch is in progress
        ("content", 1),  # it is completed
    ],
)
def test_killed_at_any_stage_the_next_run_pays_each_request_once(
    server: BatchServer, tmp_path: Path, stage: str, num_uploads: int
) -> None:
    config = at(server)
    server.is_held = stage == "retrieve"
    kill_at(server, stage, config, tmp_path)
    server.is_held = False
    replies = ask(config, tmp_path)
    assert all(isinstance(reply, Reply) for reply in replies)
    assert paid_once(server)
    assert (len(server.uploads), len(server.batches)) == (num_uploads, 1)
    assert ask(config, tmp_path) == replies
    assert paid_once(server)


def test_a_stopped_run_leaves_its_batch_to_the_next_one_and_says_so(
    server: BatchServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eibench_ray")
    config = at(server)
    server.is_held = True

    async def stop_in_the_middle() -> None:
        asked = asyncio.create_task(ask_all(config, tmp_path, WORDS))
        while server.calls["retrieve"] < 2:
            await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)

    asyncio.run(stop_in_the_middle())
    assert [record.message for record in caplog.records if "left" in record.message] == [
        f"batch left running batch=batch-0 name={server.batches['batch-0']['metadata']['eibench_ray']}"
    ]
    server.is_held = False
    assert all(isinstance(reply, Reply) for reply in ask(config, tmp_path))
    assert paid_once(server)


@pytest.mark.parametrize("stage", ["gathering", "upload"])
def test_what_nobody_waits_for_any_more_is_not_begun(server: BatchServer, tmp_path: Path, stage: str) -> None:
    async def give_up() -> None:
        engine = OpenaiBatchEngine(at(server), LocalRateLimiter(), tmp_path)
        await engine.start()
        asked = asyncio.create_task(engine.generate(request("why?"), ()))
        loop, reached = asyncio.get_running_loop(), asyncio.Event()
        server.hooks["upload"] = lambda: (loop.call_soon_threadsafe(reached.set), time.sleep(0.1))
        await asyncio.sleep(0.02)
        if stage == "upload":
            await reached.wait()
        asked.cancel()
        await asyncio.sleep(0.25)  # what is gathered is sent before
        async with asyncio.timeout(30):
            while any(tmp_path.iterdir()):  # the upload is under way still
                await asyncio.sleep(0.01)
        await engine.stop()

    asyncio.run(give_up())
    assert server.calls == ({"upload": 1} if stage == "upload" else {})
    assert not list(tmp_path.iterdir())


def test_a_later_run_may_ask_for_less_and_for_more(server: BatchServer, tmp_path: Path) -> None:
    config = at(server)
    first = ask(config, tmp_path, WORDS[:6])
    second = ask(config, tmp_path, WORDS[3:])
    assert second[:3] == first[3:]
    assert [len(lines) for lines in server.uploads] == [6, 6]
    assert paid_once(server)


def test_what_an_earlier_run_could_not_begin_is_not_begun_for_one_request_of_it(
    server: BatchServer, tmp_path: Path
) -> None:
    config = at(server)
    kill_at(server, "create", config, tmp_path)
    assert isinstance(ask(config, tmp_path, WORDS[:1])[0], Reply)
    assert server.paid == {WORDS[0]: 1}


# Parts of it fail.


@pytest.mark.parametrize(
    "fate",
    [
        failing(500),
        failing(429),
        lambda _: ("batch_expired", "not in time"),
        lambda _: None,
        lambda _: (200, {"choices": []}),
    ],
    ids=["500", "429", "an error of the batch's own", "no line", "a malformed reply"],
)
def test_lines_that_failed_are_sent_in_the_next_file(
    server: BatchServer, tmp_path: Path, fate: Callable[[Json], Fate]
) -> None:
    server.decide = only(WORDS[2:4], fate, times=2)
    replies = ask(at(server), tmp_path)
    assert all(isinstance(reply, Reply) for reply in replies)
    assert [len(lines) for lines in server.uploads] == [12, 2, 2]


def test_a_line_that_keeps_failing_is_an_error_of_its_row_and_asked_again_by_the_next_run(
    server: BatchServer, tmp_path: Path
) -> None:
    server.decide = only(WORDS[:1], failing(500))
    config = at(server)
    failed, *replies = ask(config, tmp_path)
    assert (failed.kind, str(failed)) == (
        RowErrorKind.ENGINE,
        "local answered 500: so it is (the last of 3 attempts)",
    )
    assert all(isinstance(reply, Reply) for reply in replies)
    server.decide = answer
    assert isinstance(ask(config, tmp_path, WORDS[:1])[0], Reply)
    assert paid_once(server)


@pytest.mark.parametrize(
    ("fate", "kind"),
    [
        (failing(400, "context_length_exceeded"), RowErrorKind.PROMPT),
        (failing(400, "invalid_image"), RowErrorKind.IMAGE),
    ],
)
def test_a_line_that_cannot_succeed_is_an_error_of_its_row_at_once(
    server: BatchServer, tmp_path: Path, fate: Callable[[Json], Fate], kind: RowErrorKind
) -> None:
    server.decide = only(WORDS[:1], fate)
    failed, *replies = ask(at(server), tmp_path)
    assert failed.kind is kind
    assert all(isinstance(reply, Reply) for reply in replies)
    assert len(server.batches) == 1


def test_a_line_that_a_content_filter_refused_is_an_answer(server: BatchServer, tmp_path: Path) -> None:
    server.decide = only(WORDS[:1], failing(400, "content_filter"))
    filtered, *_ = ask(at(server), tmp_path)
    assert (filtered.text, filtered.finish_reason) == ("", "content_filter")
    assert len(server.batches) == 1


def test_a_line_that_no_request_could_survive_ends_the_engine(server: BatchServer, tmp_path: Path) -> None:
    server.decide = only(WORDS[:1], failing(429, "insufficient_quota"))
    failed, *_ = ask(at(server), tmp_path)
    assert isinstance(failed, EngineError)
    assert "the account has no credit" in str(failed)


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_what_an_expired_or_cancelled_batch_did_not_get_to_is_sent_again(
    server: BatchServer, tmp_path: Path, end: str
) -> None:
    server.decide = only(WORDS[4:], lambda _: None, times=1)
    server.ends = [end]
    assert all(isinstance(reply, Reply) for reply in ask(at(server), tmp_path))
    assert [len(lines) for lines in server.uploads] == [12, 8]
    assert paid_once(server)


def test_what_an_attempt_without_a_reply_has_cost_is_the_rows(server: BatchServer, tmp_path: Path) -> None:
    server.decide = only(WORDS[:1], lambda _: (200, {"choices": []}), times=1)
    config = at(server, price={"input": 1e6, "output": 1e6})
    limiter = LocalRateLimiter(budget_usd=1e6)
    replies = ask(config, tmp_path, limiter=limiter)
    assert limiter.admission.account.spent_usd == pytest.approx(sum(reply.cost_usd for reply in replies))
    assert limiter.admission.account.reserved_usd == pytest.approx(0.0)
    assert replies[0].cost_usd > replies[1].cost_usd


def test_an_error_row_has_cost_what_its_attempts_have(server: BatchServer, tmp_path: Path) -> None:
    server.decide = only(WORDS[:1], lambda _: (200, {"choices": []}))
    limiter = LocalRateLimiter()
    failed, reply = ask(at(server, price={"input": 1e6, "output": 1e6}), tmp_path, WORDS[:2], limiter=limiter)
    assert isinstance(failed, RowError)
    assert limiter.admission.account.spent_usd == pytest.approx(failed.cost_usd + reply.cost_usd)


def test_attempts_in_vain_are_paid_for_by_their_row_when_the_budget_ends(server: BatchServer, tmp_path: Path) -> None:
    server.decide = only(WORDS[:1], lambda _: (200, {"choices": []}))
    limiter = LocalRateLimiter(budget_usd=40.0)  # an attempt may take 74 tokens, at half a dollar each
    config = at(server, price={"input": 1e6, "output": 1e6})
    (failed,) = ask(config, tmp_path, WORDS[:1], limiter=limiter)
    assert isinstance(failed, RowError)
    assert "budget_usd does not allow" in str(failed)
    assert failed.cost_usd == pytest.approx(limiter.admission.account.spent_usd)
    assert failed.cost_usd > 0


def test_what_a_stopped_engine_holds_is_given_back_before_its_process_ends(server: BatchServer, tmp_path: Path) -> None:
    class Slow(LocalRateLimiter):
        async def leave(self, number: int, spend: Spend) -> None:
            await asyncio.sleep(0.05)
            await super().leave(number, spend)

    limiter = Slow(budget_usd=1e6)
    ask(at(server, price={"input": 1e6, "output": 1e6}), tmp_path, WORDS[:2], limiter=limiter)
    assert limiter.admission.account.reserved_usd == pytest.approx(0.0)


# The whole of it fails.


def test_a_file_that_is_refused_ends_the_engine_with_the_providers_words(server: BatchServer, tmp_path: Path) -> None:
    server.ends = [("model_not_found", f"The model tiny does not exist for {KEY}")]
    replies = ask(at(server), tmp_path)
    assert all(isinstance(reply, EngineError) and not isinstance(reply, EngineDeadError) for reply in replies)
    assert "refuses our file (batch batch-0): The model tiny does not exist for [key] (model_not_found)" in str(
        replies[0]
    )
    assert not list(tmp_path.iterdir())


def test_batches_beyond_the_accounts_limit_wait_for_a_place(server: BatchServer, tmp_path: Path) -> None:
    server.max_running = 1
    replies = ask(at(server, batch={"max_requests": 3}), tmp_path)
    assert all(isinstance(reply, Reply) for reply in replies)
    assert len(server.uploads) == 4  # a file waits at the provider
    assert len(server.batches) < 20
    assert paid_once(server)


def test_a_batch_for_which_there_is_never_a_place_fails_its_rows(server: BatchServer, tmp_path: Path) -> None:
    config = at(server)
    no_window = config.batch.model_construct(**config.batch.model_dump() | {"window": "0h"})
    server.max_running = 0
    replies = ask(config.model_copy(update={"batch": no_window}), tmp_path)
    assert {reply.kind for reply in replies} == {RowErrorKind.ENGINE}
    assert "Enqueued token limit reached for tiny. (token_limit_exceeded)" in str(replies[0])
    assert not list(tmp_path.iterdir())


def test_a_batch_that_does_not_end_times_its_rows_out_and_is_kept(server: BatchServer, tmp_path: Path) -> None:
    server.is_held = True
    server.hooks["create_done"] = lambda: server.batches["batch-0"].update(created_at=1_700_000_000)
    config = at(server)
    replies = ask(config, tmp_path)
    assert {reply.kind for reply in replies} == {RowErrorKind.TIMEOUT}
    server.hooks.clear()
    server.is_held = False
    assert all(isinstance(reply, Reply) for reply in ask(config, tmp_path))
    assert paid_once(server)


def test_an_output_that_is_not_there_yet_is_waited_for(server: BatchServer, tmp_path: Path) -> None:
    names: list[str] = []

    def show_late() -> None:
        (batch,) = server.batches.values()
        if len(names) == 3:
            batch["output_file_id"] = names[0]
        elif batch["status"] == "completed":
            names.append(batch.pop("output_file_id", None) or names[0])

    server.hooks["retrieve"] = show_late
    server.hooks["retrieve_done"] = show_late
    assert all(isinstance(reply, Reply) for reply in ask(at(server), tmp_path))
    assert paid_once(server)


# The provider is away.


@pytest.mark.parametrize("fault", [500, 429, "lost", "page"])
@pytest.mark.parametrize("called", ["upload", "create", "list", "retrieve", "content"])
def test_a_call_that_fails_is_made_again_and_pays_nothing_twice(
    server: BatchServer, tmp_path: Path, called: str, fault: int | str
) -> None:
    server.faults[called] = [fault, fault]
    if called == "list":
        server.faults["create"] = ["lost"]
    assert all(isinstance(reply, Reply) for reply in ask(at(server), tmp_path))
    assert paid_once(server)
    assert len(server.batches) == 1


def test_a_dead_port_is_waited_through(server: BatchServer, tmp_path: Path) -> None:
    server.is_held = True

    async def run() -> list[Any]:
        asked = asyncio.create_task(ask_all(at(server, outage_timeout_s=20.0), tmp_path, WORDS))
        while server.calls["retrieve"] < 2:
            await asyncio.sleep(0.01)
        with server.away():
            await asyncio.sleep(0.3)
        server.is_held = False
        return await asked

    assert all(isinstance(reply, Reply) for reply in asyncio.run(run()))
    assert paid_once(server)


def test_a_provider_that_stays_away_is_dead_and_loses_nothing(server: BatchServer, tmp_path: Path) -> None:
    config = at(server, outage_timeout_s=0.3)
    server.faults["retrieve"] = [500] * 1000
    replies = ask(config, tmp_path)
    assert {type(reply) for reply in replies} == {EngineError}
    assert "did not look at a batch within 0.3 s" in str(replies[0])
    server.faults.clear()
    assert all(isinstance(reply, Reply) for reply in ask(config, tmp_path))
    assert paid_once(server)


@pytest.mark.parametrize("called", ["upload", "create", "retrieve", "content"])
def test_a_call_that_is_refused_ends_the_engine(server: BatchServer, tmp_path: Path, called: str) -> None:
    server.faults[called] = [401]
    replies = ask(at(server), tmp_path)
    assert {type(reply) for reply in replies} == {EngineError}
    assert f"{server.base_url} refuses to " in str(replies[0])


def test_a_batch_that_the_provider_does_not_know_is_not_paid_again_unasked(server: BatchServer, tmp_path: Path) -> None:
    config = at(server)
    ask(config, tmp_path)
    server.batches.clear()
    assert "does not know batch batch-0" in str(ask(config, tmp_path)[0])
    assert paid_once(server)


def test_an_output_that_the_provider_has_deleted_is_asked_for_again(server: BatchServer, tmp_path: Path) -> None:
    config = at(server)
    ask(config, tmp_path)
    del server.files["output-of-batch-0"]
    assert all(isinstance(reply, Reply) for reply in ask(config, tmp_path))


# Money and secrets.


def test_the_budget_bounds_what_joins_a_file(server: BatchServer, tmp_path: Path) -> None:
    config = at(server, price={"input": 0.0, "output": 1e6})  # a reply may take 64 tokens, at half a dollar each
    replies = ask(config, tmp_path, limiter=LocalRateLimiter(budget_usd=40.0))
    assert {type(reply) for reply in replies} == {Reply, BudgetSpentError}
    assert sum(reply.cost_usd for reply in replies if isinstance(reply, Reply)) <= 40
    # One at a time fits, and a reply takes 5 of its 64 tokens: four until what is left is less than 64 may cost.
    assert [len(lines) for lines in server.uploads] == [1, 1, 1, 1]
    assert paid_once(server, WORDS[:4])


def test_what_was_paid_for_is_fetched_although_the_budget_is_spent(server: BatchServer, tmp_path: Path) -> None:
    config = at(server, price={"input": 1.0, "output": 1.0})
    replies = ask(config, tmp_path)
    limiter = LocalRateLimiter(budget_usd=1e-9)
    assert ask(config, tmp_path, limiter=limiter) == replies
    assert limiter.admission.account.spent_usd == pytest.approx(sum(reply.cost_usd for reply in replies))
    server.files.clear()
    assert {type(reply) for reply in ask(config, tmp_path, limiter=LocalRateLimiter(budget_usd=1e-9))} == {
        BudgetSpentError
    }
    assert paid_once(server)


def test_limits_of_online_requests_do_not_slow_batches(server: BatchServer, tmp_path: Path) -> None:
    config = at(server, limits={"requests_per_min": 1.0})
    online = config.model_copy(update={"mode": "online"})
    limiter = LocalRateLimiter({online.pool: RateLimits(online.pool, requests_per_min=1.0)})
    assert (online.pool, config.pool) == ("local/tiny", "local/tiny/batch")
    server.decide = only(WORDS[:4], failing(429), times=1)

    async def run() -> None:
        async with asyncio.timeout(5):
            assert all(isinstance(reply, Reply) for reply in await ask_all(config, tmp_path, WORDS, limiter))

    asyncio.run(run())


def test_the_key_is_nowhere(server: BatchServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said: Fate = (200, completion({"model": "tiny", "messages": []}, f"your key is {KEY}"))
    server.decide = only(WORDS[:1], lambda _: said)
    server.faults["upload"] = server.faults["create"] = server.faults["retrieve"] = [500, 503]
    config = at(server)
    replies = ask(config, tmp_path)
    assert "your key is [key]" in replies[0].text
    failures = []
    for called in ("upload", "create", "retrieve"):
        server.faults[called] = [400]
        failures += ask(config, tmp_path, [f"another {called}"])
    seen = [*map(repr, (*replies, *failures)), *map(str, failures), caplog.text]
    seen += [path.read_text() for path in tmp_path.iterdir()]
    assert len(failures) == 3
    assert all(KEY not in text and KEY[8:20] not in text for text in seen)
    assert "fails for Bearer [key]" in str(failures[0])
