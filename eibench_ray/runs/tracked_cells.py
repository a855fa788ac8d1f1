"""Cells' final figures, handed to the tracker once per place, and the marks in the store that say where they are."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from eibench_ray.config.tracking_section import TrackingConfig
from eibench_ray.plan.graph import Cell, Plan
from eibench_ray.report.leaderboard_files import name_figures
from eibench_ray.report.leaderboard_row import LeaderboardRow
from eibench_ray.rows.digests import digest
from eibench_ray.rows.sample import MetadataValue, TargetValue
from eibench_ray.runs.results import Results
from eibench_ray.runs.run_listeners import tracked_cell
from eibench_ray.scoring.cell_score import MISSING
from eibench_ray.storage.atomic_files import parse_json
from eibench_ray.store.slice_store import Store
from eibench_ray.tracking.tracker import Delivery, SampleRow, Target, TrackedCell
from eibench_ray.tracking.tracker_registry import find_tracker
from eibench_ray.tracking.tracking_queue import CellTracker


class CellTracking:
    """Tells a tracker the figures that the place it sends to does not have yet.

    Args:
        plan: whose cells.
        store: where the marks lie, one file per cell: a list of deliveries.
        config: what is told.
        tracker: who is told.
    """

    def __init__(self, plan: Plan, store: Store, config: TrackingConfig, tracker: CellTracker) -> None:
        self._plan = plan
        self._store = store
        self._config = config
        self._tracker = tracker
        self._kind = find_tracker(config)
        self._results = Results(plan, store)

    def find_reason(self, cell: Cell, row: LeaderboardRow, target: Target) -> str | None:
        """The reason to send a cell to a place; None where the place has its figures."""
        return self._find_reason(cell.key, self._fingerprint(row), target)

    def tell(self, cell: Cell, row: LeaderboardRow) -> None:
        """Hands over a whole cell's scores and samples, unless they are where the tracker sends."""
        fingerprint, target = self._fingerprint(row), self._tracker.target
        if is_whole(row) and (target is None or self._find_reason(cell.key, fingerprint, target)):
            samples = list(self._read_samples(cell)) if target else []
            note = partial(self._note, cell.key, fingerprint, target)
            self._tracker.finish(tracked_cell(self._plan, cell, row), flat_scores(row), samples, note)

    def tell_blocked(self) -> None:
        """Hands over which cells are blocked, and why: one tracked run of the sweep says it for all of them."""
        if not (blocked := {cell.name: cell.blocked for cell in self._plan.cells if cell.blocked}):
            return
        key = digest([self._plan.sweep, "blocked", blocked])
        target = self._tracker.target
        if target is None or self._find_reason(key, key, target):
            cell = TrackedCell(key, self._plan.sweep, "blocked", {"blocked": blocked}, 0)
            self._tracker.finish(cell, {"cells_blocked": len(blocked)}, [], partial(self._note, key, key, target))

    def _fingerprint(self, row: LeaderboardRow) -> str:
        return digest([flat_scores(row), self._config.num_samples])

    def _find_reason(self, key: str, fingerprint: str, target: Target) -> str | None:
        marks = self._read_marks(key)
        same = [mark for mark in marks if mark.get("figures") == fingerprint]
        there = [mark for mark in same if self._is_at(mark, target)]
        if any(mark["mode"] == "online" or self._was_synced(mark) for mark in there):
            return None
        folders = [mark["folder"] for mark in there if mark["folder"] and Path(mark["folder"]).is_dir()]
        if folders:
            return None if target.mode == "offline" else f"only offline, in {folders[-1]}"
        if there:
            return "its offline folder is gone"
        if same:
            return f"sent to another place ({Target('online', same[-1]['server'], same[-1]['project'])})"
        return "its figures changed since it was sent" if any("figures" in mark for mark in marks) else "never sent"

    def _read_marks(self, key: str) -> list[dict[str, Any]]:
        """The deliveries that the store knows of; a mark of an earlier version does not say where, and is none."""
        storage, path = self._store.storage, self._store.paths.tracked(key)
        content = storage.read(path)
        known = parse_json(content, storage.name(path)) if content is not None else {}
        marks = known.get("deliveries", []) if isinstance(known, dict) else []
        return [mark for mark in marks if isinstance(mark, dict)]

    def _note(self, key: str, fingerprint: str, target: Target | None, delivery: Delivery) -> None:
        """Writes down where a cell's figures have arrived."""
        assert target is not None
        place = {"tracker": self._config.kind, "server": target.server, "project": target.project}
        mark = {"figures": fingerprint, "at": time.time()} | place | asdict(delivery)
        others = [known for known in self._read_marks(key) if not _is_same_place(known, mark)]
        self._store.storage.write_json(self._store.paths.tracked(key), {"deliveries": [*others, mark]})

    def _is_at(self, mark: Mapping[str, Any], target: Target) -> bool:
        """Whether a delivery went where a tracker sends; what lies offline can be sent to any server."""
        place = (mark.get("tracker"), mark.get("project"))
        return place == (self._config.kind, target.project) and (
            mark.get("mode") == "offline" or mark.get("server") == target.server
        )

    def _was_synced(self, mark: Mapping[str, Any]) -> bool:
        folder = mark.get("folder")
        return self._kind is not None and bool(folder) and self._kind.was_synced(Path(str(folder)))

    def _read_samples(self, cell: Cell) -> Iterator[SampleRow]:
        shown = list(islice(self._results.join(cell), self._config.num_samples))
        wanted = [line.sample.sample_id for line in shown]
        dataset = self._results.dataset(cell.dataset)
        words = dict.fromkeys((*dataset.inputs, *dataset.metadata))
        images = dataset.images(0, len(shown), wanted)
        has_thinking = any(line.answer and line.answer.thinking for line in shown)
        for line in shown:
            yield SampleRow(
                line.sample.sample_id,
                {
                    **{word: _show(line.sample.read(word)) for word in words},
                    "target": "\n".join(line.sample.targets),
                    **({"thinking": line.answer.thinking if line.answer else None} if has_thinking else {}),
                    "answer": line.answer.text if line.answer else None,
                    "judge_reply": next((reply.text for reply in line.replies[:1] if reply), None),
                    line.metric: line.value,
                },
                images.get(line.sample.sample_id, ()),
            )


