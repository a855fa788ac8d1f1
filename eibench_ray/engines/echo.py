"""An engine that costs nothing, or only in play: for tests, and for measuring what the driver costs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from eibench_ray.config.engine_section import EngineSection, Identity, PriceSection, Tuning, identity_of
from eibench_ray.engines.continuations import reply_of
from eibench_ray.engines.engine import PAID_GRACE_S, EngineDeadError, EngineFacts, RowError
from eibench_ray.engines.engine_kind import EngineKind, EngineSetup, Needs, Site
from eibench_ray.engines.loaded_section import EnvironmentSection
from eibench_ray.engines.python_environment import environment_identity
from eibench_ray.plan.engine_traits import EngineTraits
from eibench_ray.ratelimit.admission import LocalRateLimiter
from eibench_ray.ratelimit.rate_limiter import RateLimiter, Reservation, Spend
from eibench_ray.ratelimit.request_queue import RequestQueue
from eibench_ray.rows.choices import AskedChoices
from eibench_ray.rows.completion import RowErrorKind
from eibench_ray.rows.prices import cost_usd
from eibench_ray.rows.request import Reply, Request, Sampling
from eibench_ray.versions import __version__


class EchoSection(EngineSection):
    """An engine that costs nothing: it answers from the request's digest. For tests and for measuring the driver.

    Attributes:
        dies_with: what dies with the engine: its whole `process`, without a word, or the `engine` alone.
        num_gpus: GPUs that one replica owns without using them, for tests of placement.
        price: makes believe that its words are tokens which cost so much, to rehearse what a paid endpoint does.
    """

    kind: Literal["echo"]
    latency_s: Tuning[Annotated[float, Field(ge=0)]] = 0.0  # seconds that each reply takes
    fails_on: Identity[str | None] = None  # a text; a request that contains it gets an error row
    hangs_on: Tuning[str | None] = None  # a text; a request that contains it is never answered
    dies_on: Tuning[str | None] = None  # a text; a request that contains it kills the engine
    dies_with: Tuning[Literal["process", "engine"]] = "process"
    max_num_seqs: Tuning[PositiveInt] = 256
    load_s: Tuning[Annotated[float, Field(ge=0)]] = 0.0  # seconds that it takes to start
    stop_s: Tuning[Annotated[float, Field(ge=0)]] = 0.0  # seconds that it takes to stop
    num_gpus: Tuning[Annotated[int, Field(ge=0)]] = 0
    runtime_env: Identity[EnvironmentSection | None] = None  # a Python environment of its own
    price: Tuning[PriceSection | None] = None


class EchoEngine:
    """Answers from the request's digest; a request with a schema gets JSON that follows it."""

    def __init__(self, config: EchoSection, limiter: RateLimiter | None = None) -> None:
        self._config = config
        most = config.max_num_seqs
        self._line = RequestQueue(limiter or LocalRateLimiter(), most, first=most)
        self._died_on: str | None = None

    async def start(self) -> EngineFacts:
        """Facts, after the time that the configuration asks for."""
        await asyncio.sleep(self._config.load_s)
        is_paid = self._config.price is not None
        return EngineFacts(
            f"echo {__version__}",
            self._config.max_num_seqs,
            is_paid,
            PAID_GRACE_S if is_paid else 0.0,
            is_endpoint=is_paid,
        )

    async def generate(self, request: Request, images: Sequence[bytes]) -> Reply:
        """A reply that depends on the whole request and on nothing else; a word of either is a token.

        Raises:
            RowError: it is to fail on this request.
            EngineDeadError: it has died.
            BudgetSpentError: the budget does not allow what the reply may cost.
        """
        if self._config.price is None:
            return await self._reply(request, images)
        most = self._cost_usd(len(request.user.split()), request.sampling.max_tokens)
        async with self._line.trip(Reservation("echo", 0, most)) as trip:
            trip.spend = Spend()
            reply = await self._reply(request, images)
            cost = self._cost_usd(reply.prompt_tokens, reply.completion_tokens)
            trip.spend = Spend(cost_usd=cost)
            return replace(reply, cost_usd=cost)

    async def stop(self) -> None:
        """Returns once the rate limiter knows of all that was asked, after the time that the configuration asks for."""
        await asyncio.sleep(self._config.stop_s)
        await self._line.close()

    def _cost_usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        assert self._config.price is not None
        return cost_usd(self._config.price.to_price(), prompt_tokens, 0, completion_tokens, is_batch=False)

    async def _reply(self, request: Request, images: Sequence[bytes]) -> Reply:
        if self._config.latency_s:
            await asyncio.sleep(self._config.latency_s)
        if self._config.hangs_on and self._config.hangs_on in request.user:
            await asyncio.Event().wait()
        self._die_if_told(request)
        if self._config.fails_on and self._config.fails_on in request.user:
            raise RowError(RowErrorKind.PROMPT, f"the prompt contains {self._config.fails_on!r}")
        if request.choices is not None:
            return reply_of(request.choices, _make_up_logprobs(request, request.choices), len(request.user.split()))
        text = self._verdict(request) if request.json_schema else self._answer(request, images)
        return Reply(text, "stop", len(request.user.split()), len(text.split()))

    def _die_if_told(self, request: Request) -> None:
        if self._config.dies_on and self._config.dies_on in request.user:
            if self._config.dies_with == "process":
                os.kill(os.getpid(), signal.SIGKILL)
            self._died_on = request.sample_id
        if self._died_on:
            raise EngineDeadError(f"the engine died while it answered {self._died_on}")

    def _answer(self, request: Request, images: Sequence[bytes]) -> str:
        sizes = " and ".join(f"{len(image)} bytes" for image in images)
        picture = (
            f"{'a picture' if len(images) == 1 else f'{len(images)} pictures'} of {sizes}" if sizes else "no picture"
        )
        return f"{{score: {int(request.digest[:2], 16) % 3}/2}} echo {request.digest[:8]} of {picture}"

    def _verdict(self, request: Request) -> str:
        assert request.json_schema is not None
        number = int(request.digest[:4], 16)
        return json.dumps(_make_up(request.json_schema, number, f"echo {request.digest[:8]}"))


