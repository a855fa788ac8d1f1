"""A sample of a cell with everything that was said about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eibench_ray.rows.completion import Completion
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.answer_repeats import by_answer
from eibench_ray.scoring.cell_columns import mean_value
from eibench_ray.scoring.score_column import ScoreColumn
from eibench_ray.scoring.scorer import Score


@dataclass(frozen=True, slots=True)
class JoinedAnswer:
    """One answer to a sample, and what was said about it."""

    answer: Completion | None
    replies: Sequence[Completion | None]  # of the judge, as many per score; none where a rule scores
    scores: Sequence[Score | None]  # one per repeat of the judge, or the rule's
    compared: Completion | None = None  # the baseline's answer that it was held against

    @property
    def replies_by_score(self) -> list[tuple[Sequence[Completion | None], Score | None]]:
        """Each score with the replies that it was made from."""
        return list(zip(by_answer(self.replies, len(self.scores)), self.scores, strict=True))


@dataclass(frozen=True, slots=True)
class JoinedRow:
    """One sample of a cell with all that was said about it; None where the run has not come to it."""

    sample: Sample
    answers: tuple[Completion | None, ...]  # one per repeat of the setting
    replies: tuple[Completion | None, ...]  # answer by answer, one per verdict; none where a rule scores
    scores: tuple[Score | None, ...]  # answer by answer, one per repeat of the judge, or the rule's, or the jury's
    metric: str  # name of the headline
    made: Mapping[str, Completion]  # all rows by step id, inputs before what reads them
    is_jury: bool = False  # the replies are its members', the score is its own
    compared: tuple[Completion | None, ...] = ()  # the baseline's answers, one per answer; none where there is none

    @property
    def answer(self) -> Completion | None:
        """The answer; the first, where the setting repeats."""
        return self.answers[0]

    @property
    def by_answer(self) -> list[JoinedAnswer]:
        """The same, answer by answer."""
        num_answers = len(self.answers)
        compared = self.compared or (None,) * num_answers
        parts = (self.answers, by_answer(self.replies, num_answers), by_answer(self.scores, num_answers), compared)
        return [JoinedAnswer(*each) for each in zip(*parts, strict=True)]

    @property
    def cost_usd(self) -> float | None:
        """Of all rows of the sample that the cell rests on; None where none has a price."""
        costs = [row.cost_usd for row in self.made.values() if row.cost_usd is not None]
        return sum(costs) if costs else None

    @property
    def value(self) -> float | None:
        """The headline's mean over the scores that have it; None where none does."""
        return mean_value(self.scores, self.metric)


@dataclass(frozen=True, slots=True)
class SaidRange:
    """Texts that were said to some samples of a cell, in their order; None where there is none.

    Attributes:
        sample_ids: of the samples.
        paths: of the first picture of each; None where it has none.
        targets: of each, as a list of texts.
        answers: a column per repeat of the setting.
        replies: answer by answer, a column per verdict; none where a rule scores.
        scores: answer by answer, a column per repeat of the judge, or the rule's; none where they were not asked for.
    """

    sample_ids: Sequence[str]
    paths: Sequence[str | None]
    targets: Sequence[tuple[str, ...]]
    answers: Sequence[Sequence[str | None]]
    replies: Sequence[Sequence[str | None]]
    scores: Sequence[ScoreColumn] = ()
