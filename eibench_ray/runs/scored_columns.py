"""All that a cell's rows say in figures, as columns and counts: made from its rows, or found in the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eibench_ray.runs.cell_counts import CellCounts
from eibench_ray.runs.failed_cells import RowErrors
from eibench_ray.scoring.answer_repeats import repeat_figures
from eibench_ray.scoring.cell_columns import CellColumns, FigureColumn
from eibench_ray.scoring.judged.jury import JuryAgreement
from eibench_ray.scoring.repeat_noise import RepeatNoise
from eibench_ray.scoring.scorer import Metric
from eibench_ray.store.score_file import StoredScores

_WORDS = "words"


@dataclass(frozen=True, slots=True)
class ScoredColumns:
    """One cell's scores and counts.

    Attributes:
        words: (samples,) of the answer, the mean over its repeats; NaN where there is none.
        agreement: of the members of a jury; None where one judge scores.
    """

    columns: CellColumns
    counts: CellCounts
    words: NDArray[np.float64]
    agreement: JuryAgreement | None = None


def to_stored(scored: ScoredColumns) -> StoredScores:
    """The columns as the store keeps them."""
    found = scored.columns
    columns: dict[str, NDArray[Any]] = {_WORDS: scored.words}
    for number, figure in enumerate(found.figures):
        columns |= {f"values-{number}": figure.values, f"missing-{number}": figure.missing}
    counts = _fields_of(scored.counts)
    counts |= {"answers": _from_errors(counts["answers"]), "replies": list(map(_from_errors, counts["replies"]))}
    facts = {
        "figures": [[figure.metric.name, figure.repeats] for figure in found.figures],
        "statuses": found.statuses,
        "num_gaps": found.num_gaps,
        "noise": found.noise and asdict(found.noise),
        "model_noise": found.model_noise and asdict(found.model_noise),
        "counts": counts,
        "agreement": scored.agreement and asdict(scored.agreement),
    }
    return StoredScores(columns, facts)


def from_stored(stored: StoredScores, metrics: Sequence[Metric], num_answers: int) -> ScoredColumns:
    """The columns of a cell from those that the store kept.

    Args:
        stored: what it kept.
        metrics: of the cell's scorer, the headline first.
        num_answers: answers to each sample.

    Raises:
        ValueError, KeyError, TypeError: they are of another shape.
    """
    facts, columns = stored.facts, stored.columns
    known = [*metrics, *(figure.metric for figure in repeat_figures(metrics[0], num_answers))]
    figures = tuple(
        FigureColumn(metric, columns[f"values-{number}"], columns[f"missing-{number}"], repeats)
        for number, (metric, (_, repeats)) in enumerate(zip(known, facts["figures"], strict=True))
    )
    if [figure.metric.name for figure in figures] != [name for name, _ in facts["figures"]]:
        raise ValueError("its scorer has other metrics")
    counts = dict(facts["counts"])
    answers, replies = _to_errors(counts.pop("answers")), [_to_errors(one) for one in counts.pop("replies")]
    unscored = counts.pop("unscored")
    noise, model_noise = (RepeatNoise(**facts[name]) if facts[name] else None for name in ("noise", "model_noise"))
    return ScoredColumns(
        CellColumns(figures, facts["statuses"], facts["num_gaps"], noise, model_noise),
        CellCounts(answers, replies, unscored=unscored and tuple(unscored), **counts),
        columns[_WORDS],
        JuryAgreement(**facts["agreement"]) if facts["agreement"] else None,
    )


def _fields_of(record: CellCounts | RowErrors) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _from_errors(errors: RowErrors) -> dict[str, Any]:
    return _fields_of(errors) | {"reasons": [[*reason, count] for reason, count in errors.reasons.items()]}


def _to_errors(said: Mapping[str, Any]) -> RowErrors:
    reasons = Counter({(step, text): count for step, text, count in said["reasons"]})
    return RowErrors(**{**said, "reasons": reasons, "endings": Counter(said["endings"])})
