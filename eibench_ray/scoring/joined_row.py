"""A sample of a cell with everything that was said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eibench_ray.rows.completion import Completion
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.cell_score import mean_recall
from eibench_ray.scoring.verdict import Verdict


@dataclass(frozen=True, slots=True)
class JoinedRow:
    """One sample of a cell with all that was said about it; None where the run has not come to it.

    Attributes:
        replies, verdicts: one per repeat of the judge.
        coherence: the row that measures the answer; None also where that is not asked for.
        made: all rows by step id, inputs before what reads them.
    """

    sample: Sample
    answer: Completion | None
    replies: tuple[Completion | None, ...]
    verdicts: tuple[Verdict | None, ...]
    coherence: Completion | None
    made: Mapping[str, Completion]

    @property
    def cost_usd(self) -> float | None:
        """Of all rows of the sample that the cell rests on; None where none has a price."""
        costs = [row.cost_usd for row in self.made.values() if row.cost_usd is not None]
        return sum(costs) if costs else None

    @property
    def recall(self) -> float | None:
        """Mean over the verdicts that count; None where none does."""
        return mean_recall(self.verdicts)
