"""The plan's facts of an engine beside its settings: plain values that its kind gives. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, Literal

from annotated_types import Gt

from eibench_ray.rows.prices import Price

_PositiveFloat = Annotated[float, Gt(0)]


@dataclass(frozen=True, slots=True)
class Expectation:
    """Priors for planning; what a run measures replaces them.

    Attributes:
        alone_tokens_per_s: generated tokens per second of a request that is alone; None: four times its share of it.
        memory_gb: GB of GPU memory for the weights of one replica; None: from the checkpoint's own metadata.
    """

    load_s: _PositiveFloat = 120.0  # seconds from start to the first request
    tokens_per_s: _PositiveFloat = 1000.0  # generated tokens per second of one full replica
    alone_tokens_per_s: _PositiveFloat | None = None
    batch: Annotated[int, Gt(0)] | None = None  # requests whose KV cache fits at once; None: max_num_seqs
    tokens_per_row: _PositiveFloat | None = None  # generated tokens of a reply; None: a share of the call's max_tokens
    memory_gb: _PositiveFloat | None = None


@dataclass(frozen=True, slots=True)
class Availability:
    """Availability of a model: open, gated, an endpoint, recorded, retired.

    Attributes:
        status: `open` weights; `gated` ones, behind a licence to accept; an `endpoint`; answers that were `recorded`;
            `retired`: no longer to be had, but for its recorded answers.
        ends: the day on which its provider ended it, or will, as it was announced; as of then its endpoint is retired.
    """

    status: Literal["open", "gated", "endpoint", "recorded", "retired"]
    ends: str | None = None
    note: str | None = None  # what else a reader must know

    def __post_init__(self) -> None:
        if self.ends is not None and not _is_day(self.ends):
            raise ValueError(f"ends is {self.ends!r}: a day is written as 2026-10-23")


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Rate limits of an account, under the word by which engines share them; None: not known."""

    pool: str
    requests_per_min: float | None = None
    tokens_per_min: float | None = None


@dataclass(frozen=True, slots=True)
class PythonEnvironment:
    """A Python environment of an engine's own: packages that `uv` or `pip` installs, or a Python that is there."""

    uv: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    py_executable: str | None = None


Words = Literal["model", "recorded", "made_up"]


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter (LoRA): small weights that a loaded engine adds to its own for the requests that name them."""

    key: str  # digest of what it is: its source and revision, or its content
    name: str  # the model's name, for people
    source: str  # a Hugging Face id or a folder
    revision: str | None  # the hub's branch, tag or commit; None: the main branch, or no hub
    rank: int  # that the engine makes room for
    base: str | None = None  # name that it has for its engine's weights, where that is another one
    is_pinned: bool = True  # whether it cannot become something else under the same name


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """An engine's behaviour, as far as planning, scheduling and reports ask; its kind says so.

    Attributes:
        words: whose its replies are: a `model`'s; `recorded` elsewhere, and only read here; `made_up`, so that figures
            that rest on them mean nothing.
        reply_tokens: the longest reply in tokens, whatever the request allows; None: as the request says.
        adapter_speed: speed of a request that names an adapter, as a share of one that names none; a prior.
        env: environment variables that its configuration sets for its process.
    """

    max_num_seqs: int  # requests that it works on at once
    is_loaded: bool = False  # whether it loads weights; then each replica reserves cores, and GPUs where it owns some
    is_endpoint: bool = False  # whether somebody else computes: nothing is loaded, and limits and a budget are shared
    words: Words = "model"
    is_batch: bool = False  # whether requests wait in files for a batch endpoint, without rate limits
    is_pinned: bool = True  # whether what it loads cannot become something else under the same name
    is_language_model: bool = False  # whether it is a model that expects GPUs
    stages: int = 1  # groups of GPUs that may lie on different nodes, one after the other
    price: Price | None = None  # what its tokens cost; None where that is nothing, or not known
    limits: RateLimits | None = None  # of the account behind an endpoint; None: no limit is known of
    # What endpoints count for 1000 x 750 pixels: 765 (gpt-4o), 965 (DashScope), 1000 (Anthropic).
    picture_tokens: int = 1000  # prompt tokens that a picture counts for
    thinking_tokens: int = 0  # tokens that a reply may have beyond the request's own limit
    reply_tokens: int | None = None
    adapter_speed: float = 1.0
    environment: PythonEnvironment | None = None  # the Python of its own; None: the sweep's
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_recorded(self) -> bool:
        """Whether it only reads replies that were recorded elsewhere."""
        return self.words == "recorded"


def describe_chosen(chosen: Mapping[str, Any]) -> str:
    """Settings that the plan chose, in words: `tensor_parallel=auto is 4`."""
    return ", ".join(f"{name}=auto is {value}" for name, value in chosen.items())
