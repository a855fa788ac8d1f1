"""Choices whose likelihoods are compared: what is asked about a sample, and what follows from log probabilities. Pure.

>>> asked = AskedChoices(("Rome", "Paris"), by="sum")
>>> said = asked.compare([[-4.0], [-1.0, -0.5]])
>>> asked.likeliest(said), [one.logprob for one in said]
('Paris', [-4.0, -1.5])
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import fsum
from string import ascii_uppercase
from typing import Any, Literal

from eibench_ray.rows.sample import Sample

# By what choices are compared: the log probability of all their tokens, or its mean per token or per character.
CompareBy = Literal["sum", "token", "character"]


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Log probability of a choice as what follows a prompt."""

    text: str
    logprob: float  # natural, the sum over its tokens
    num_tokens: int

    def by(self, what: CompareBy) -> float:
        """The value by which it is compared with others."""
        return self.logprob / {"sum": 1, "token": self.num_tokens, "character": len(self.text)}[what]


@dataclass(frozen=True, slots=True)
class AskedChoices:
    """The choices that an engine is asked to compare, with a request.

    Attributes:
        prefix: what stands between the prompt and a choice; None: a blank, or nothing where the prompt ends in one.
    """

    texts: tuple[str, ...]
    prefix: str | None = None
    by: CompareBy = "sum"

    def compare(self, logprobs: Sequence[Sequence[float]]) -> list[Likelihood]:
        """The likelihood of each choice, from the log probabilities of its tokens."""
        return [Likelihood(text, fsum(one), len(one)) for text, one in zip(self.texts, logprobs, strict=True)]

    def likeliest(self, found: Sequence[Likelihood]) -> str:
        """The likeliest choice; of equal ones the first."""
        return max(found, key=lambda one: one.by(self.by)).text


@dataclass(frozen=True, slots=True)
class ChoiceRule:
    """The choices of a step's samples, and how they are compared.

    Attributes:
        column: the input or metadata that lists them.
        form: whether their texts are compared, or the letters that stand for them: A, B, ..
    """

    column: str = "choices"
    form: Literal["texts", "letters"] = "texts"
    prefix: str | None = None
    by: CompareBy = "sum"

    def read(self, sample: Sample) -> AskedChoices:
        """A sample's choices as they are asked.

        Raises:
            ValueError: it has no choices, or too many.
        """
        texts = read_choices(sample, self.column)
        if not texts or not all(text.strip() for text in texts):
            raise ValueError(f"its column {self.column!r} lists no choices with a text each: {texts!r}")
        if self.form == "letters":
            if len(texts) > len(ascii_uppercase):
                raise ValueError(f"its column {self.column!r} lists {len(texts)} choices, more than there are letters")
            texts = tuple(ascii_uppercase[: len(texts)])
        return AskedChoices(texts, self.prefix, self.by)


def read_choices(sample: Sample, column: str) -> tuple[str, ...]:
    """The choices of a sample: a list, or the lines of a text; empty where it has none."""
    value = sample.read(column)
    if isinstance(value, str):
        value = tuple(line.strip() for line in value.splitlines() if line.strip())
    return value if isinstance(value, tuple) else ()


def to_text(found: Sequence[Likelihood]) -> str:
    """Likelihoods as a row keeps them."""
    return json.dumps([asdict(one) for one in found], ensure_ascii=False)


def from_text(text: str) -> list[Likelihood]:
    """Likelihoods that a row has kept."""
    said: list[dict[str, Any]] = json.loads(text)
    return [Likelihood(**one) for one in said]
