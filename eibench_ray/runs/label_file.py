"""People's labels of answers: a file with a line per label, and the answers that they are about.

id,model,label
faces/7,llava_next_7b,1
faces/8,llava_next_7b,0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from pathlib import Path
from typing import Any

from eibench_ray.datasets.text_tables import read_jsonl
from eibench_ray.errors import ConfigError, DataError
from eibench_ray.plan.graph import Cell
from eibench_ray.scoring.calibration import LabelCounts
from eibench_ray.scoring.scorer import Metric

_OPTIONAL = ("dataset", "model", "setting", "metric")
_TRUTHS = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, slots=True)
class Answer:
    """A labelled answer; None for a name that the file does not say."""

    sample_id: str
    dataset: str | None
    model: str | None
    setting: str | None
    metric: str | None  # name of the metric in whose values the label is


class Labels:
    """The labels of a file, looked up answer by answer.

    Args:
        path: of the file.
        known: by answer, the label and where it stands.
        num_empty: lines without a label.
    """

    def __init__(self, path: Path, known: Mapping[Answer, tuple[float, str]], num_empty: int = 0) -> None:
        self._path = path
        self._known = dict(known)
        self._num_empty = num_empty
        self._left = set(known)

    def bind(self, cells: Sequence[tuple[Cell, Metric]]) -> None:
        """Fills in the names that the file leaves out and of which the cells have one only.

        Raises:
            ConfigError: the cells have several, or two labels are of one answer.
        """
        has = {name: list(dict.fromkeys(getattr(cell, name) for cell, _ in cells)) for name in _OPTIONAL[:-1]}
        has["metric"] = list(dict.fromkeys(metric.name for _, metric in cells))
        bound: dict[Answer, tuple[float, str]] = {}
        for answer, (value, where) in self._known.items():
            lacking = [name for name in _OPTIONAL if getattr(answer, name) is None]
            if open_ := [name for name in lacking if len(has[name]) > 1]:
                raise ConfigError(
                    f"{where} does not say of which {open_[0]} the label is, and there are "
                    f"{', '.join(has[open_[0]])}: add a column {open_[0]!r}"
                )
            whole = replace(answer, **{name: has[name][0] for name in lacking})
            if whole in bound:
                raise ConfigError(
                    f"{where} labels an answer that {bound[whole][1]} labels, too: keep one of them, or their mean"
                )
            bound[whole] = value, where
        self._known, self._left = bound, set(bound)

    def find(self, cell: Cell, metric: Metric, sample_id: str) -> float:
        """The label of a cell's answer, in the values of a metric; NaN where there is none.

        Raises:
            ConfigError: it is no value of the metric, or the setting repeats.
        """
        answer = Answer(sample_id, cell.dataset, cell.model, cell.setting, metric.name)
        if answer not in self._known:
            return nan
        self._left.discard(answer)
        value, where = self._known[answer]
        if len(cell.answers) > 1:
            raise ConfigError(
                f"{where}: setting {cell.setting!r} has {len(cell.answers)} answers to each sample, and a label is of "
                f"one: label a run with setting.repeats=1"
            )
        if (metric.low is not None and value < metric.low) or (metric.high is not None and value > metric.high):
            raise ConfigError(
                f"{where}: {value:g} is no value of {metric.name}, which goes from {metric.low} to {metric.high}: give "
                f"labels in the judge's own unit"
            )
        return value

    def count(self) -> LabelCounts:
        """The counts, once all answers were looked up.

        Raises:
            ConfigError: no label is of any answer.
        """
        left = [(answer, where) for answer, (_, where) in self._known.items() if answer in self._left]
        first = None
        if left:
            answer, where = left[0]
            names = "/".join(filter(None, (answer.model, answer.setting, answer.dataset, answer.metric)))
            first = f"{where}, sample {answer.sample_id!r} of {names}"
        if len(left) == len(self._known):
            raise ConfigError(f"none of the {len(left):,} labels is of an answer of these runs; the first: {first}")
        return LabelCounts(str(self._path), len(self._known), self._num_empty, len(left), first)


def read_labels(path: Path) -> Labels:
    """The labels of a file: JSONL, CSV or TSV, with the columns `id` and `label`.

    `dataset`, `model`, `setting` and `metric` are read where they are there, other columns are not. A label is a
    number, true or false; a line without one is counted.

    Raises:
        DataError: the file cannot be read, a line is no label, or labels an answer again.
    """
    if not path.is_file():
        raise DataError(f"{path} is no file: name one with a label per line, as JSONL or CSV")
    known: dict[Answer, tuple[float, str]] = {}
    num_empty = 0
    for where, row in read_jsonl(path).rows:
        if row is None:
            raise DataError(f"{where}: cannot be read as a label; write an object, or a row of CSV, per label")
        sample_id, label = row.get("id"), row.get("label")
        if sample_id is None:
            raise DataError(f"{where} has no 'id': write the sample's id into the column 'id', its label into 'label'")
        if label is None or label == "":
            num_empty += 1
            continue
        names = {name: None if row.get(name) is None else str(row[name]) for name in _OPTIONAL}
        answer = Answer(str(sample_id), **names)
        if answer in known:
            raise DataError(f"{where} labels an answer that {known[answer][1]} labels, too: keep one, or their mean")
        known[answer] = _read_value(label, where), where
    if not known:
        raise DataError(f"{path} has no label: write one per line, with the columns 'id' and 'label'")
    return Labels(path, known, num_empty)


def _read_value(label: Any, where: str) -> float:
    text = str(label).strip().lower()
    try:
        value = _TRUTHS[text] if text in _TRUTHS else float(text)
    except ValueError:
        value = nan
    if not isfinite(value):
        raise DataError(f"{where}: the label {label!r} is neither a number nor true or false")
    return value
