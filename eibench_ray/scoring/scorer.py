"""Scorers: how an answer becomes a score, by a rule or by asking a judge and reading its reply.

    @dataclass(frozen=True, slots=True)
    class SaysYes(Scorer):
        ignore_case: bool = True
        metrics = (Metric("says_yes"),)

        def read(self, sample: Sample, answer: str, reply: str | None) -> Score:
            text = answer.lower() if self.ignore_case else answer
            return Score(sample.sample_id, {"says_yes": float("yes" in text)})

Its fields are its options: `judge: {kind: says_yes, ignore_case: false}`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Any, ClassVar, Literal

from eibench_ray.errors import ScoreError
from eibench_ray.rows.request import AcceptRule, Sampling
from eibench_ray.rows.sample import Sample

_NEGLIGIBLE = 1e-9  # what floating point may add to a sum of ones
# In a score's details, a list of booleans: whether the answer has each of the sample's targets. The page marks them.
TARGETS_HIT = "targets_hit"
# In a jury's, member -> its value, or the reason why it has none.
MEMBERS = "members"


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure's name, unit and format, so that tables, intervals and trackers need not know it by name.

    Attributes:
        format: how a value is written, as Python does it: `.1%`, a share in percent with one digit, `.3f`, or `.0f`.
            Tables leave digits out that its error makes worthless.
        low, high: the least and the greatest value of a sample, between which a missing one may lie; None: there is
            none.
        is_binary: whether each value is 1, right, or 0, wrong. Where answers are asked for repeatedly, such a headline
            has pass@k and majority@k beside it.
    """

    name: str  # a word, e.g. `accuracy`.
    unit: str = ""  # what a value is counted in, e.g. `sentences`; empty for a share or an index.
    direction: Literal["higher", "lower"] = "higher"  # whether higher or lower values are the better ones
    aggregate: Literal["mean"] = "mean"  # how a cell's value follows from those of its samples
    format: str = ".1%"
    low: float | None = 0.0
    high: float | None = 1.0
    is_binary: bool = False

    @property
    def worst(self) -> float | None:
        """The value of an answer that is wrong altogether; None where there is none."""
        return self.low if self.direction == "higher" else self.high

    @property
    def span(self) -> float:
        """The greatest difference of two values; infinite where there is none."""
        return inf if self.low is None or self.high is None else self.high - self.low

    @property
    def heading(self) -> str:
        """Its name with what its values are written in, e.g. `accuracy %`."""
        unit = "%" if self.is_percent else self.unit
        return f"{self.name} {unit}" if unit else self.name

    @property
    def is_percent(self) -> bool:
        """Whether values are written in percent."""
        return self.format.endswith("%")

    @property
    def digits(self) -> int:
        """Digits after the point that `format` says."""
        return int(self.format[1:-1])

    def show(self, value: float, sign: str = "", digits: int | None = None) -> str:
        """A value as it is written, without its unit.

        What is not the least or the greatest value is never rounded to it: 0.9997 is `>99.9`, 0.0001 is `<0.1`.

        Args:
            value: of the metric, or, with a sign, a difference of two values: of shares in points.
            sign: `+` writes that of positive values, too.
            digits: after the point (`rounding.digits_for`); None: those of `format`.
        """
        digits = self.digits if digits is None else digits

        def write(number: float) -> str:
            return format(number, f"{sign}.{digits}{self.format[-1]}").removesuffix("%")

        text, step = write(value), 10.0 ** -(digits + 2 * self.is_percent)
        if not sign and (self.low is None or value > self.low) and (self.high is None or value < self.high):
            for edge, mark, inwards in ((self.low, "<", step), (self.high, ">", -step)):
                if edge is not None and text == write(edge) and abs(value - edge) > _NEGLIGIBLE:
                    return mark + write(edge + inwards)
        return text


class ScoreStatus(StrEnum):
    """Reason why an answer has a score or none; a scorer may have further ones of its own (`Scorer.statuses`)."""

    OK = "ok"
    UNPARSED = "unparsed"  # nothing that could be scored was found in the answer, or in the judge's reply
    NOT_APPLICABLE = "not_applicable"  # the answer has nothing that the metric is about
    NO_ANSWER = "no_answer"  # the subject gave no answer
    NO_BASELINE = "no_baseline"  # the baseline gave no answer to compare with
    JUDGE_ERROR = "judge_error"  # the judge gave no reply
    SCORER_ERROR = "scorer_error"  # the scorer itself failed on it
    NO_TARGET = "no_target"  # the sample has nothing to compare with: nobody was asked


