"""A run's answers as EIBench's ground truth: numbered triggers, in the files that `prepare eibench` reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eibench_ray.benchmarks.eibench.triggers import find_numbered, number_triggers
from eibench_ray.errors import ConfigError, DataError
from eibench_ray.storage.atomic_files import replacing

if TYPE_CHECKING:
    from eibench_ray.benchmarks.benchmark import OpenedRun
    from eibench_ray.plan.graph import Cell
    from eibench_ray.rows.completion import Completion
    from eibench_ray.scoring.joined_row import JoinedRow

# Path of a picture, question, numbered triggers.
Label = tuple[str, str, str]


def write_ground_truth(run: OpenedRun, out: Path, chosen: Mapping[str, str | None]) -> dict[str, Any]:
    """Counts of what was written, and of what was left out and why.

    Where every picture has one question these are `user.jsonl` and `basic_ground_truth.json`, else `ec_complex.jsonl`.

    Args:
        run: the run.
        out: the folder to write.
        chosen: which of the run's answers: names of a model, a setting, a dataset; None leaves one open.

    Raises:
        ConfigError: the run has no such answers, or several.
        DataError: no answer has numbered triggers.
        StoreError: `out` cannot be written.
    """
    cell = _choose(run.plan.cells, chosen)
    left_out: Counter[str] = Counter()
    labels = list(_read_labels(run.cells.join(cell), left_out))
    if not labels:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise DataError(
            f"no answer of {cell.model} in setting {cell.setting} on {cell.dataset} is a label ({reasons}): take a "
            f"setting that asks for numbered triggers, such as cfsa, and a run that has come to its end"
        )
    if run.cells.dataset(cell.dataset).has_repeated_pictures(run.plan.datasets[cell.dataset].rows):
        _write_lines(out / "ec_complex.jsonl", ({path: {question: text}} for path, question, text in labels))
    else:
        _write_lines(out / "user.jsonl", ({path: question} for path, question, _ in labels))
        _write_references(out / "basic_ground_truth.json", {path: text for path, _, text in labels})
    return {"labelled": len(labels), "left_out": dict(left_out)}


def _choose(cells: Iterable[Cell], chosen: Mapping[str, str | None]) -> Cell:
    """The one cell that is meant; those that differ in the judge have the same answers."""
    left = list(cells)
    for name, wanted in chosen.items():
        there = dict.fromkeys(getattr(cell, name) for cell in left)
        if wanted is not None and wanted not in there:
            raise ConfigError(f"--{name} {wanted}: the run has no such {name} there; it has {', '.join(there)}")
        left = [cell for cell in left if wanted in (None, getattr(cell, name))]
    found = {name: list(dict.fromkeys(getattr(cell, name) for cell in left)) for name in chosen}
    if several := {name: names for name, names in found.items() if len(names) > 1}:
        listed = "; ".join(f"--{name} {' or '.join(names)}" for name, names in several.items())
        raise ConfigError(f"the run has several answers to the same questions, and a label is one: choose {listed}")
    return left[0]


def _read_labels(rows: Iterable[JoinedRow], left_out: Counter[str]) -> Iterable[Label]:
    for row in rows:
        sample, answer = row.sample, row.answer
        if answer is None:
            left_out["not asked yet"] += 1
        elif answer.text is None:
            left_out["without an answer"] += 1
        elif not (triggers := _find_triggers(answer)):
            left_out["without numbered triggers"] += 1
        elif not sample.media:  # EIBench knows a sample by its picture
            left_out["without a picture"] += 1
        else:
            yield sample.media[0].path, sample.inputs["question"], number_triggers(triggers)


def _find_triggers(answer: Completion) -> tuple[str, ...]:
    """The numbered triggers of an answer, but for the last one where its limit cut it off."""
    triggers = find_numbered(answer.text or "")
    return triggers[:-1] if answer.finish_reason == "length" else triggers


def _write_lines(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in objects)


def _write_references(path: Path, references: Mapping[str, str]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(references, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
