"""Files that EIBench's scripts read: a run's answers and judgements; and how often each trigger is named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from json.encoder import encode_basestring as _quote  # what json.dumps calls, without what it does around it
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eibench_ray.benchmarks.eibench.trigger_counts import TriggerCounts
from eibench_ray.errors import ConfigError
from eibench_ray.report.cell_folders import CellFolders, names_of
from eibench_ray.scoring.answer_repeats import by_answer
from eibench_ray.storage.atomic_files import replacing
from eibench_ray.storage.path_names import path_names

if TYPE_CHECKING:
    from eibench_ray.benchmarks.benchmark import OpenedRun
    from eibench_ray.plan.graph import Cell
    from eibench_ray.scoring.joined_row import SaidRange


def write_script_files(run: OpenedRun, out: Path, chosen: Mapping[str, str | None]) -> dict[str, Any]:
    """Writes eibench/<cell>.{answers,judgements}.jsonl, and triggers/dataset=/judge=/triggers.parquet.

    The second where judges say which triggers are named.

    Args:
        run: the run.
        out: the folder to write.
        chosen: names of a model, a setting, a dataset; None: all.

    Raises:
        ConfigError: the run has no such cell.
        StoreError: `out` cannot be written.
    """
    cells = [cell for cell in run.plan.cells if all(name in (None, getattr(cell, key)) for key, name in chosen.items())]
    if not cells:
        raise ConfigError(
            "the run has no cell of that model, setting and dataset: `eibench-ray status` names its cells"
        )
    folders, stems = CellFolders(run.plan.cells), path_names(map(names_of, run.plan.cells))
    counts: dict[tuple[str, str], tuple[Cell, TriggerCounts]] = {}
    num_written = 0
    for cell in cells:
        is_counted = cell.scorer.options.get("verdict") == "triggers"
        said = run.cells.said(cell, has_scores=is_counted)
        if is_counted:
            said = counts.setdefault((cell.dataset, cell.judge), (cell, TriggerCounts()))[1].watch(said)
        if cell.blocked and not any(any(row.answers) for row in run.cells.join(cell)):
            for _ in said:
                pass
            continue  # to the published scripts, a file without texts would be a model without answers
        is_complex = run.cells.dataset(cell.dataset).has_repeated_pictures(run.plan.datasets[cell.dataset].rows)
        _write_jsonl(cell, said, out / "eibench" / stems[names_of(cell)], is_complex=is_complex)
        num_written += 1
    for (dataset, judge), (cell, counted) in counts.items():
        folder = folders.of(out / "triggers", cell, "dataset", "judge")
        counted.write(run.cells.tables(dataset), folder / "triggers.parquet", dataset=dataset, judge=judge)
    return {"cells": num_written, "triggers": len(counts)}


def _write_jsonl(cell: Cell, said: Iterable[SaidRange], stem: Path, *, is_complex: bool) -> None:
    """EIBench's own files: `{path: answer}` and `{path: reply}` per line, in the dataset's order.

    A judge's further repeats have files of their own: judgements.2.jsonl and so on; those of a setting, too, with the
    judgements about them: repeat2.answers.jsonl and so on.

    Its scripts for the complex subset pair lines with annotations by position: every row has its line there, an
    empty one where there is no text. For the basic subset they pair by path: rows without a text are left out.
    """
    further = [f"judgements.{repeat + 1}" for repeat in range(1, cell.judge_repeats)]
    kinds = ("answers", *(["judgements"] if cell.verdicts else []), *further)
    repeats = ("", *(f"repeat{number}." for number in range(2, len(cell.answers) + 1)))
    with ExitStack() as stack:
        files = []
        for kind in (f"{repeat}{kind}" for repeat in repeats for kind in kinds):
            draft = stack.enter_context(replacing(stem.with_name(f"{stem.name}.{kind}.jsonl")))
            files.append(stack.enter_context(draft.open("w", encoding="utf-8")))
        for part in said:
            names = (
                sample_id if path is None else path for path, sample_id in zip(part.paths, part.sample_ids, strict=True)
            )
            starts = [f"{{{_quote(name)}: " for name in names]
            judged = by_answer(part.replies, len(part.answers))
            columns = [
                column for answers, replies in zip(part.answers, judged, strict=True) for column in (answers, *replies)
            ]
            for column, file in zip(columns, files, strict=True):
                file.writelines(
                    f"{start}{_quote(text or '')}}}\n"
                    for start, text in zip(starts, column, strict=True)
                    if is_complex or text is not None
                )
