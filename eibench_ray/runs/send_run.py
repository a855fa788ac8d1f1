"""Sends a run's final figures to its tracker, from the store: what was offline, failed or never sent."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from eibench_ray.config.load import validate
from eibench_ray.config.tracking_section import NONE, TRACKERS, TrackingConfig
from eibench_ray.errors import ConfigError, StoreError
from eibench_ray.runs.find_run import FoundRun
from eibench_ray.runs.pinned_inputs import check_unchanged
from eibench_ray.runs.results import Results
from eibench_ray.runs.tracked_cells import CellTracking, is_whole
from eibench_ray.tracking.tracker import TrackingReport
from eibench_ray.tracking.tracker_registry import find_tracker, open_tracker


@dataclass(frozen=True, slots=True)
class Sending:
    """Figures of a run that were sent, or would be."""

    place: str  # the server and the project
    reasons: Mapping[str, str]  # cell name -> why it is to be sent
    partial: tuple[str, ...]  # names of cells that are not whole, which are not sent
    num_there: int  # cells whose figures the place has already
    report: TrackingReport | None  # what was sent; None of a dry run


def send(found: FoundRun, options: Mapping[str, Any], *, is_dry: bool, say: Callable[[str], None]) -> Sending:
    """Sends, online, the cells of a run whose figures are not at the place.

    Args:
        found: the run.
        options: of the section `tracking`, in the place of what the run was configured with.
        is_dry: only look.
        say: takes a line about what is waited for.

    Raises:
        ConfigError: it is not known where to, or there is no key.
        DataError: figures made today are not the run's.
        StoreError: the run's folder is gone, where the tracker would keep its files.
    """
    manifest, store, folder = found.manifest, found.store, found.folder
    if not found.has_folder and not is_dry:
        raise StoreError(
            f"the folder of run {manifest.id}, {folder}, is gone, and the tracker's files lie there: make it again"
        )
    check_unchanged(manifest, found.status, store, otherwise="")
    config = _choose(manifest.tracking, options)
    kind = find_tracker(config)
    assert kind is not None
    kind = kind.online()
    target = kind.target(os.environ)
    reasons, partial, rows = {}, [], []
    tracker = open_tracker(None if is_dry else kind, folder, os.environ)
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
    return Sending(str(target), reasons, tuple(partial), len(rows) - len(partial) - len(reasons), report)


def read_options(given: Sequence[str]) -> dict[str, Any]:
    """Options as a command line gives them: `["project=mine", "entity=null"]`."""
    for option in given:
        if not re.fullmatch(r"[A-Za-z_]\w*=.*", option):
            raise ConfigError(f"--set {option}: write KEY=VALUE, e.g. --set project=NAME")
    options = OmegaConf.to_container(OmegaConf.from_dotlist(list(given)))
    assert isinstance(options, dict)
    return {str(key): value for key, value in options.items()}


def _choose(known: Mapping[str, Any] | None, options: Mapping[str, Any]) -> TrackingConfig:
    """The run's own configuration, with what is given in its place."""
    said = dict(known or {})
    section = said | dict(options)
    if section.get("kind", NONE) == NONE:
        raise ConfigError(
            f"the run's record does not say where it is tracked (tracking=none): add --set kind=NAME of a tracker "
            f"({', '.join(TRACKERS.names())}), and its options, e.g. --set project=NAME"
        )
    if section["kind"] != said.get("kind"):  # the options of another tracker say nothing of this one's
        own = {key: value for key, value in said.items() if key in TrackingConfig.model_fields}
        section = {**own, "name": section["kind"], **options}
    return validate(section, TrackingConfig)
