"""The head of the page as values: what was asked, with what, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class PageFact:
    """A figure of the head, with a word of explanation."""

    name: str
    text: str
    note: str = ""
    tone: Literal["", "warn", "bad"] = ""


@dataclass(frozen=True, slots=True)
class PageModel:
    """An engine of the sweep, as a row of the table of models."""

    name: str
    source: str  # where its weights, or its answers, come from
    revision: str
    engine: str  # kind, version and device, as far as the run has seen it
    licence: str


@dataclass(frozen=True, slots=True)
class PageRun:
    """One of the runs that the page shows."""

    letter: str  # empty where there is one
    id: str
    sweep: str
    state: str
    began: str
    folder: str
    versions: str  # of Python and packages; empty where the run has not noted them
    command: str  # that repeats it; empty where the run's folder does not say it


@dataclass(frozen=True, slots=True)
class PageHead:
    """The head of the page."""

    title: str
    asked: str  # cells, models, settings, datasets and judges in a line
    runs: Sequence[PageRun]
    facts: Sequence[PageFact]
    models: Sequence[PageModel]
    versions: str
    contents: str  # whose texts and pictures the page holds, so that nobody sends it on unaware
    blocked: Sequence[str]  # a line per reason
    failed: Sequence[str]
    troubles: Sequence[str]  # why a part of the page is missing
