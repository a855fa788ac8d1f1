"""Requests that wait together become a batch; what goes wrong in a batch costs as few rows as it can."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import pytest

from eibench_ray.engines.engine import EngineDeadError, RowError
from eibench_ray.engines.transformers.request_batches import OutOfMemoryError, RequestBatches, Waiting
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.request import Reply

Answer = Callable[[Sequence[Waiting[int]]], Sequence[Reply]]


def reply(number: int) -> Reply:
    return Reply(str(number), "stop", 1, 1)


class Model:
    """Answers a number with itself, remembers its batches, and fails as it is told."""

    def __init__(self, *, fits: int = 100, bad: int | None = None, dies_on: int | None = None) -> None:
        self.batches: list[list[int]] = []
        self._fits, self._bad, self._dies_on = fits, bad, dies_on

    def answer(self, batch: Sequence[Waiting[int]]) -> list[Reply]:
        numbers = [waiting.prompt for waiting in batch]
        self.batches.append(numbers)
        if len(numbers) > self._fits:
            raise OutOfMemoryError("out of memory")
        if self._dies_on in numbers:
            raise EngineDeadError("the GPU failed")
        if self._bad in numbers:
            raise ValueError("features and tokens\ndo not match")
        return [reply(number) for number in numbers]


async def prepared(number: int, steps: int = 0) -> int:
    """A prompt that is ready after some turns of the event loop."""
    for _ in range(steps):
        await asyncio.sleep(0)
    return number


def ask_all(model: Model, prompts: Sequence[Awaitable[int]], most: int = 4) -> list[Any]:
    """Results of prompts that are asked at once: replies' texts, or errors."""

    async def ask() -> list[Any]:
        batches = RequestBatches(model.answer, most)
        try:
            return await asyncio.gather(*(batches.ask(prompt) for prompt in prompts), return_exceptions=True)
        finally:
            await batches.close()

    return [result.text if isinstance(result, Reply) else result for result in run(ask())]


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, 30))


def test_what_waits_together_is_one_batch() -> None:
    model = Model()
    assert ask_all(model, [prepared(number) for number in range(6)]) == ["0", "1", "2", "3", "4", "5"]
    assert model.batches == [[0, 1, 2, 3], [4, 5]]


def test_a_batch_that_is_not_full_waits_for_what_is_being_prepared() -> None:
    model = Model()
    assert ask_all(model, [prepared(0), prepared(1, steps=50)]) == ["0", "1"]
    assert model.batches == [[0, 1]]


def test_a_full_batch_waits_for_nobody() -> None:
    model = Model()
    ask_all(model, [prepared(0), prepared(1), prepared(2, steps=50)], most=2)
    assert model.batches == [[0, 1], [2]]


def test_a_prompt_that_cannot_be_prepared_keeps_nobody_waiting() -> None:
    async def fail() -> int:
        await asyncio.sleep(0)
        raise RowError(RowErrorKind.IMAGE, "no picture")

    model = Model()
    failed, answered = ask_all(model, [fail(), prepared(1)])
    assert isinstance(failed, RowError)
    assert (answered, model.batches) == ("1", [[1]])


def test_a_batch_that_is_too_large_is_halved_and_later_ones_are_smaller() -> None:
    model = Model(fits=2)
    assert ask_all(model, [prepared(number) for number in range(8)]) == [str(number) for number in range(8)]
    assert model.batches == [[0, 1, 2, 3], [0, 1], [2, 3], [4, 5], [6, 7]]


def test_a_row_that_is_too_large_alone_is_an_error_of_its_own() -> None:
    first, second = ask_all(Model(fits=0), [prepared(0), prepared(1)])
    assert isinstance(first, RowError)
    assert isinstance(second, RowError)
    assert first.kind is RowErrorKind.ENGINE


def test_a_row_that_spoils_its_batch_is_found_and_the_others_are_answered() -> None:
    *_, spoilt, last = results = ask_all(Model(bad=2), [prepared(number) for number in range(4)])
    assert results[:2] == ["0", "1"]
    assert last == "3"
    assert (spoilt.kind, str(spoilt)) == (RowErrorKind.ENGINE, "features and tokens do not match")


def test_a_dead_engine_answers_nobody_any_more() -> None:
    model = Model(dies_on=1)
    results = ask_all(model, [prepared(number) for number in range(6)], most=2)
    assert all(isinstance(result, EngineDeadError) for result in results)
    assert model.batches == [[0, 1]]


def test_who_gave_up_is_not_answered_and_keeps_nobody_from_ending() -> None:
    begun, wanted = threading.Event(), []

    def answer(batch: Sequence[Waiting[int]]) -> list[Reply]:
        begun.set()
        while any(waiting.is_wanted() for waiting in batch):
            pass
        wanted.append([waiting.prompt for waiting in batch])
        return [reply(waiting.prompt) for waiting in batch]

    async def give_up() -> None:
        batches = RequestBatches(answer, 4)
        asked = [asyncio.create_task(batches.ask(prepared(number))) for number in range(2)]
        await asyncio.to_thread(begun.wait)
        late = asyncio.create_task(batches.ask(prepared(2)))
        await asyncio.sleep(0)
        for task in (*asked, late):
            task.cancel()
        await asyncio.wait([*asked, late])
        await batches.close()

    run(give_up())
    assert wanted == [[0, 1]]


def test_closing_ends_what_is_generated_and_refuses_what_comes() -> None:
    begun = threading.Event()

    def answer(batch: Sequence[Waiting[int]]) -> list[Reply]:
        begun.set()
        while batch[0].is_wanted():
            pass
        return [reply(waiting.prompt) for waiting in batch]

    async def close() -> None:
        batches = RequestBatches(answer, 4)
        asked = asyncio.create_task(batches.ask(prepared(0)))
        await asyncio.to_thread(begun.wait)
        await batches.close()
        assert asked.cancelled()
        with pytest.raises(EngineDeadError, match="stopped"):
            await batches.ask(prepared(1))

    run(close())
