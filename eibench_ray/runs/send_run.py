"""Sends a run's final figures to its tracker, from the store: what was offline, failed or never sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eibench_ray.config.schema import TrackingConfig
from eibench_ray.errors import ConfigError, StoreError
from eibench_ray.runs.find_run import FoundRun
from eibench_ray.runs.pinned_inputs import check_unchanged
from eibench_ray.runs.results import Results
from eibench_ray.runs.run_record import read_run
from eibench_ray.runs.tracked_cells import CellTracking, is_whole
from eibench_ray.tracking.tracker import TrackingReport, make_target, open_tracker


@dataclass(frozen=True, slots=True)
class Sending:
    """What was sent of a run, or would be.

    Attributes:
        place: the server and the project.
        reasons: cell name -> why it is to be sent.
        partial: names of cells that are not whole, which are not sent.
        num_there: cells whose figures the place has already.
        report: what was sent; None of a dry run.
    """

    place: str
    reasons: Mapping[str, str]
    partial: tuple[str, ...]
    num_there: int
    report: TrackingReport | None


def send_run(
    folder: Path, project: str | None, entity: str | None, *, is_dry: bool, say: Callable[[str], None]
) -> Sending:
    """Sends the run in a folder, as `send` does.

    Raises:
        StoreError: there is no run in the folder.
        DataError: figures made today are not the run's.
    """
    manifest, status, store = read_run(folder)
    return send(FoundRun(manifest, status, store, folder, has_folder=True), project, entity, is_dry=is_dry, say=say)


def send(
    found: FoundRun, project: str | None, entity: str | None, *, is_dry: bool, say: Callable[[str], None]
) -> Sending:
    """Sends, online, the cells of a run whose figures are not at the place.

    Args:
        found: the run.
        project: where to; None: as the run was configured.
        entity: a team or user; None: likewise.
        is_dry: only look.
        say: takes a line about what is waited for.

    Raises:
        ConfigError: it is not known where to, or there is no key.
        DataError: figures made today are not the run's.
        StoreError: the run's folder is gone, where W&B would keep its files.
    """
    manifest, store, folder = found.manifest, found.store, found.folder
    if not found.has_folder and not is_dry:
        raise StoreError(
            f"the folder of run {manifest.id}, {folder}, is gone, and W&B's files lie there: make it again"
        )
    check_unchanged(manifest, found.status, store, otherwise="")
    config = _choose(manifest.tracking, project, entity)
    target = make_target(config, "online", os.environ)
    reasons, partial, rows = {}, [], []
    tracker = open_tracker(config.model_copy(update={"kind": "none"}) if is_dry else config, folder, os.environ)
    report = None
    try:
        tracking = CellTracking(manifest.plan, store, config, tracker)
        results = Results(manifest.plan, store)
        for cell in manifest.plan.cells:
            row = results.score(cell, manifest.score)
            if not is_whole(row):
                partial.append(cell.name)
            elif reason := tracking.find_reason(cell, row, target):
                reasons[cell.name] = reason
                if not is_dry:
                    tracking.tell(cell, row)
            rows.append(row)
        if not is_dry:
            tracking.tell_blocked()
    finally:
        closed = tracker.close(config.deadline_s, say)
        report = None if is_dry else closed
    place = f"{target.server}, project {target.project}{f' of {target.entity}' if target.entity else ''}"
    return Sending(place, reasons, tuple(partial), len(rows) - len(partial) - len(reasons), report)


def _choose(known: TrackingConfig | None, project: str | None, entity: str | None) -> TrackingConfig:
    """The run's own configuration, online, with what is given in its place."""
    if (known is None or known.kind == "none") and project is None:
        raise ConfigError(
            "the run's record does not say where it is tracked (tracking=none, or an earlier version wrote it): "
            "add --project NAME, and --entity NAME for a team's"
        )
    config = known or TrackingConfig(name="wandb", kind="wandb")
    given = {name: value for name, value in (("project", project), ("entity", entity)) if value is not None}
    return config.model_copy(update={"kind": "wandb", "mode": "online", **given})
