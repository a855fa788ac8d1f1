"""An engine that costs nothing: for tests and for measuring what the driver costs."""

from __future__ import annotations

import asyncio
import json

from eibench_ray import __version__
from eibench_ray.config.schema import EchoEngine
from eibench_ray.endpoints.prices import cost_usd
from eibench_ray.engines.base import EngineFacts, RowError
from eibench_ray.records import Reply, Request, RowErrorKind


class Echo:
    """Answers from the request's digest; a request with a schema gets JSON that follows it."""

    def __init__(self, config: EchoEngine) -> None:
        self._config = config

    async def start(self) -> EngineFacts:
        """Facts, after the time that the configuration asks for."""
        await asyncio.sleep(self._config.load_s)
        return EngineFacts(f"echo {__version__}", self._config.max_num_seqs, costs_money=self._config.price is not None)

    async def generate(self, request: Request, image: bytes | None) -> Reply:
        """A reply that depends on the whole request and on nothing else."""
        if self._config.latency_s:
            await asyncio.sleep(self._config.latency_s)
        if self._config.fails_on and self._config.fails_on in request.user:
            raise RowError(RowErrorKind.PROMPT, f"the prompt contains {self._config.fails_on!r}")
        text = self._verdict(request) if request.json_schema else self._answer(request, image)
        prompt_tokens, completion_tokens = len(request.user.split()), len(text.split())
        price = self._config.price
        cost = None if price is None else cost_usd(price, prompt_tokens, 0, completion_tokens, is_batch=False)
        return Reply(text, "stop", prompt_tokens, completion_tokens, cost_usd=cost)

    async def stop(self) -> None:
        """Nothing: nothing was started."""

    def _answer(self, request: Request, image: bytes | None) -> str:
        picture = f"a picture of {len(image)} bytes" if image else "no picture"
        return f"{{score: {int(request.digest[:2], 16) % 3}/2}} echo {request.digest[:8]} of {picture}"

    def _verdict(self, request: Request) -> str:
        assert request.json_schema is not None
        total = int(request.json_schema["properties"]["correct"]["maximum"])
        correct = int(request.digest[:4], 16) % (total + 1)
        return json.dumps({"explanation": f"echo {request.digest[:8]}", "correct": correct, "total": total})
