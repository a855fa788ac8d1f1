"""Correct: a judge says whether an answer means the same as a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from annotated_types import Ge

from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.accuracy import ACCURACY, filled_targets
from eibench_ray.scoring.judged.json_reply import describe_reply, read_verdict, verdict_schema
from eibench_ray.scoring.scorer import Score, Scorer, ScoreStatus

_KEY = "correct"


@dataclass(frozen=True, slots=True)
class CorrectScorer(Scorer):
    """Asks a judge whether an answer says what one of the targets says, whatever the words."""

    explanation_words: Annotated[int, Ge(0)] = 30  # that the prompt allows an explanation; 0 asks for none

    asks = True
    metrics = (ACCURACY,)
    asked_options = ("explanation_words",)

    @property
    def prompt_words(self) -> Mapping[str, str]:
        """`reply_form`: the form of the reply."""
        return {"reply_form": describe_reply(_KEY, "true or false", self.explanation_words)}

    def has_something_to_ask(self, sample: Sample) -> bool:
        """Whether there is a target."""
        return bool(filled_targets(sample))

    def outline(self, targets: Sequence[str]) -> bool:
        """Whether there is a target."""
        return any(map(str.strip, targets))

    def schema(self, sample: Sample) -> dict[str, Any]:  # noqa: ARG002 - the same for all
        """True or false, and the explanation."""
        return _schema(is_explained=self.explanation_words > 0)

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002 - the judge has read it
        """1 where the judge says that the answer is correct, 0 where it says that it is not."""
        verdict, explanation = read_verdict(reply or "", _KEY)
        if not isinstance(verdict, bool):
            return Score(sample.sample_id, status=ScoreStatus.UNPARSED, explanation=explanation)
        return Score(sample.sample_id, {ACCURACY.name: float(verdict)}, explanation=explanation)


@lru_cache(maxsize=2)
def _schema(*, is_explained: bool) -> dict[str, Any]:
    return verdict_schema(_KEY, {"type": "boolean"}, is_explained=is_explained)
