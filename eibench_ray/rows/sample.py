"""Samples: the items of a benchmark, as prompts, scorers and reports read them.

>>> sample = Sample("gsm8k/1", {"question": "What is 6 * 7?"}, target=42, metadata={"topic": "products"})
>>> sample.read("question"), sample.read("topic"), sample.read("target"), sample.targets
('What is 6 * 7?', 'products', 42, ('42',))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# The words under which prompts read what a scorer compares with: as it is, and always as a list of texts.
TARGET, TARGETS = "target", "targets"
TARGET_WORDS = frozenset({TARGET, TARGETS})
# Under which they say where a picture stands: `{{ image(1) }}`, or all of them in a loop.
IMAGE_WORDS = frozenset({"image", "images"})

# Under which they read the examples of a few-shot prompt.
EXAMPLES = "examples"

TargetValue = str | int | float | tuple[str, ...] | None
# A plain column of a dataset. Samples can be grouped by all but lists.
MetadataValue = str | int | float | bool | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Media:
    """One picture of a sample, without its bytes."""

    path: str  # as the source names it; of bytes without a path, their digest
    digest: str = ""  # of the bytes
    kind: Literal["image"] = "image"


@dataclass(frozen=True, slots=True)
class Sample:
    """One benchmark item.

    Attributes:
        inputs: named texts that prompts read; one that the sample lacks is left out.
        target: what a scorer compares with: a text, a list of texts, a choice, a number; None: there is none.
        metadata: further columns, to group by and for prompts to read.
    """

    sample_id: str  # unique in its dataset and stable over re-preparation
    inputs: Mapping[str, str] = field(default_factory=dict)
    media: tuple[Media, ...] = ()  # its pictures, in order
    target: TargetValue = None
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)

    @property
    def targets(self) -> tuple[str, ...]:
        """The target as a list of texts: of one, unless it is a list already; empty where there is none."""
        return to_targets(self.target)

    def read(self, word: str) -> TargetValue | MetadataValue:
        """The value that a prompt reads under a word: the target, an input, or metadata; None where it has none."""
        if word in TARGET_WORDS:
            return self.target if word == TARGET else self.targets
        return self.inputs[word] if word in self.inputs else self.metadata.get(word)


def to_targets(target: TargetValue) -> tuple[str, ...]:
    """A target as a list of texts."""
    if isinstance(target, tuple):
        return target
    return () if target is None else (str(target),)
