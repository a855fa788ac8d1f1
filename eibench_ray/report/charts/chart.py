"""A picture of the page as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture of figures, as the page shows it.

    Attributes:
        name: a word, unique in a page: the picture's address in it.
        title: its heading.
        text: the same in words, for screen readers and print.
        spec: Vega-Lite with its data inline, as wide as its container; text and axes are drawn in `currentColor`.
    """

    name: str
    title: str
    text: str
    spec: Mapping[str, Any]
