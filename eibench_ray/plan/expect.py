"""What is expected of a step before it has run."""

from __future__ import annotations

from eibench_ray.config.schema import Expectation
from eibench_ray.plan.graph import Step

# A guess, not a measurement: replies end before their limit. What a run measures replaces it.
SHARE_OF_MAX_TOKENS = 0.4


def expected_tokens(step: Step, expect: Expectation) -> float:
    """Generated tokens of one reply: what the configuration expects, else a share of what the step allows."""
    return expect.tokens_per_row or SHARE_OF_MAX_TOKENS * step.sampling.max_tokens
