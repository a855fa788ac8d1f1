"""Rubric: a judge puts an answer on a scale, each value of which says in words what it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from annotated_types import Ge, Len

from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.judged.json_reply import describe_reply, read_verdict, verdict_schema, whole_number
from eibench_ray.scoring.scorer import Metric, Score, Scorer, ScoreStatus

_KEY = "rating"


@dataclass(frozen=True, slots=True)
class Anchor:
    """A value of a scale and what an answer is like that gets it; without words it lies between its neighbours."""

    value: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class RubricScorer(Scorer):
    """Asks a judge for one of the values of a scale.

    Attributes:
        metric: the name of what is rated, as tables have it.
    """

    scale: Annotated[tuple[Anchor, ...], Len(min_length=2)]
    metric: Annotated[str, Len(min_length=1)] = "rating"
    direction: Literal["higher", "lower"] = "higher"  # whether higher or lower values are the better ones
    explanation_words: Annotated[int, Ge(0)] = 30  # that the prompt allows an explanation; 0 asks for none

    asks = True
    asked_options = ("scale", "explanation_words")

    def __post_init__(self) -> None:
        """Refuses a scale with a value twice.

        Raises:
            ValueError: it has one.
        """
        values = [anchor.value for anchor in self.scale]
        if len(set(values)) < len(values):
            raise ValueError(f"the scale {values} has a value twice: give each value one text")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The mean rating, between the least and the greatest value of the scale."""
        values = self._values
        return (
            Metric(
                self.metric, direction=self.direction, format=".2f", low=float(min(values)), high=float(max(values))
            ),
        )

    @property
    def prompt_words(self) -> Mapping[str, str]:
        """`scale`: a line for each value with its text; `reply_form`: the form of the reply."""
        values = ", ".join(map(str, self._values))
        return {
            "scale": "\n".join(f"{one.value}: {one.text}".rstrip(": ") for one in self.scale),
            "reply_form": describe_reply(_KEY, f"one of {values}", self.explanation_words),
        }

    def outline(self, targets: Sequence[str]) -> bool:  # noqa: ARG002 - a rating needs none
        """The same for all."""
        return True

    def schema(self, sample: Sample) -> dict[str, Any]:  # noqa: ARG002 - the same for all
        """One of the values, and the explanation."""
        return _schema(self._values, is_explained=self.explanation_words > 0)

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002 - the judge has read it
        """The value that the judge gives, if it is one of the scale."""
        verdict, explanation = read_verdict(reply or "", _KEY)
        value = whole_number(verdict)
        if value not in self._values:
            return Score(sample.sample_id, status=ScoreStatus.UNPARSED, explanation=explanation)
        return Score(sample.sample_id, {self.metric: float(value)}, explanation=explanation)

    @property
    def _values(self) -> tuple[int, ...]:
        return tuple(anchor.value for anchor in self.scale)


@lru_cache(maxsize=16)
def _schema(values: tuple[int, ...], *, is_explained: bool) -> dict[str, Any]:
    return verdict_schema(_KEY, {"type": "integer", "enum": list(values)}, is_explained=is_explained)
