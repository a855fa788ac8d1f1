"""Tables for trackers: some samples of a cell, the leaderboard of a sweep, and what `compare` says of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from eibench_ray.errors import EibenchError
from eibench_ray.plan.graph import Cell
from eibench_ray.report.comparison_values import to_json
from eibench_ray.report.leaderboard_files import to_frame
from eibench_ray.report.leaderboard_row import LeaderboardRow
from eibench_ray.rows.sample import MetadataValue, TargetValue
from eibench_ray.runs.compare_run import compare_runs
from eibench_ray.runs.results import Results
from eibench_ray.runs.run_record import RunManifest
from eibench_ray.scoring.cell_comparison import SIDES
from eibench_ray.scoring.joined_row import JoinedRow
from eibench_ray.store.slice_store import Store
from eibench_ray.tracking.tracker import TrackedTable

log = logging.getLogger(__name__)

Shown = str | float | bool | bytes | None


def sample_table(results: Results, cell: Cell, num_samples: int, *, has_pictures: bool) -> TrackedTable | None:
    """The first samples of a cell with all that was said about them; None for no samples.

    A column for each answer, each reply of the judge, of a jury those of every member, and each picture.
    """
    lines = list(islice(results.join(cell), num_samples))
    if not lines:
        return None
    dataset = results.dataset(cell.dataset)
    words = dict.fromkeys((*dataset.inputs, *dataset.metadata))
    has_thinking = any(answer and answer.thinking for line in lines for answer in line.answers)
    rows: list[dict[str, Shown]] = []
    for line in lines:
        row: dict[str, Shown] = {"sample_id": line.sample.sample_id}
        row |= {word: _show(line.sample.read(word)) for word in words}
        row["target"] = "\n".join(line.sample.targets)
        rows.append(row | _said(cell, line, has_thinking=has_thinking) | {line.metric: line.value})
    if has_pictures:
        images = dataset.images(0, len(lines), [line.sample.sample_id for line in lines])
        for row, line in zip(rows, lines, strict=True):
            shown = images.get(line.sample.sample_id, ())
            row |= {f"image {number}" if number > 1 else "image": image for number, image in enumerate(shown, 1)}
    return to_table(rows)


def _said(cell: Cell, line: JoinedRow, *, has_thinking: bool) -> dict[str, Shown]:
    """The answers to a sample, and the judge's replies to each."""
    said: dict[str, Shown] = {}
    for number, one in enumerate(line.by_answer, 1):
        again = f" {number}" if number > 1 else ""
        if has_thinking:
            said[f"thinking{again}"] = one.answer.thinking if one.answer else None
        said[f"answer{again}"] = one.answer.text if one.answer else None
        of_answer = f" to answer {number}" if number > 1 else ""
        if cell.baseline:
            said[f"baseline_answer{again}"] = one.compared.text if one.compared else None
        for (judge, repeat), order, reply in zip(cell.seats, cell.orders, one.replies, strict=True):
            by, times = f" of {judge}" if cell.jurors else "", f" {repeat + 1}" if repeat else ""
            which = f" ({order})" if order else ""
            said[f"judge_reply{by}{times}{of_answer}{which}"] = reply.text if reply else None
        if not cell.seats:
            said["judge_reply"] = None
    return said


def _show(value: TargetValue | MetadataValue) -> str | float | None:
    return "\n".join(value) if isinstance(value, tuple) else value


def leaderboard_table(rows: Sequence[LeaderboardRow]) -> TrackedTable:
    """The leaderboard with its intervals and widened bounds, without the columns that no row fills."""
    frame = to_frame(rows)
    kept = [column for column in frame.columns if frame[column].null_count() < frame.height]
    return TrackedTable(tuple(kept), frame.select(kept).rows())


def comparison_tables(manifest: RunManifest, store: Store) -> dict[str, TrackedTable]:
    """The comparisons of a run as `compare` makes them, a table for each of its parts that has a line."""
    try:
        found = to_json(compare_runs([(manifest, store)], SIDES))
    except EibenchError as error:
        log.warning("the trackers are told no comparison: %s", error)
        return {}
    parts = {"compare" if name == "pairs" else f"compare_{name}": lines for name, lines in found.items()}
    return {
        name: to_table([_flat(line) for line in lines])
        for name, lines in parts.items()
        if isinstance(lines, list) and lines
    }


def _flat(line: Mapping[str, Any]) -> dict[str, Shown]:
    """A line with its intervals as two columns, and its lists as texts."""
    flat: dict[str, Shown] = {}
    for name, value in line.items():
        if name.endswith("interval"):
            flat[f"{name}_low"], flat[f"{name}_high"] = value or (None, None)
        else:
            flat[name] = ", ".join(map(str, value)) if isinstance(value, list) else value
    return flat


def to_table(rows: Sequence[Mapping[str, Shown]]) -> TrackedTable:
    """The rows below all of their columns."""
    columns = tuple(dict.fromkeys(column for row in rows for column in row))
    return TrackedTable(columns, [[row.get(column) for column in columns] for row in rows])