def _make_up_logprobs(request: Request, choices: AskedChoices) -> list[list[float]]:
    """Log probabilities of each choice's words, as the request's digest has them."""
    number = int(request.digest, 16)
    return [
        [-(1 + number % (place + 7 * (word + 2))) / 8 for word in range(len(text.split()))]
        for place, text in enumerate(choices.texts)
    ]


def _make_up(schema: Mapping[str, Any], number: int, text: str, place: int = 0) -> Any:
    """A value that follows a schema, as a number chooses it, at a place of the object that it stands in."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][number % len(schema["enum"])]
    if schema["type"] == "object":
        return {
            name: _make_up(one, number, text, place) for place, (name, one) in enumerate(schema["properties"].items())
        }
    if schema["type"] == "boolean":
        return bool(number >> place & 1)
    if schema["type"] == "integer":
        least = schema["minimum"]
        return least + number % (schema["maximum"] - least + 1)
    return text


class EchoKind(EngineKind[EchoSection]):
    """Replies that are made up."""

    section = EchoSection
    compares_choices = True

    def traits(self, section: EchoSection) -> EngineTraits:
        """A rehearsal, of a paid endpoint where it has a price."""
        return EngineTraits(
            section.max_num_seqs,
            words="made_up",
            price=section.price.to_price() if section.price else None,
            environment=section.runtime_env.to_environment() if section.runtime_env else None,
        )

    def identity(self, section: EchoSection, recording: str | None) -> Mapping[str, Any]:  # noqa: ARG002
        """The texts on which requests fail, and the version of what makes replies up."""
        own = environment_identity(section.runtime_env) if section.runtime_env else None
        return identity_of(section) | {"version": __version__, "runtime_env": own}

    def sampling_refusal(self, section: EchoSection, sampling: Sampling) -> None:  # noqa: ARG002
        """Its replies are made of all that is asked, sampling included."""
        return

    def needs(self, section: EchoSection, site: Site) -> Needs:  # noqa: ARG002 - as configured, wherever it is
        """GPUs that it holds without using them."""
        return Needs(section.num_gpus)

    def create(self, section: EchoSection, setup: EngineSetup) -> EchoEngine:
        """An engine in this process."""
        return EchoEngine(section, setup.limiter)


KIND = EchoKind()
