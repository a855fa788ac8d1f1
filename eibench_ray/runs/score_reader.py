"""The scores of a sample in a cell: of a rule, of each repeat of a judge, or of a jury."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from eibench_ray.config.scorer_options import make_scorer
from eibench_ray.errors import ConfigError, StoreError
from eibench_ray.plan.graph import Cell
from eibench_ray.rows.completion import RowResult
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.judged.jury import Jury, JuryScorer
from eibench_ray.scoring.reply_scoring import read_score
from eibench_ray.scoring.scorer import Metric, Score, Scorer


@dataclass(frozen=True, slots=True)
class JudgeReader:
    """Reads scores of a judge's replies, or by a rule."""

    scorer: Scorer
    num_replies: int
    is_unparsed_wrong: bool

    @property
    def metrics(self) -> Sequence[Metric]:
        """The figures, the headline first."""
        return self.scorer.metrics

    @property
    def statuses(self) -> Mapping[str, str]:
        """Its own reasons for no score, in words."""
        return self.scorer.statuses

    def read(
        self, sample: Sample, answer: RowResult | None, replies: Sequence[RowResult | None]
    ) -> tuple[Score | None, ...]:
        """One score per repeat, or the rule's; None where it is not asked yet."""
        is_lost = answer is not None and (answer.error_kind is not None or not self.scorer.asks)
        if len(replies) == 1 and self.scorer.asks and not self.scorer.compares:  # as in most cells
            if not is_lost and replies[0] is None:
                return (None,)
            return (read_score(self.scorer, sample, answer, *replies, is_unparsed_wrong=self.is_unparsed_wrong),)
        size = 2 if self.scorer.compares else 1
        starts = range(0, len(replies), size)
        said = [replies[start : start + size] for start in starts] if self.scorer.asks else [()]
        return tuple(
            read_score(self.scorer, sample, answer, *each, is_unparsed_wrong=self.is_unparsed_wrong)
            if is_lost or None not in each
            else None
            for each in said
        )


@dataclass(frozen=True, slots=True)
class JuryReader:
    """Reads the one score of a jury."""

    jury: Jury
    members: Mapping[str, JudgeReader]

    @property
    def metrics(self) -> Sequence[Metric]:
        """The figures, the headline first."""
        return (self.jury.metric,)

    @property
    def statuses(self) -> Mapping[str, str]:
        """Its own reasons for no score, in words."""
        return self.jury.statuses

    def read(
        self, sample: Sample, answer: RowResult | None, replies: Sequence[RowResult | None]
    ) -> tuple[Score | None, ...]:
        """The jury's score; None where a member is not asked yet."""
        left, scores = iter(replies), dict[str, list[Score]]()
        for name, member in self.members.items():
            given = member.read(sample, answer, list(islice(left, member.num_replies)))
            scores[name] = [score for score in given if score is not None]
            if len(scores[name]) < len(given):
                return (None,)
        return (self.jury.decide(sample, scores),)


@dataclass(frozen=True, slots=True)
class LostReader:
    """Reads nothing, as a scorer is gone, or takes its options no more: that costs its own cells."""

    kind: str  # the scorer's name
    num_scores: int  # of each answer
    reason: str

    @property
    def metrics(self) -> Sequence[Metric]:
        """A figure without values, since nobody says any more which it had."""
        return (Metric(self.kind),)

    @property
    def statuses(self) -> Mapping[str, str]:
        """None of its own."""
        return {}

    def read(
        self,
        sample: Sample,  # noqa: ARG002
        answer: RowResult | None,  # noqa: ARG002
        replies: Sequence[RowResult | None],  # noqa: ARG002
    ) -> tuple[Score | None, ...]:
        """No score."""
        return (None,) * self.num_scores


Reader = JudgeReader | JuryReader | LostReader


def make_reader(cell: Cell) -> Reader:
    """Reads the scores of a cell."""
    try:
        return _make_reader(cell)
    except (ConfigError, StoreError) as error:
        repeats = 1 if cell.jurors else cell.judge_repeats // (2 if cell.baseline else 1)
        return LostReader(cell.scorer.kind, max(repeats, 1), f"scorer missing: {error}")


def _make_reader(cell: Cell) -> JudgeReader | JuryReader:
    scorer = make_scorer(cell.scorer)
    if not isinstance(scorer, JuryScorer):
        return JudgeReader(scorer, cell.judge_repeats, cell.is_unparsed_wrong)
    members = {
        juror.name: JudgeReader(make_scorer(juror.scorer), juror.repeats, juror.is_unparsed_wrong)
        for juror in cell.jurors
    }
    return JuryReader(Jury(scorer, {name: member.scorer for name, member in members.items()}), members)
