"""The limits that the fault server keeps: a token bucket or a sliding window, and what it tells of them."""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Limit(BaseModel):
    """Limit of the server.

    Attributes:
        kind: `bucket` fills evenly and holds `burst_s` seconds' worth; `window` counts the last 60 s.
        tells_wait: whether a refusal has a Retry-After header (whole seconds, rounded up), or retry-after-ms beside it.
        tells_limit: whether every reply has x-ratelimit headers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    kind: Literal["bucket", "window"] = "bucket"
    burst_s: float = 1.0
    tells_wait: Literal["no", "s", "ms"] = "no"
    tells_limit: bool = False


class Gate:
    """Keeps a limit."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        measures = {"requests": limit.requests_per_min, "tokens": limit.tokens_per_min}
        meter = _Bucket if limit.kind == "bucket" else _Window
        self._meters = {what: meter(allowed, limit.burst_s) for what, allowed in measures.items() if allowed}

    def wait_s(self, tokens: int, now: float) -> float:
        """0.0 where a request is let through, which is then counted; else seconds until it might be."""
        amounts = {"requests": 1.0, "tokens": float(tokens)}
        wait_s = max((meter.wait_s(amounts[what], now) for what, meter in self._meters.items()), default=0.0)
        if wait_s == 0.0:
            for what, meter in self._meters.items():
                meter.take(amounts[what], now)
        return wait_s

    def headers(self, wait_s: float) -> dict[str, str]:
        """Headers of a reply about the limit."""
        told: dict[str, str] = {}
        if self.limit.tells_limit:
            for what, meter in self._meters.items():
                told[f"x-ratelimit-limit-{what}"] = f"{meter.allowed:.0f}"
        if wait_s > 0 and self.limit.tells_wait != "no":
            told["retry-after"] = str(math.ceil(wait_s))
            if self.limit.tells_wait == "ms":
                told["retry-after-ms"] = str(math.ceil(wait_s * 1000))
        return told


class _Bucket:
    def __init__(self, allowed: float, burst_s: float) -> None:
        self.allowed = allowed
        self._per_s = allowed / 60
        self._most = max(self._per_s * burst_s, 1.0)
        self._level = self._most
        self._at = 0.0

    def wait_s(self, amount: float, now: float) -> float:
        self._level = min(self._most, self._level + (now - self._at) * self._per_s)
        self._at = now
        return max(min(amount, self._most) - self._level, 0.0) / self._per_s

    def take(self, amount: float, now: float) -> None:  # noqa: ARG002
        self._level -= amount


class _Window:
    def __init__(self, allowed: float, burst_s: float) -> None:  # noqa: ARG002
        self.allowed = allowed
        self._taken: deque[tuple[float, float]] = deque()

    def wait_s(self, amount: float, now: float) -> float:
        while self._taken and self._taken[0][0] <= now - 60:
            self._taken.popleft()
        excess = sum(taken for _, taken in self._taken) + amount - self.allowed
        free_at = now
        for at, taken in self._taken:
            if excess <= 0:
                break
            excess -= taken
            free_at = at + 60
        return free_at - now

    def take(self, amount: float, now: float) -> None:
        self._taken.append((now, amount))
