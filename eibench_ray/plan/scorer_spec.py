"""Scorer of a cell, as the plan keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ScorerSpec:
    """A scorer by its name and options."""

    kind: str  # its name, as `judge.kind` has it
    options: Mapping[str, Any] = field(default_factory=dict)  # as plain JSON values
    file: str | None = None  # the Python file that defines it, which every node has to see; None: a package does
