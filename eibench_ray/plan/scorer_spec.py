"""Which scorer a cell has, as the plan keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ScorerSpec:
    """A scorer by its name and options.

    Attributes:
        kind: its name, as `judge.kind` has it.
        options: as plain JSON values.
        file: the Python file that defines it, which every node has to see; None: a package does.
    """

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = None
