"""Accuracy: 1 for an answer that is right, 0 for one that is wrong; a cell has the share of right ones."""

from __future__ import annotations

from typing import Any

from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.scorer import Metric, Score, ScoreStatus

ACCURACY = Metric("accuracy", is_binary=True)


def filled_targets(sample: Sample) -> list[str]:
    """The sample's targets that hold any text."""
    return [target for target in sample.targets if target.strip()]


def grade(sample: Sample, *, is_right: bool, extracted: str | None = None, **details: Any) -> Score:
    """The score of an answer that could be read."""
    return Score(sample.sample_id, {ACCURACY.name: float(is_right)}, details=details, extracted=extracted)


def nothing_to_read(sample: Sample, missing: str) -> Score:
    """The score of an answer that has nothing to compare; `judge.unparsed` says what it counts as."""
    return Score(sample.sample_id, status=ScoreStatus.UNPARSED, explanation=f"the answer has no {missing}")
