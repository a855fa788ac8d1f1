"""Figures of cells and of the sweep, handed to each tracker once per place, and the marks that say where they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from eibench_ray.config.tracking_section import TrackingConfig
from eibench_ray.plan.graph import Cell
from eibench_ray.report.leaderboard_files import name_figures, to_json_rows
from eibench_ray.report.leaderboard_row import LeaderboardRow
from eibench_ray.rows.digests import digest
from eibench_ray.runs.results import Results
from eibench_ray.runs.run_record import RunManifest
from eibench_ray.runs.tracked_facts import cell_facts, sweep_facts
from eibench_ray.runs.tracked_tables import comparison_tables, leaderboard_table, sample_table
from eibench_ray.scoring.cell_columns import MISSING
from eibench_ray.storage.atomic_files import parse_json
from eibench_ray.store.slice_store import Store
from eibench_ray.tracking.open_tracker import OpenTrackers
from eibench_ray.tracking.tracker import Delivery, Final, RunFacts, Target, TrackedTable, Tracker

PAGE = "report.html"  # the run's page, in its folder


class SweepTracking:
    """Tells trackers the figures that the places they send to do not have yet.

    Args:
        manifest: of the run whose cells are told.
        store: where the marks lie, one file per tracked run: a list of deliveries.
        config: what is told.
        kinds: the trackers by their names.
        trackers: those of them that are told, at work.
    """

    def __init__(
        self,
        manifest: RunManifest,
        store: Store,
        config: TrackingConfig,
        kinds: Mapping[str, Tracker],
        trackers: OpenTrackers,
    ) -> None:
        self._manifest = manifest
        self._plan = manifest.plan
        self._store = store
        self._config = config
        self._kinds = kinds
        self._trackers = trackers
        self._results = Results(manifest.plan, store)
        self._noting = threading.Lock()

    def find_reason(self, cell: Cell, row: LeaderboardRow, name: str, target: Target) -> str | None:
        """The reason to send a cell to a tracker's place; None where the place has its figures."""
        return self._find_reason(name, cell.key, self._fingerprint(row), target)

    def tell(self, cell: Cell, row: LeaderboardRow) -> None:
        """Hands over a whole cell's scores and samples, unless they are where a tracker sends."""
        if is_whole(row):
            self._tell(cell_facts(self._plan, cell, row), self._fingerprint(row), partial(self._cell_final, cell, row))

    def tell_sweep(self, rows: Sequence[LeaderboardRow], folder: Path) -> None:
        """Hands over the sweep's tables, blocked and failed cells included, its page and its data's address."""
        fingerprint = digest([to_json_rows(rows), self._config.page])
        self._tell(sweep_facts(self._plan), fingerprint, partial(self._sweep_final, rows, folder))

    def _tell(self, facts: RunFacts, fingerprint: str, make: Callable[[], Final]) -> None:
        final: Final | None = None  # made once, and only where somebody is told
        for name, tracker in self._trackers.items():
            target = tracker.target
            if target is None:
                tracker.finish(facts, Final({}), lambda _: None)
            elif self._find_reason(name, facts.key, fingerprint, target):
                final = final or make()
                tracker.finish(facts, final, partial(self._note, name, facts.key, fingerprint, target))

    def _cell_final(self, cell: Cell, row: LeaderboardRow) -> Final:
        table = sample_table(self._results, cell, self._config.samples, has_pictures=self._config.pictures)
        return Final(flat_scores(row), {"samples": table} if table else {})

    def _sweep_final(self, rows: Sequence[LeaderboardRow], folder: Path) -> Final:
        tables: dict[str, TrackedTable] = {"leaderboard": leaderboard_table(rows)}
        page = folder / PAGE
        return Final(
            scores={
                "cells": len(rows),
                "cells_blocked": sum(row.blocked is not None for row in rows),
                "cells_failed": sum(row.failed is not None for row in rows),
                "cells_partial": sum(row.is_partial for row in rows),
                "errors": sum(row.errors for row in rows),
            },
            tables=tables | comparison_tables(self._manifest, self._store),
            files=(page,) if self._config.page and page.is_file() else (),
            addresses={f"{step.name}-{step.id}": self._address(step.id) for step in self._plan.steps.values()},
        )

    def _address(self, step_id: str) -> str:
        """The URI of a step's folder of Parquet files."""
        name = self._store.storage.name(self._store.paths.step(step_id))
        return name if "://" in name else Path(name).as_uri()

    def _fingerprint(self, row: LeaderboardRow) -> str:
        return digest([flat_scores(row), self._config.samples, self._config.pictures])

    def _find_reason(self, name: str, key: str, fingerprint: str, target: Target) -> str | None:
        marks = self._read_marks(key)
        same = [mark for mark in marks if mark.get("figures") == fingerprint]
        there = [mark for mark in same if _is_at(mark, name, target)]
        if any(mark["mode"] == "online" or self._was_synced(name, mark) for mark in there):
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

    def _note(self, name: str, key: str, fingerprint: str, target: Target | None, delivery: Delivery) -> None:
        """Writes down where figures have arrived."""
        assert target is not None
        place = {"tracker": name, "server": target.server, "project": target.project}
        mark = {"figures": fingerprint, "at": time.time()} | place | asdict(delivery)
        with self._noting:  # each tracker notes from a thread of its own
            others = [known for known in self._read_marks(key) if not _is_same_place(known, mark)]
            self._store.storage.write_json(self._store.paths.tracked(key), {"deliveries": [*others, mark]})

    def _was_synced(self, name: str, mark: Mapping[str, Any]) -> bool:
        folder = mark.get("folder")
        return bool(folder) and self._kinds[name].was_synced(Path(str(folder)))


def describe_upload(config: TrackingConfig, kinds: Mapping[str, Tracker], trackers: OpenTrackers) -> list[str]:
    """A line for each tracker about what it is given, and by which keys less or more."""
    rows = f"{config.samples} samples of each cell with their texts" if config.samples else "no samples"
    pictures = "with" if config.pictures and config.samples else "without"
    page = "the run's page" if config.page else "not the run's page"
    return [
        f"tracking: {kinds[name].title} ({target}, {target.mode}) gets the configuration, figures and tables; {rows} "
        f"(tracking.samples), {pictures} pictures (tracking.pictures); {page} (tracking.page)"
        for name, tracker in trackers.items()
        if (target := tracker.target)
    ]


def _is_at(mark: Mapping[str, Any], name: str, target: Target) -> bool:
    """Whether a delivery went where a tracker sends; what lies offline can be sent to any server."""
    place = (mark.get("tracker"), mark.get("project"))
    return place == (name, target.project) and (mark.get("mode") == "offline" or mark.get("server") == target.server)


def is_whole(row: LeaderboardRow) -> bool:
    """Whether no row of a cell is missing, so that its figures are final."""
    return MISSING not in row.score.statuses


def _is_same_place(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    names = ("tracker", "mode", "server", "project")
    return all(one.get(name) == other.get(name) for name in names)


def flat_scores(row: LeaderboardRow) -> dict[str, float | int]:
    """The figures of a cell under one name each; those that do not exist are left out."""
    found = row.score.overall
    overall = found.figures
    figures: dict[str, float | None] = {
        row.score.metric.name: overall.pop("value"),
        **overall,
        "bound_low": found.bound_low,
        "bound_high": found.bound_high,
        "bound_ci_low": found.bound_ci_low,
        "bound_ci_high": found.bound_ci_high,
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