def _show(value: TargetValue | MetadataValue) -> str | float | None:
    return "\n".join(value) if isinstance(value, tuple) else value


def is_whole(row: LeaderboardRow) -> bool:
    """Whether no row of a cell is missing, so that its figures are final."""
    return MISSING not in row.score.statuses


def _is_same_place(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    names = ("tracker", "mode", "server", "project")
    return all(one.get(name) == other.get(name) for name in names)


def flat_scores(row: LeaderboardRow) -> dict[str, float | int]:
    """The figures of a cell under one name each; those that do not exist are left out."""
    overall = row.score.overall.figures
    figures: dict[str, float | None] = {
        row.score.metric.name: overall.pop("value"),
        **overall,
        "errors": row.errors,
        "refused": row.refused or None,
        "truncated": row.truncated,
        "empty": row.empty,
        "cut_while_thinking": row.cut_while_thinking or None,
        "calls_truncated": row.calls_truncated or None,
        "judge_truncated": row.judge_truncated,
        "judge_fallbacks": row.judge_fallbacks or None,
        "partial": int(row.is_partial),
        "cost_usd": row.cost_usd,
        "repeat_sd": row.score.noise.sd if row.score.noise else None,
        "model_sd": row.score.model_noise.sd if row.score.model_noise else None,
        "model_variance_share": row.score.model_noise.variance_share if row.score.model_noise else None,
    }
    for one in row.score.metrics[1:]:
        figures |= name_figures(one.metric.name, one.overall)
    for column, groups in row.score.groups.items():
        figures |= {f"{row.score.metric.name}/{column}/{name}": found.value for name, found in groups.items()}
    return {name: value for name, value in figures.items() if value is not None}
