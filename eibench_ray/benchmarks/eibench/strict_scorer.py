"""The strict protocol: the JSON that a judge is asked for, and how its reply is read.

A reply is one JSON object, bare or in one code fence, with white space around it and nothing else. It has one of two
forms: `named`, an object with true or false under the number of each reference trigger, or the counts `correct` and
`total`, which are integers in the sense of JSON Schema: 2 and 2.0 are, true and "2" are not. A key that comes twice
says two things, so it says nothing. Further keys beside these are ignored: an engine that cannot constrain its output
may add some.

Where `explanation_words` is set, the verdict comes first and the prompt says how long the explanation may be. A schema
with maxLength makes each token's mask dear: xgrammar takes 49 us for it and 6 us without (docs/measurements.md), 12 ms
against 2 for a step of 256 rows.

Numbers as keys, not an array: each answer stands beside the number that the prompt gives its trigger, so that a judge
cannot lose count; and every endpoint that constrains objects enforces required keys, but not all take minItems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from annotated_types import Ge

from eibench_ray.benchmarks.eibench.parsed_verdict import (
    RECALL,
    STATUSES,
    UNPARSED,
    CountStatus,
    ParsedVerdict,
)
from eibench_ray.errors import ScoreError
from eibench_ray.rows.sample import Sample
from eibench_ray.scoring.judged.json_reply import (
    EXPLANATION,
    object_schema,
    read_cut_object,
    read_object,
    read_words,
    whole_number,
)
from eibench_ray.scoring.scorer import Score, Scorer


@dataclass(frozen=True, slots=True)
class StrictScorer(Scorer):
    """Asks a judge for constrained JSON about the reference triggers, and checks it.

    Attributes:
        verdict: whether the reply says of each of the `triggers` if the answer names it, or their `count`.
        explanation_words: that the prompt allows an explanation after the verdict; 0 asks for none; None: it comes
            before the verdict, and `explanation_chars` is its length.
    """

    verdict: Literal["triggers", "count"] = "count"
    explanation_chars: Annotated[int, Ge(0)] = 200  # longest explanation that the schema allows; 0 asks for none
    explanation_words: Annotated[int, Ge(0)] | None = None

    asks = True
    metrics = (RECALL,)
    statuses = STATUSES
    asked_options = ("verdict", "explanation_chars", "explanation_words")
    later_options = ("explanation_words",)

    def __post_init__(self) -> None:
        """Refuses an explanation before the verdict and one after it.

        Raises:
            ValueError: both are asked for.
        """
        if self.explanation_words is not None and self.explanation_chars:
            raise ValueError(
                f"explanation_chars is {self.explanation_chars} and explanation_words {self.explanation_words}: set "
                f"explanation_chars to 0 for an explanation after the verdict, or explanation_words to null for one "
                f"before it"
            )

    @property
    def prompt_words(self) -> Mapping[str, str]:
        """`explanation_words`: their number; empty where none are asked for."""
        return {"explanation_words": str(self.explanation_words or "")}

    def has_something_to_ask(self, sample: Sample) -> bool:
        """Whether the sample has a trigger to find."""
        return bool(sample.targets)

    def outline(self, targets: Sequence[str]) -> int:
        """The number of triggers."""
        return len(targets)

    def schema(self, sample: Sample) -> dict[str, Any]:
        """As many booleans, or a total, as the sample has triggers."""
        per_trigger, words = self.verdict == "triggers", self.explanation_words
        return strict_schema(len(sample.targets), self.explanation_chars, words, per_trigger=per_trigger)

    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:  # noqa: ARG002 - the judge has read it
        """The recall that the reply states."""
        parse = parse_named if self.verdict == "triggers" else parse_counts
        may_break_off = self.explanation_words is not None
        return parse(reply or "", len(sample.targets), may_break_off=may_break_off).to_score(sample.sample_id)


@lru_cache(maxsize=256)
def strict_schema(
    num_triggers: int, explanation_chars: int, explanation_words: int | None = None, *, per_trigger: bool = False
) -> dict[str, Any]:
    """JSON schema of the reply to one sample: an explanation and the verdict, or the verdict and an explanation.

    Args:
        num_triggers: reference triggers of the sample; the only number of them that the schema allows.
        explanation_chars: longest explanation before the verdict; 0 leaves it out.
        explanation_words: whether, if not 0, an explanation comes after the verdict, of any length; None: it does not.
        per_trigger: whether the reply says of each trigger if it is named, or how many are.

    Raises:
        ScoreError: the sample has no trigger to find.
    """
    if num_triggers < 1:
        raise ScoreError(
            f"a strict judge was asked about a sample with {num_triggers} reference triggers; its recall has no "
            f"meaning: give the sample a trigger, or leave it out of the dataset"
        )
    properties: dict[str, Any] = {}
    if explanation_chars > 0:
        properties[EXPLANATION] = {"type": "string", "maxLength": explanation_chars}
    if per_trigger:
        properties["named"] = object_schema({number: {"type": "boolean"} for number in _numbers(num_triggers)})
    else:
        properties["correct"] = {"type": "integer", "minimum": 0, "maximum": num_triggers}
        properties["total"] = {"const": num_triggers}
    if explanation_words:
        properties[EXPLANATION] = {"type": "string"}
    return object_schema(properties)


def parse_named(text: str, num_triggers: int, *, may_break_off: bool = False) -> ParsedVerdict:
    """The verdict of a reply that says of each trigger if it is named; never raises, whatever the text.

    Args:
        text: the judge's reply.
        num_triggers: reference triggers of the sample, at least 1.
        may_break_off: whether a reply counts that breaks off within its explanation.
    """
    found = (read_cut_object if may_break_off else read_object)(text)
    named = found.get("named")
    if not isinstance(named, dict) or not named or set(map(type, named.values())) != {bool}:
        return UNPARSED
    try:
        hits = tuple(map(named.__getitem__, _numbers(len(named))))
    except KeyError:
        return UNPARSED
    is_whole = len(hits) == num_triggers
    status = CountStatus.OK if is_whole else CountStatus.WRONG_TOTAL
    return ParsedVerdict(sum(hits), len(hits), read_words(found.get(EXPLANATION)), status, hits if is_whole else None)


def parse_counts(text: str, num_triggers: int, *, may_break_off: bool = False) -> ParsedVerdict:
    """The verdict of a reply that counts the named triggers; never raises, whatever the text.

    Args:
        text: the judge's reply.
        num_triggers: reference triggers of the sample, at least 1.
        may_break_off: whether a reply counts that breaks off within its explanation.
    """
    found = (read_cut_object if may_break_off else read_object)(text)
    correct, total = whole_number(found.get("correct")), whole_number(found.get("total"))
    if correct is None or total is None:
        return UNPARSED
    return ParsedVerdict(correct, total, read_words(found.get(EXPLANATION)), _status(correct, total, num_triggers))


@lru_cache(maxsize=256)
def _numbers(num_triggers: int) -> tuple[str, ...]:
    """The triggers' numbers in the prompt, as keys."""
    return tuple(map(str, range(1, num_triggers + 1)))


def _status(correct: int, total: int, num_triggers: int) -> CountStatus:
    if not 0 <= correct <= total:
        return CountStatus.OUT_OF_RANGE
    return CountStatus.OK if total == num_triggers else CountStatus.WRONG_TOTAL
