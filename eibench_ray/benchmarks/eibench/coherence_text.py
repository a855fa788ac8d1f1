"""The coherence of a cell's answers, as tables and programs are told of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eibench_ray.benchmarks.eibench.coherence_scorer import CellCoherence


def format_coherence(cell: CellCoherence | None, gap: str) -> str:
    """The mean and, after a gap, its interval; a dash where there is none."""
    if cell is None or cell.coherence is None:
        return "-"
    return f"{cell.coherence:.3f}{gap}{cell.ci_low:.3f}-{cell.ci_high:.3f}"


def describe_coherence(measures: Sequence[str]) -> str:
    """Explains the coherence columns, with the names of what measured them."""
    return (
        f"coherence: mean cosine of adjacent sentences' embeddings ({', '.join(measures)}); measured: the answers of "
        f"two sentences or more"
    )


def coherence_to_json(cell: CellCoherence | None) -> dict[str, Any] | None:
    """The figures as plain values; `ci95` has the confidence of the whole row."""
    if cell is None:
        return None
    return {
        "measure": cell.measure,
        "coherence": cell.coherence,
        "ci95": None if cell.coherence is None else [cell.ci_low, cell.ci_high],
        "coverage": cell.coverage,
        "n": cell.n,
        "num_measured": cell.num_measured,
        "sentences": cell.sentences,
    }
