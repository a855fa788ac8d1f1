"""Examples of a step's prompt (few-shot). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eibench_ray.rows.sample import TARGET, TARGETS, Sample

SPARES = 2  # a sample may be one of the examples by its id, and another one by what it asks


class Example(dict[str, Any]):
    """One example, as a prompt reads it: `{{ example.question }}`."""


@dataclass(frozen=True, slots=True)
class ExampleSet:
    """The examples that a step's prompt reads.

    Attributes:
        samples: some more than are shown, as no sample is shown to itself.
    """

    number: int  # that are shown
    samples: tuple[Sample, ...]

    def shown_to(self, sample: Sample) -> list[Example]:
        """The examples for a sample: never itself, nor one that asks the same.

        Raises:
            ValueError: too few are left.
        """
        others = [
            one
            for one in self.samples
            if one.sample_id != sample.sample_id and (one.inputs != sample.inputs or one.media)
        ]
        if len(others) < self.number:
            raise ValueError(f"it shows {self.number} examples, and {len(others)} are not this very sample")
        return [_to_example(one) for one in others[: self.number]]


def _to_example(sample: Sample) -> Example:
    said = {**sample.metadata, **sample.inputs, "id": sample.sample_id, TARGET: sample.target, TARGETS: sample.targets}
    return Example({name: value for name, value in said.items() if value is not None})
