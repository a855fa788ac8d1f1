"""Multiple choice by likelihood: the choice that a model finds the likeliest after the prompt is its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_uppercase
from types import MappingProxyType
from typing import ClassVar

from eibench_ray.rows.choices import CompareBy, from_text, read_choices
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.accuracy import ACCURACY
from eibench_ray.scoring.rules.choice import find_targets
from eibench_ray.scoring.scorer import Metric, Score, Scorer

# Metric -> by what the choices are compared; lm-evaluation-harness calls the first two acc and acc_norm.
_BY: Mapping[str, CompareBy] = MappingProxyType(
    {ACCURACY.name: "sum", "accuracy_norm": "character", "accuracy_per_token": "token"}
)


@dataclass(frozen=True, slots=True)
class LoglikelihoodScorer(Scorer):
    """Whether the likeliest choice is a target, by three ways of comparing. Of equal ones the first is the likeliest.

    Attributes:
        options: the input or column that lists the choices, as the setting's `choices.column` names it.
        first_index: number of the first choice, where targets are numbers; None: they count from 0.
    """

    options: str = "choices"
    first_index: int | None = None
    reads_likelihoods: ClassVar[bool] = True
    metrics = tuple(Metric(name, is_binary=True) for name in _BY)

    def has_something_to_ask(self, sample: Sample) -> bool:
        """Whether a target is one of the choices."""
        return bool(self._targets(sample))

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002 - nobody is asked
        """1 where the likeliest choice is a target, by each metric."""
        found = from_text(answer)
        chosen = {
            name: ascii_uppercase[max(range(len(found)), key=lambda place, by=by: found[place].by(by))]  # type: ignore[misc]
            for name, by in _BY.items()
        }
        targets = self._targets(sample)
        return Score(
            sample.sample_id,
            {name: float(letter in targets) for name, letter in chosen.items()},
            details={"chosen": chosen, "logprobs": {one.text: one.logprob for one in found}},
            extracted=chosen[ACCURACY.name],
        )

    def _targets(self, sample: Sample) -> set[str]:
        return find_targets(sample, read_choices(sample, self.options), self.first_index)
