"""Pairwise: a judge says which of two answers is better, the model's or a baseline's, in both orders.

answer first    baseline first    outcome
first           second            win, 1
second          first             defeat, 0
tie             tie               tie, 0.5
first           first             tie, 0.5: the judge favours a place, not an answer
first           tie               tie, 0.5: it does not say the same twice
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from annotated_types import Ge

from eibench_ray.errors import ScoreError
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.judged.json_reply import describe_reply, read_verdict, verdict_schema
from eibench_ray.scoring.scorer import Metric, Score, Scorer, ScoreStatus

_KEY = "better"
# What a verdict gives to the answer in the first place.
_SHARE_OF_FIRST = {"first": 1.0, "second": 0.0, "tie": 0.5}
_OUTCOMES = {1.0: "win", 0.5: "tie", 0.0: "defeat"}

WIN_RATE = Metric("win_rate")
FIRST_PLACE = Metric("first_place")
CONSISTENT = Metric("consistent")


@dataclass(frozen=True, slots=True)
class PairwiseScorer(Scorer):
    """Asks a judge twice which of two answers is better; only what it says in both orders decides.

    Its metrics: `win_rate`, of wins, ties as half; `first_place`, the share of verdicts for the answer that stands
    first, ties as half, which is 50% where the judge favours no place; `consistent`, the share of samples about which
    it says the same in both orders.

    Source: Zheng et al., Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena (2023), section 3.4: an answer wins if
    it is preferred in both orders, and verdicts that contradict each other are a tie.
    """

    explanation_words: Annotated[int, Ge(0)] = 30  # that the prompt allows an explanation; 0 asks for none

    asks = True
    compares = True
    metrics = (WIN_RATE, FIRST_PLACE, CONSISTENT)
    asked_options = ("explanation_words",)

    @property
    def prompt_words(self) -> Mapping[str, str]:
        """`reply_form`: the form of the reply."""
        values = 'one of "first", "second", "tie"'
        return {"reply_form": describe_reply(_KEY, values, self.explanation_words)}

    def schema(self, sample: Sample) -> dict[str, Any]:  # noqa: ARG002 - the same for all
        """Which one is better, and the explanation."""
        return _schema(is_explained=self.explanation_words > 0)

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002
        """Refuses: one verdict alone decides nothing.

        Raises:
            ScoreError: always.
        """
        raise ScoreError("a comparison takes two replies of the judge, one in each order")

    def read_both(self, sample: Sample, replies: tuple[str, str]) -> Score:
        """1 where the judge prefers the answer in both orders, 0 where it prefers the baseline's, else 0.5."""
        verdicts, explanations = zip(*(read_verdict(reply, _KEY) for reply in replies), strict=True)
        said = [f"{place}: {text}" for place, text in zip(("first", "second"), explanations, strict=True) if text]
        explanation = "\n".join(said) or None
        known = [_SHARE_OF_FIRST[one] for one in verdicts if isinstance(one, str) and one in _SHARE_OF_FIRST]
        if len(known) < len(replies):
            return Score(sample.sample_id, status=ScoreStatus.UNPARSED, explanation=explanation)
        as_first, as_second = known[0], 1 - known[1]  # what the answer gets in each order
        is_consistent = as_first == as_second
        values = {
            WIN_RATE.name: as_first if is_consistent else 0.5,
            FIRST_PLACE.name: (known[0] + known[1]) / 2,
            CONSISTENT.name: float(is_consistent),
        }
        details = {"placed_first": _OUTCOMES[as_first], "placed_second": _OUTCOMES[as_second]}
        return Score(sample.sample_id, values, details=details, explanation=explanation)


@lru_cache(maxsize=2)
def _schema(*, is_explained: bool) -> dict[str, Any]:
    verdict = {"type": "string", "enum": list(_SHARE_OF_FIRST)}
    return verdict_schema(_KEY, verdict, is_explained=is_explained)