@dataclass(frozen=True, slots=True)
class Score:
    """Score of one answer.

    Attributes:
        values: metric -> value; a metric that is left out has none here.
        extracted: what was read as the answer, so that equal ones are equal texts: repeated answers vote by it. None:
            nothing, or the answer is looked at as a whole.
    """

    sample_id: str
    values: Mapping[str, float] = field(default_factory=dict)
    status: str = ScoreStatus.OK  # a `ScoreStatus`, or one of the scorer's own
    details: Mapping[str, Any] = field(default_factory=dict)  # what the values rest on, as plain JSON values
    explanation: str | None = None  # in words, valid Unicode
    extracted: str | None = None


class Scorer(ABC):
    """A scorer; subclasses are frozen dataclasses whose fields are the options of `judge`.

    Attributes:
        metrics: the figures that it makes, the headline first.
    """

    __slots__ = ()

    asks: ClassVar[bool] = False  # whether a judge is asked; else the answer alone is read
    # Whether it holds an answer against the one of `judge.baseline`, asked with either of them first. Its headline is
    # then the share of a win: 1, a tie 0.5, a defeat 0.
    compares: ClassVar[bool] = False
    # Whether the `answer` that it reads is how likely each choice is, as `rows/choices.py` writes it, and no text.
    reads_likelihoods: ClassVar[bool] = False
    has_members: ClassVar[bool] = False  # whether it makes one score of those of `judge.members`, and reads none itself
    statuses: ClassVar[Mapping[str, str]] = {}  # its own reasons for no score -> in words, to stand after "12 replies"
    engine_kind: ClassVar[str | None] = None  # the kind of the engine that is asked; None: any that answers in words
    file_digest: ClassVar[str] = ""  # of the Python file that defines it, as it was loaded; empty where a package does
    asked_options: ClassVar[tuple[str, ...]] = ()  # the names of those options that shape `schema`
    # Options that came after the first stores: None, their default, is as if they were not there, so that ids stay.
    later_options: ClassVar[tuple[str, ...]] = ()

    @property
    def sampling(self) -> Sampling | None:
        """Sampling of a judge's replies where nothing else says; None: greedy."""
        return None

    @property
    def accept(self) -> AcceptRule | None:
        """Rule by which a judge is asked again; None: the first reply stands."""
        return None

    def prompt_names(self, subset: str | None) -> tuple[str, ...]:  # noqa: ARG002 - for those that have some
        """The names, the best first, under which a dataset's own prompts may have the one for the judge."""
        return ()

    @property
    def prompt_words(self) -> Mapping[str, str]:
        """Texts that follow from its options and that `judge.prompt` reads like a sample's own words."""
        return {}

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """The figures that it makes, the headline first."""

    def schema(self, sample: Sample) -> dict[str, Any] | None:  # noqa: ARG002 - for those that have one
        """JSON schema of a judge's reply about one sample; None: it is free text. Depends on `asked_options` alone.

        To return the same object for samples that are alike spares digesting it again.
        """
        return None

    def has_something_to_ask(self, sample: Sample) -> bool:  # noqa: ARG002
        """Whether an answer to the sample can be scored at all; if not, no judge is asked about it."""
        return True

    def outline(self, targets: Sequence[str]) -> Hashable | None:  # noqa: ARG002 - for those that have one
        """All that a score takes from a sample's targets, beside a judge's reply; None: it takes more than these.

        With an outline, a score follows from it and from the JSON object that the reply is, whose `explanation` it
        hands on unread (`judged/json_reply.py`). Replies that differ in their words alone are then read once, which
        takes a tenth of the time.
        """
        return None

    @abstractmethod
    def read(self, sample: Sample, answer: str, reply: str | None) -> Score:
        """The score of one answer.

        Args:
            sample: what was asked.
            answer: what the subject said.
            reply: what the judge said; None where none is asked.
        """

    def read_both(self, sample: Sample, replies: tuple[str, str]) -> Score:  # noqa: ARG002 - for those that compare
        """The score of one answer against the baseline's, of a scorer that `compares`.

        Args:
            sample: what was asked.
            replies: what the judge said where the answer stood first, and where the baseline's did.

        Raises:
            ScoreError: it compares nothing.
        """
        raise ScoreError(f"{type(self).__name__} compares no answers: give it a method read_both")
