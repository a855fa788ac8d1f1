"""A model that is asked again about the same samples: pass@k and majority@k. Pure.

Of five answers two are right. The chance that one of two that are drawn is right is 7 in 10, and most say wrong:

    >>> answers = [Score("s", {"accuracy": value}) for value in (1.0, 0.0, 0.0, 1.0, 0.0)]
    >>> for figure in repeat_figures(Metric("accuracy", is_binary=True), 5):
    ...     print(figure.metric.name, figure.read(answers))
    pass@2 0.7
    pass@4 1.0
    pass@5 1.0
    majority@5 0.0
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import comb
from typing import TypeVar

from eibench_ray.scoring.scorer import Metric, Score

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class RepeatFigure:
    """A figure that only several answers to a sample have."""

    metric: Metric
    read: Callable[[Sequence[Score | None]], float | None]  # a sample's value, from its answers' scores; None for none


def repeat_figures(metric: Metric, num_answers: int) -> list[RepeatFigure]:
    """pass@k for k = 2, 4, 8 and so on and for all answers, then majority@k of all; none without a right and a wrong.

    Args:
        metric: whose values say what is right.
        num_answers: answers to each sample.
    """
    if not metric.is_binary or num_answers < 2:
        return []
    counts = dict.fromkeys([*(2**power for power in range(1, num_answers.bit_length())), num_answers])
    of_pass = [RepeatFigure(Metric(f"pass@{k}"), partial(_pass_at, k, metric.name)) for k in counts]
    return [*of_pass, RepeatFigure(Metric(f"majority@{num_answers}"), partial(_majority, metric.name))]


def by_answer(items: Sequence[_Item], num_answers: int) -> list[Sequence[_Item]]:
    """Items by the answer that they belong to: those of the first come first, then as many of the second and so on."""
    size = len(items) // num_answers
    return [items[start : start + size] for start in range(0, size * num_answers, size)] if size else [()] * num_answers


def join_repeats(scores: Sequence[Score | None]) -> Score | None:
    """The score of an answer that a judge was asked about several times: the means of its values."""
    known = [score for score in scores if score is not None]
    if len(scores) == 1 or not known:
        return scores[0]
    values: dict[str, list[float]] = {}
    for score in known:
        for name, value in score.values.items():
            values.setdefault(name, []).append(value)
    return Score(known[0].sample_id, {name: sum(each) / len(each) for name, each in values.items()})


def pass_at_k(num_answers: int, num_right: int, k: int) -> float:
    """Chance that at least one of k answers is right, without bias from n >= k of them: 1 - C(n - c, k) / C(n, k).

    Source: Chen et al., Evaluating Large Language Models Trained on Code (2021), equation 1.
    """
    return 1 - comb(num_answers - num_right, k) / comb(num_answers, k)


def _pass_at(k: int, name: str, answers: Sequence[Score | None]) -> float | None:
    """None where fewer than k answers have a value."""
    right = [_is_right(score, name) for score in answers if score is not None and name in score.values]
    return pass_at_k(len(right), sum(right), k) if len(right) >= k else None


def _majority(name: str, answers: Sequence[Score | None]) -> float | None:
    """Whether what most answers say is right; what is said equally often shares. None where an answer has no value.

    What a rule reads as the answer is what an answer says, and one in which it finds nothing has no vote. Where nothing
    is read, as by a judge, an answer says that it is right or wrong.

    Source: Wang et al., Self-Consistency Improves Chain of Thought Reasoning in Language Models (2023).
    """
    known = [score for score in answers if score is not None and name in score.values]
    if len(known) < len(answers):
        return None
    has_read = any(score.extracted is not None for score in known)
    said = [(score.extracted if has_read else _is_right(score, name), _is_right(score, name)) for score in known]
    votes = Counter(vote for vote in said if vote[0] is not None)
    most = max(votes.values())
    winners = [is_right for (_, is_right), count in votes.items() if count == most]
    return sum(winners) / len(winners)


def _is_right(score: Score, name: str) -> bool:
    """Whether more than half of what was said about an answer calls it right."""
    return score.values[name] > 0.5
