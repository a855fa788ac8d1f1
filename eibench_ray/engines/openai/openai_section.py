"""The section of an engine that asks an endpoint."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from eibench_ray.config.engine_section import EngineSection, Identity, KeyUse, LaterIdentity, PriceSection, Tuning
from eibench_ray.config.secrets import has_login
from eibench_ray.config.section import Filled, Frozen
from eibench_ray.engines.thinking import Reasoning
from eibench_ray.rows.request import SamplingKey


def _is_address(url: str) -> bool:
    """Whether a URL has a host, a port that can be one if any, and no blank in it."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and not re.search(r"\s", url)
    except ValueError:
        return False


# Fields of a request by which a provider bills, routes and files it.
TUNING_FIELDS = frozenset({"metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user"})


class PictureLimits(Frozen):
    """Pictures that an endpoint accepts; another one is re-encoded until it fits.

    Attributes:
        formats: what may be sent as it is stored, if it is upright and opaque; the first is what others become.
    """

    formats: Annotated[list[Literal["jpeg", "png", "webp", "gif"]], Field(min_length=1)] = ["jpeg", "png"]
    max_bytes: PositiveInt = 5_000_000  # bytes of the encoded file, before base64
    max_side_px: PositiveInt | None = None  # pixels of the longer side; None: no limit


class EndpointLimits(Frozen):
    """Limits of an endpoint; None: learnt from its responses.

    Attributes:
        pool: the word under which engines of a run share these limits; None: the endpoint and model, alone.
        requests_per_min, tokens_per_min: what the account allows; prompt and reply together.
        max_concurrency: requests in flight at most; how many really are follows from what the endpoint bears.
    """

    pool: str | None = None
    requests_per_min: PositiveFloat | None = None
    tokens_per_min: PositiveFloat | None = None
    max_concurrency: PositiveInt = 64


class BatchConfig(Frozen):
    """Grouping of requests into the files of a batch endpoint.

    Attributes:
        max_requests, max_bytes: of one file.
        window: what the provider is told of how long it may take, in hours or days.
    """

    max_requests: PositiveInt = 50_000
    max_bytes: PositiveInt = 190_000_000
    linger_s: PositiveFloat = 5.0  # seconds without a new request after which a file is sent
    poll_s: PositiveFloat = 30.0  # seconds between two looks at a batch
    window: Annotated[str, Field(pattern=r"^[1-9][0-9]*[hd]$")] = "24h"

    @property
    def window_s(self) -> float:
        """The window in seconds."""
        return int(self.window[:-1]) * (3600.0 if self.window.endswith("h") else 86400.0)


