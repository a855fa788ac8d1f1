"""From rows to a score: what a sample or a row lacks first, then the scorer."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from eibench_ray.errors import ScoreError
from eibench_ray.rows.completion import Completion
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.scorer import Score, Scorer, ScoreStatus

_STATUSES = tuple(map(str, ScoreStatus))


def read_score(
    scorer: Scorer,
    sample: Sample,
    answer: Completion | None,
    reply: Completion | None,
    *,
    is_unparsed_wrong: bool = False,
) -> Score:
    """The score of one answer.

    Args:
        scorer: the cell's.
        sample: what was asked.
        answer: the subject's row; None where there is none.
        reply: the judge's row; None where there is none, or where the scorer is a rule.
        is_unparsed_wrong: whether an answer in which the scorer finds nothing has the worst value of each metric.

    Raises:
        ScoreError: the scorer failed, or says what it may not.
    """
    if not scorer.has_something_to_ask(sample):
        return Score(sample.sample_id, status=ScoreStatus.NO_TARGET)
    if answer is None or answer.error_kind is not None or answer.text is None:
        return Score(sample.sample_id, status=ScoreStatus.NO_ANSWER)
    if scorer.asks and (reply is None or reply.error_kind is not None or reply.text is None):
        return Score(sample.sample_id, status=ScoreStatus.JUDGE_ERROR)
    try:
        score = scorer.read(sample, answer.text, reply.text if scorer.asks and reply is not None else None)
    except ScoreError as error:  # a scorer's own words say what to do
        raise ScoreError(f"sample {sample.sample_id!r} cannot be scored: {error}") from error
    except Exception as error:
        raise ScoreError(
            f"the scorer {type(scorer).__name__} ended in {type(error).__name__} on sample {sample.sample_id!r}: "
            f"{error}; repair it, and report again: nothing has to be asked for that"
        ) from error
    _check(scorer, score)
    if is_unparsed_wrong and score.status == ScoreStatus.UNPARSED:
        worst = {metric.name: metric.worst for metric in scorer.metrics}
        return replace(score, values={name: value for name, value in worst.items() if value is not None})
    return score


def _check(scorer: Scorer, score: Score) -> None:
    names = [metric.name for metric in scorer.metrics]
    wrong = {name: value for name, value in score.values.items() if name not in names or not isfinite(value)}
    is_silent = score.status == ScoreStatus.OK and names[0] not in score.values
    is_unknown = score.status not in _STATUSES and score.status not in scorer.statuses
    if wrong or is_silent or is_unknown:
        raise ScoreError(
            f"the scorer {type(scorer).__name__} gives sample {score.sample_id!r} the values {dict(score.values)} with "
            f"the status {score.status!r}: each has to be a number of one of its metrics ({', '.join(names)}), "
            f"{names[0]} has to be there where the status is ok, and the status one of "
            f"{', '.join([*_STATUSES, *scorer.statuses])}"
        )
