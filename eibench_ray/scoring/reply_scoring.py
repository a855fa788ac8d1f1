"""From rows to a score: what a sample or a row lacks first, then the scorer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

from eibench_ray.errors import ScoreError
from eibench_ray.rows.completion import RowErrorKind, RowResult
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.scorer import Score, Scorer, ScoreStatus
from eibench_ray.visible_text import in_page, shorten

_STATUSES = dict.fromkeys(map(str, ScoreStatus))


def read_score(
    scorer: Scorer,
    sample: Sample,
    answer: RowResult | None,
    *replies: RowResult | None,
    is_unparsed_wrong: bool = False,
) -> Score:
    """The score of one answer.

    Args:
        scorer: the cell's.
        sample: what was asked.
        answer: the subject's row; None where there is none.
        replies: the judge's row, None where there is none; of a scorer that compares, one per order of the answers.
            Those of a rule are not looked at.
        is_unparsed_wrong: whether an answer in which the scorer finds nothing has the worst value of each metric.

    Returns:
        One with the status `scorer_error` and the reason where the scorer fails, or says what it may not: that costs
        this row alone.
    """
    try:
        return _read(scorer, sample, answer, replies, is_unparsed_wrong=is_unparsed_wrong)
    except Exception as error:
        return Score(sample.sample_id, status=ScoreStatus.SCORER_ERROR, explanation=explain_scorer(scorer, error))


def explain_scorer(scorer: Scorer, error: Exception) -> str:
    """The reason why a scorer could not do its part: its own words where it has some, which say what to do."""
    if isinstance(error, ScoreError):
        return in_page(str(error))
    said = f"the scorer {type(scorer).__name__} ended in {type(error).__name__}: {shorten(str(error))}"
    return in_page(f"{said}; repair it, and report again: nothing has to be asked for that")


def _read(
    scorer: Scorer,
    sample: Sample,
    answer: RowResult | None,
    replies: Sequence[RowResult | None],
    *,
    is_unparsed_wrong: bool,
) -> Score:
    if not scorer.has_something_to_ask(sample):
        return Score(sample.sample_id, status=ScoreStatus.NO_TARGET)
    if answer is None or answer.error_kind is not None or answer.text is None:
        return Score(sample.sample_id, status=ScoreStatus.NO_ANSWER)
    texts = []
    for reply in replies if scorer.asks else ():
        if reply is None or reply.error_kind is not None or reply.text is None:
            # The answer is there, so what the judge lacked is the other one that it was to read.
            has_one = scorer.compares and reply is not None and reply.error_kind == RowErrorKind.UPSTREAM
            return Score(sample.sample_id, status=ScoreStatus.NO_BASELINE if has_one else ScoreStatus.JUDGE_ERROR)
        texts.append(reply.text)
    if scorer.compares:
        score = scorer.read_both(sample, (texts[0], texts[1]))
    elif (said := answer.likelihoods if scorer.reads_likelihoods else answer.text) is not None:
        score = scorer.read(sample, said, texts[0] if texts else None)
    else:
        score = Score(sample.sample_id, status=ScoreStatus.UNPARSED, explanation="the answer has no likelihoods")
    _check(scorer, score)
    if is_unparsed_wrong and score.status == ScoreStatus.UNPARSED:
        worst = {metric.name: metric.worst for metric in scorer.metrics}
        return replace(score, values={name: value for name, value in worst.items() if value is not None})
    return score


def _check(scorer: Scorer, score: Score) -> None:
    metrics, is_wrong = scorer.metrics, False
    for name, value in score.values.items():
        for metric in metrics:  # not by a dict of them, which takes longer to make
            if metric.name == name:
                is_wrong = is_wrong or not isfinite(value) or (metric.is_binary and value not in (0, 1))
                break
        else:
            is_wrong = True
    is_silent = score.status == ScoreStatus.OK and metrics[0].name not in score.values
    is_unknown = score.status not in _STATUSES and score.status not in scorer.statuses
    if is_wrong or is_silent or is_unknown:
        names = [metric.name for metric in metrics]
        raise ScoreError(
            f"the scorer {type(scorer).__name__} gives the values {dict(score.values)} with the status "
            f"{str(score.status)!r}: each has to be a number of one of its metrics ({', '.join(names)}), 0 or 1 where "
            f"it is binary, "
            f"{names[0]} has to be there where the status is ok, and the status one of "
            f"{', '.join([*_STATUSES, *scorer.statuses])}"
        )
