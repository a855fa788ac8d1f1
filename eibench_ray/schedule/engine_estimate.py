"""Expected speeds of engines: the configuration's priors, replaced by what the run measures."""

from __future__ import annotations

import math
from collections.abc import Mapping

from eibench_ray.rows.asked_work import AskedWork
from eibench_ray.schedule.decode_speed import DecodeSpeed
from eibench_ray.schedule.resources import EngineProfile

# Rows after which a step's measured length counts as much as its prior.
PRIOR_ROWS = 16
# Seconds of a replica in which a prior of its speed loses most of its weight (to 1 / e). It is forgotten, not averaged
# for ever: one that is a hundred times too high or too low is off by a quarter after three of them.
PRIOR_S = 1.0


class EngineEstimate:
    """One engine's load time, speed and reply lengths as they are known by now.

    Attributes:
        tokens_per_s: generated tokens per second of one full replica.
        prior_share: share of the prior in that speed: 1 where nothing is measured yet.
    """

    def __init__(self, profile: EngineProfile) -> None:
        self._prior = profile
        self._speed = DecodeSpeed.of(profile)
        # Where nothing can be added, as at an endpoint, batches are as full as they are.
        self._least_pace = self._speed.alone_tick_s / self._speed.full_tick_s if profile.need.gpus else 1.0
        self._loads: list[float] = []
        self._tokens = 0.0
        self._seconds = 0.0
        self._replies: dict[str, tuple[int, int]] = {}
        # Both are read a hundred times for each time that they change.
        self.tokens_per_s, self.prior_share = profile.tokens_per_s, 1.0

    @property
    def load_s(self) -> float:
        """Seconds from a replica's start to its readiness."""
        return sum(self._loads) / len(self._loads) if self._loads else self._prior.load_s

    def tokens_per_row(self, step: str) -> float:
        """Generated tokens of one reply of a step."""
        rows, tokens = self._replies.get(step, (0, 0))
        return (self._prior.tokens_per_row[step] * PRIOR_ROWS + tokens) / (PRIOR_ROWS + rows)

    def row_s(self, step: str, pace: float = 1.0) -> float:
        """Seconds from a row's start to its end, in a full batch or at another pace: see `paced_speed`."""
        return self.row_work_s(step) * self._prior.capacity * max(pace, self._least_pace)

    def paced_speed(self, pace: float) -> float:
        """Tokens per second in batches so small that a token takes that share of the time, over those in full ones."""
        speed = self._speed
        at_once = (
            (max(pace, self._least_pace) * speed.full_tick_s - speed.alpha) / speed.beta if speed.beta else math.inf
        )
        return speed.full_share(at_once)

    def row_work_s(self, step: str) -> float:
        """Seconds of a full replica's time that one row of a step takes."""
        return self.tokens_per_row(step) * self._prior.weight(step) / self.tokens_per_s

    def work_s(self, rows: Mapping[str, int]) -> float:
        """Seconds that one full replica takes for rows of steps."""
        return sum(count * self.row_work_s(step) for step, count in rows.items())

    def loaded(self, seconds: float) -> None:
        """A replica took so long to load."""
        self._loads.append(seconds)

    def replied(self, step: str, rows: int, tokens: int) -> None:
        """Rows of a step came to so many tokens."""
        known_rows, known_tokens = self._replies.get(step, (0, 0))
        self._replies[step] = (known_rows + rows, known_tokens + tokens)

    def answered(self, step: str, asked: AskedWork) -> None:
        """Rows of a step took so much of a replica; as if its batch had been full, where it was not."""
        if asked.completion_tokens:
            self._tokens += asked.completion_tokens * self._prior.weight(step)
            self._seconds += asked.engine_s * self._speed.full_share(asked.at_once)
            share, token_s = math.exp(-self._seconds / PRIOR_S), self._seconds / self._tokens
            self.prior_share = share
            self.tokens_per_s = float(self._prior.tokens_per_s**share * token_s ** (share - 1.0))
