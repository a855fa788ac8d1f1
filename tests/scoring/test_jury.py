"""A jury's score of an answer from those of its members, and how far its members agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from eibench_ray.errors import ScoreError
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.accuracy import ACCURACY
from eibench_ray.scoring.judged.correct import CorrectScorer
from eibench_ray.scoring.judged.jury import AgreementMeter, Jury, JuryScorer
from eibench_ray.scoring.rules.includes import IncludesScorer
from eibench_ray.scoring.scorer import Score, ScoreStatus

SAMPLE = Sample("s", {"question": "Capital of France?"}, target="Paris")


def jury(*members: str, **options: Any) -> Jury:
    return Jury(JuryScorer(**options), {member: CorrectScorer() for member in members})


def said(*values: float | None, status: str = "unparsed", explanation: str | None = None) -> list[Score]:
    return [
        Score("s", status=status) if value is None else Score("s", {"accuracy": value}, explanation=explanation)
        for value in values
    ]


@pytest.mark.parametrize(
    ("vote", "values", "score"),
    [
        ("mean", (0.5, 1.0, 0.75), 0.75),
        ("mean", (1.0, 0.0), 0.5),
        ("majority", (1.0, 0.0, 1.0), 1.0),
        ("majority", (0.0, 1.0, 0.0), 0.0),
        ("majority", (1.0, 0.0), 0.5),
        ("majority", (0.0, 0.5, 1.0, 1.0, 0.0), 0.5),
    ],
)
def test_members_vote(vote: Any, values: Sequence[float], score: float) -> None:
    names = [f"m{number}" for number in range(len(values))]
    found = jury(*names, vote=vote).decide(
        SAMPLE, {name: said(value) for name, value in zip(names, values, strict=True)}
    )
    assert found.values == {"accuracy": pytest.approx(score)}
    assert (found.sample_id, found.status) == ("s", ScoreStatus.OK)
    assert found.details == {"members": dict(zip(names, values, strict=True))}


def test_a_members_score_is_the_mean_of_its_repeats() -> None:
    found = jury("a", "b").decide(SAMPLE, {"a": said(1.0, 0.0), "b": said(1.0, None)})
    assert found.values["accuracy"] == 0.75
    assert found.details["members"] == {"a": 0.5, "b": 1.0}


@pytest.mark.parametrize(
    ("quorum", "missing", "is_decided"), [(None, 0, True), (None, 1, False), (2, 1, True), (2, 2, False), (1, 2, True)]
)
def test_a_jury_needs_its_quorum(quorum: int | None, missing: int, is_decided: bool) -> None:
    given = {f"m{number}": said(None if number < missing else 1.0) for number in range(3)}
    found = jury(*given, quorum=quorum).decide(SAMPLE, given)
    assert found.values == ({"accuracy": 1.0} if is_decided else {})
    assert found.status == ("ok" if is_decided else "unparsed")


def test_what_a_jury_lacks_is_named_by_its_first_member_without_a_score() -> None:
    given = {"a": said(1.0), "b": said(None, status="judge_error"), "c": said(None)}
    found = jury(*given).decide(SAMPLE, given)
    assert found.status == "judge_error"
    assert found.details == {"members": {"a": 1.0, "b": "judge_error", "c": "unparsed"}}


def test_members_explain_themselves_by_name() -> None:
    given = {"a": said(1.0, explanation="same"), "b": said(1.0), "c": said(0.0, explanation="another")}
    assert jury(*given).decide(SAMPLE, given).explanation == "a: same\nc: another"
    assert jury("b").decide(SAMPLE, {"b": said(1.0)}).explanation is None


def test_a_jury_grades_in_its_members_metric_and_reads_no_reply_itself() -> None:
    mixed = Jury(JuryScorer(), {"rule": IncludesScorer(), "judge": CorrectScorer()})
    assert mixed.metric == ACCURACY
    assert mixed.statuses == {}
    assert JuryScorer().has_members
    with pytest.raises(ScoreError, match="a jury reads no reply: its members do"):
        JuryScorer().read(SAMPLE, "Paris", "yes")


def test_agreement_is_over_the_answers_that_two_members_graded() -> None:
    meter = AgreementMeter()
    judges = jury("a", "b", quorum=1)
    for row in ((1.0, 1.0), (0.0, 0.0), (1.0, None), (0.0, 1.0)):
        meter.add([judges.decide(SAMPLE, {name: said(value) for name, value in zip("ab", row, strict=True)})])
    found = meter.read()
    assert found is not None
    assert found.n == 3
    assert found.coverage == {"a": 1.0, "b": 0.75}
    # Krippendorff's formula by hand: 3 pairs, of which one differs; six values, of which three are 1.
    assert found.alpha == pytest.approx(1 - (6 - 1) * 1 / (3 * 3))


def test_answers_that_are_not_asked_yet_lower_the_coverage_and_nothing_asked_is_no_agreement() -> None:
    meter = AgreementMeter()
    assert meter.read() is None
    meter.add([None])
    assert meter.read() is None
    meter.add([jury("a", "b").decide(SAMPLE, {"a": said(1.0), "b": said(1.0)}), None])
    found = meter.read()
    assert found is not None
    assert (found.n, found.alpha) == (1, None)
    assert found.coverage == {"a": pytest.approx(1 / 3), "b": pytest.approx(1 / 3)}