class OpenaiSection(EngineSection):
    """An OpenAI-compatible endpoint: chat completions over HTTP.

    Attributes:
        endpoint: who answers, in a word (`openai`, `anthropic`, `dashscope`, `local`): part of the engine's identity,
            as `base_url` is not; a server that moved keeps its rows.
        api_key_env: name of the environment variable that holds the key, on the nodes; None: no key is sent. The key
            itself is never in a config.
        revision: a word of your choice that tells two models of one name apart; part of the identity.
        mode: `batch` sends files to the batch endpoint, at its price and in its time.
        json_output: `schema`: the endpoint constrains a reply to a JSON schema; `strict`: to one in the subset of JSON
            Schema that OpenAI takes; `object`: to some JSON object; `none`.
        sampling_keys: parameters of `sampling` that the endpoint takes beside temperature and top_p; servers of vLLM
            and SGLang take `top_k`, `min_p` and `repetition_penalty`, too.
        max_tokens_key: what the endpoint calls the limit of a reply.
        reasoning: `auto`: thinking is split from the answer, whether a field of its own or `<think>` tags hold it;
            `none`: the text is the answer as it stands; a field of thinking is no part of it in any case.
        chat_template_kwargs: variables of the chat template, for servers that take them (vLLM, SGLang).
        reasoning_tokens: what a reasoning model may think beyond the reply's own limit, in tokens.
        logprobs: whether the log probability of the reply's tokens is asked for and stored as a mean.
        args: further fields of the request's body, part of the identity but for `TUNING_FIELDS`; null takes one out.
        picture_tokens: what the endpoint counts for a picture: by it, plans and budgets know what a request may cost.
        outage_timeout_s: seconds without any answer after which the endpoint counts as dead; nor is one waited for
            that asks to be left alone for longer.
    """

    key_remedies = {"lora": "a server names its adapters as models, so set engine.model to the adapter's name there"}

    kind: Literal["openai"]
    endpoint: Identity[Filled]
    base_url: Tuning[str]
    api_key_env: Tuning[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None] = None
    model: Identity[Filled]  # the name under which the endpoint knows the model
    revision: Identity[str | None] = None
    mode: Tuning[Literal["online", "batch"]] = "online"
    json_output: Identity[Literal["strict", "schema", "object", "none"]] = "schema"
    max_tokens_key: Identity[Literal["max_tokens", "max_completion_tokens"]] = "max_tokens"
    sends_sampling: Identity[bool] = True  # whether temperature and top_p are sent; reasoning models refuse them
    sampling_keys: Tuning[list[SamplingKey]] = ["presence_penalty", "frequency_penalty"]
    sends_seed: Identity[bool] = True  # whether a seed is sent
    reasoning: LaterIdentity[Reasoning] = "auto"
    chat_template_kwargs: LaterIdentity[dict[str, Any]] = {}
    reasoning_effort: Identity[str | None] = None  # for reasoning models; None sends none
    reasoning_tokens: Identity[Annotated[int, Field(ge=0)]] = 0
    logprobs: Tuning[bool] = False
    args: Annotated[dict[str, Any], KeyUse(is_identity=True, tuning_keys=TUNING_FIELDS)] = {}
    picture: Identity[PictureLimits] = PictureLimits()
    picture_tokens: Tuning[PositiveInt] = 1000
    limits: Tuning[EndpointLimits] = EndpointLimits()
    price: Tuning[PriceSection | None] = None
    batch: Tuning[BatchConfig] = BatchConfig()
    request_timeout_s: Tuning[PositiveFloat] = 120.0  # deadline of one attempt, the whole reply included
    attempts: Tuning[PositiveInt] = 8  # how often a request is sent at most, where another attempt may succeed
    outage_timeout_s: Tuning[PositiveFloat] = 300.0

    @field_validator("base_url")
    @classmethod
    def _has_no_secret(cls, value: str) -> str:
        """A URL with a name and a password in it is a secret in a config."""
        if not re.match(r"https?://", value):
            raise ValueError("should begin with http:// or https://")
        if not _is_address(value):
            raise ValueError("should be the address of a server, as http://HOST:PORT/v1")
        if has_login(value) or "?" in value:
            raise ValueError(
                "carries a name, a password or a query: put the key into an environment variable, and its name into "
                "api_key_env; a config is written to disk"
            )
        return value

    @property
    def who(self) -> str:
        """The endpoint with the model's name and revision, for a row's fingerprint."""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.endpoint} {self.model}{revision}"

    @property
    def is_paid(self) -> bool:
        """Whether somebody may have to pay for its replies: it has a price, or asks for a key."""
        return self.price is not None or self.api_key_env is not None

    def most_tokens(self, max_tokens: int) -> int:
        """Tokens that a reply may have at most, what a reasoning model thinks included."""
        said = self.args.get(self.max_tokens_key)
        return said if isinstance(said, int) else max_tokens + self.reasoning_tokens

    @property
    def max_num_seqs(self) -> int:
        """Requests that are worked on at once."""
        return self.batch.max_requests if self.mode == "batch" else self.limits.max_concurrency

    @property
    def pool(self) -> str:
        """The word under which its limits are kept; batches are under others, which the provider keeps itself."""
        pool = self.limits.pool or f"{self.endpoint}/{self.model}"
        return f"{pool}/batch" if self.mode == "batch" else pool
