"""A benchmark's sample, as it travels through a sweep."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One benchmark item, without its picture's bytes.

    Attributes:
        sample_id: unique in its dataset and stable over re-preparation.
        image_path: the picture's path as its source names it (EIBench's key); None for a text-only sample.
        image_digest: digest of the picture's bytes; None where there is none.
        reference: the reference triggers as one text, as the source writes them.
        caption: a caption that came with the dataset, if any.
        source: where the sample is from, e.g. "CAER-S".
    """

    sample_id: str
    question: str
    emotion: str
    reference: str
    triggers: tuple[str, ...]
    image_path: str | None = None
    image_digest: str | None = None
    caption: str | None = None
    source: str = ""
