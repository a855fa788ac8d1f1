"""The rate limiter of a run: rates that engines share, and one budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from eibench_ray.errors import EngineError

# Longer than any online attempt.
LIFETIME_S = 3600.0


class BudgetSpentError(EngineError):
    """The sweep's budget does not allow another request; the row has no completion, and nothing was sent for it."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """The most that a request is expected to take.

    Attributes:
        lifetime_s: who has not left after so long may have died, and what it had reserved counts as spent.
    """

    pool: str  # the word under which engines share limits
    tokens: int  # of prompt and reply
    cost_usd: float  # 0.0 where it has no price
    lifetime_s: float = LIFETIME_S


@dataclass(frozen=True, slots=True)
class Grant:
    """The rate limiter's answer to a request."""

    number: int | None  # of the request that may be sent now; None: it may not
    wait_s: float = 0.0  # seconds after which to ask again, where it may not be sent now
    is_spent: bool = False  # whether the budget does not allow it, nor will
    reason: str = ""  # what has to happen before it may be sent, in words


@dataclass(frozen=True, slots=True)
class Spend:
    """The outcome of a request that was let through.

    Attributes:
        allowed_per_min, allowed_tokens_per_min: the limits that the endpoint's headers named; None: they did not.
    """

    tokens: int = 0  # of prompt and reply, as the endpoint counted them; 0 where it did not answer
    cost_usd: float = 0.0  # what it cost
    was_limited: bool = False  # whether the endpoint refused it because of a limit (429)
    retry_after_s: float | None = None  # seconds for which the endpoint wants to be left alone; None: it did not say
    allowed_per_min: float | None = None
    allowed_tokens_per_min: float | None = None


class RateLimiter(Protocol):
    """Lets requests through. Neither call waits: who may not pass is told when to ask again."""

    async def enter(self, reservation: Reservation) -> Grant:
        """Whether a request may be sent now."""

    async def leave(self, number: int, spend: Spend) -> None:
        """A request that was let through has ended."""
