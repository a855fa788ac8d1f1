"""Decoding speed of a replica by the requests that it has at once. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from eibench_ray.schedule.resources import EngineProfile

# A row alone runs so many times as fast as one in a full batch, if nobody knows better. Source: decoding is bound by
# reading the weights until the batch is large; a 7B model on one GPU does 80-100 tokens/s alone and 2,500 with 128.
ALONE_SPEEDUP = 4.0


@dataclass(frozen=True)  # without slots, for the cached properties: a forecast asks for them at each step and each try
class DecodeSpeed:
    """The decoding speed of an engine.

    Attributes:
        alone_tokens_per_s: of a row that is alone; None: `ALONE_SPEEDUP` times its share of a full batch.
    """

    tokens_per_s: float  # of a full batch
    capacity: int  # rows of a full batch
    alone_tokens_per_s: float | None = None

    @classmethod
    def of(cls, profile: EngineProfile) -> DecodeSpeed:
        """An engine's speed."""
        return cls(profile.tokens_per_s, profile.capacity, profile.alone_tokens_per_s)

    @cached_property
    def full_tick_s(self) -> float:
        """Seconds per token of a row in a full batch."""
        return self.capacity / self.tokens_per_s

    @cached_property
    def alone_tick_s(self) -> float:
        """Seconds per token of a row alone: no less than in a full batch each row's share, no more than all of it."""
        known = self.alone_tokens_per_s
        speedup = ALONE_SPEEDUP if known is None else known * self.full_tick_s
        return self.full_tick_s / max(1.0, min(speedup, self.capacity))

    def full_share(self, at_once: float) -> float:
        """Seconds per token of a replica with a full batch, over those of one that has so many rows at once."""
        rows = min(max(1.0, at_once), self.capacity)
        return (self.alpha / self.capacity + self.beta) / (self.alpha / rows + self.beta)

    @cached_property
    def beta(self) -> float:
        """Seconds that a further row adds to a decoding step."""
        return (self.full_tick_s - self.alone_tick_s) / max(1, self.capacity - 1)

    @cached_property
    def alpha(self) -> float:
        """Seconds of a decoding step, rows left aside."""
        return self.alone_tick_s - self.beta
