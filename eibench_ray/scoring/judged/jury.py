"""Jury: the scores of several judges of one answer as one score.

mean:       0.5, 1.0, 0.75    0.75
majority:   1, 0, 1           1, the value that most members give
majority:   1, 0              0.5, the mean of the values that share the first place
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Annotated, Literal

from annotated_types import Ge

from eibench_ray.errors import ScoreError
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.cell_columns import mean_value
from eibench_ray.scoring.scorer import MEMBERS, Metric, Score, Scorer, ScoreStatus


@dataclass(frozen=True, slots=True)
class JuryScorer(Scorer):
    """Makes one score of those of its members, which all grade in one metric.

    Attributes:
        quorum: members that must have a score, so that the jury has one; None: all.
    """

    vote: Literal["mean", "majority"] = "mean"
    quorum: Annotated[int, Ge(1)] | None = None

    has_members = True
    metrics = ()  # those of its members

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002
        """Refuses: a reply is read by the member who gave it.

        Raises:
            ScoreError: always.
        """
        raise ScoreError("a jury reads no reply: its members do")


@dataclass(frozen=True, slots=True)
class Jury:
    """A jury with its members' scorers.

    Attributes:
        members: name -> scorer, in order.
    """

    scorer: JuryScorer
    members: Mapping[str, Scorer]

    @property
    def metric(self) -> Metric:
        """The headline of all members."""
        return next(iter(self.members.values())).metrics[0]

    @property
    def statuses(self) -> Mapping[str, str]:
        """The reasons for no score that only its members have."""
        return {name: words for one in self.members.values() for name, words in one.statuses.items()}

    def decide(self, sample: Sample, scores: Mapping[str, Sequence[Score]]) -> Score:
        """The jury's score of one answer.

        Where fewer members than the quorum have a score, the jury has none, for the reason of the first without one.

        Args:
            sample: what was asked.
            scores: member -> its scores, one per repeat; their mean is the member's.
        """
        name = self.metric.name
        values = {member: mean_value(given, name) for member, given in scores.items()}
        counted = [value for value in values.values() if value is not None]
        lacking = {member: _reason(given, name) for member, given in scores.items() if values[member] is None}
        said = [
            f"{member}: {one.explanation}" for member, given in scores.items() for one in given[:1] if one.explanation
        ]
        members = {member: values[member] if member not in lacking else lacking[member] for member in scores}
        is_decided = len(counted) >= (self.scorer.quorum or len(scores))
        return Score(
            sample.sample_id,
            {name: self._vote(counted)} if is_decided else {},
            ScoreStatus.OK if is_decided else next(iter(lacking.values())),
            {MEMBERS: members},
            "\n".join(said) or None,
        )

    def _vote(self, values: Sequence[float]) -> float:
        if self.scorer.vote == "majority":
            counts = Counter(values)
            most = max(counts.values())
            values = [value for value, count in counts.items() if count == most]
        return sum(values) / len(values)


@dataclass(frozen=True, slots=True)
class JuryAgreement:
    """Agreement of a jury's members over the answers of a cell.

    Attributes:
        n: answers that at least two members gave a score.
        alpha: Krippendorff's, at the interval level, over those; None where it is undefined.
        coverage: member -> share of the answers that it has a score of.
    """

    n: int
    alpha: float | None
    coverage: Mapping[str, float]


@dataclass(slots=True)
class AgreementMeter:
    """Collects the members' values of a cell's samples, 8 bytes for each."""

    _values: dict[str, array[float]] = field(default_factory=dict)
    _num_answers: int = 0

    def add(self, scores: Sequence[Score | None]) -> None:
        """Takes the jury's scores of a sample, one per answer; None for one that is not asked yet."""
        self._num_answers += len(scores)
        for score in scores:
            members = score.details[MEMBERS] if score is not None else {}
            for member, value in members.items():
                self._values.setdefault(member, array("d")).append(value if isinstance(value, float) else nan)

    def read(self) -> JuryAgreement | None:
        """The agreement; None where the jury was not asked yet."""
        if not self._values:
            return None
        import numpy as np

        from eibench_ray.scoring.judge_agreement import interval_alpha  # SciPy takes a second to load

        values = np.array(list(self._values.values()))
        has_value = ~np.isnan(values)
        coverage = dict(zip(self._values, (has_value.sum(axis=1) / self._num_answers).tolist(), strict=True))
        return JuryAgreement(int((has_value.sum(axis=0) > 1).sum()), interval_alpha(values), coverage)


def _reason(scores: Sequence[Score], metric: str) -> str:
    """The status of the first score without a value."""
    return str(next(one.status for one in scores if metric not in one.values))
