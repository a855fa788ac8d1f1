"""Parameters of intervals that are drawn, since no closed form is known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resampling:
    """Parameters of the bootstrap; intervals are equal for equal seeds."""

    confidence: float  # e.g. 0.95.
    resamples: int  # bootstrap resamples
    seed: int = 0
