"""Whether a judge says yes, in free words: what every peer of the benchmarks can ask and read, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.scorer import Metric, Score, Scorer


@dataclass(frozen=True)
class SaysYesScorer(Scorer):
    """The share of answers to which the judge's reply begins with yes."""

    asks: ClassVar[bool] = True
    metrics = (Metric("says_yes"),)

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002
        """The score: 1 where the reply begins with yes."""
        return Score(sample.sample_id, {"says_yes": float((reply or "").strip().lower().startswith("yes"))})
