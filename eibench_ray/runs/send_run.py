"""Sends a run's final figures to its trackers, from the store: what was offline, failed or never sent."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import OmegaConf

from eibench_ray.config.load import validate
from eibench_ray.config.tracking_section import TRACKERS, TrackingConfig
from eibench_ray.errors import ConfigError, StoreError
from eibench_ray.runs.find_run import FoundRun
from eibench_ray.runs.pinned_inputs import check_unchanged
from eibench_ray.runs.results import Results
from eibench_ray.runs.tracked_cells import SweepTracking, is_whole
from eibench_ray.tracking.open_tracker import close_all
from eibench_ray.tracking.tracker import Tracker
from eibench_ray.tracking.tracker_registry import find_trackers, open_tracker
from eibench_ray.tracking.tracking_report import TrackingReport

# Keys of the section in records of earlier versions, where it named one tracker.
_RENAMED = {"num_samples": "samples"}


@dataclass(slots=True)
class SentTo:
    """Figures of a run that were sent to one tracker, or would be."""

    place: str  # the server and the project
    reasons: dict[str, str] = field(default_factory=dict)  # cell name -> why it is to be sent
    num_there: int = 0  # cells whose figures the place has already
    report: TrackingReport | None = None  # what was sent; None of a dry run


@dataclass(frozen=True, slots=True)
class Sending:
    """Figures of a run that were sent, or would be."""

    trackers: Mapping[str, SentTo]  # by name
    partial: tuple[str, ...]  # names of cells that are not whole, which are not sent


def choose_trackers(found: FoundRun, options: Mapping[str, Any]) -> tuple[TrackingConfig, dict[str, Tracker]]:
    """The section `tracking` of a run with some options in the place of its own, and its trackers, told to send now.

    Raises:
        ConfigError: it names no tracker, or one that cannot be used.
    """
    config = _choose(found.manifest.tracking, options)
    return config, {name: kind.online() for name, kind in find_trackers(config).items()}


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
    config, kinds = choose_trackers(found, options)
    targets = {name: kind.target(os.environ) for name, kind in kinds.items()}
    sent = {name: SentTo(str(target)) for name, target in targets.items()}
    partial, rows = [], []
    trackers = {} if is_dry else {name: open_tracker(kind, folder, os.environ) for name, kind in kinds.items()}
    try:
        tracking = SweepTracking(manifest, store, config, kinds, trackers)
        results = Results(manifest.plan, store)
        for cell in manifest.plan.cells:
            row = results.score(cell, manifest.score)
            rows.append(row)
            if not is_whole(row):
                partial.append(cell.name)
                continue
            for name, target in targets.items():
                if reason := tracking.find_reason(cell, row, name, target):
                    sent[name].reasons[cell.name] = reason
                else:
                    sent[name].num_there += 1
            tracking.tell(cell, row)
        tracking.tell_sweep(rows, folder)
    finally:
        for name, report in close_all(trackers, config.deadline_s, say).items():
            sent[name].report = report
    return Sending(sent, tuple(partial))


def read_options(given: Sequence[str]) -> dict[str, Any]:
    """Options as a command line gives them: `["wandb.project=mine", "samples=0"]`."""
    for option in given:
        if not re.fullmatch(r"[A-Za-z_][\w.]*=.*", option):
            raise ConfigError(f"--set {option}: write KEY=VALUE, e.g. --set wandb.project=NAME")
    options = OmegaConf.to_container(OmegaConf.from_dotlist(list(given)))
    assert isinstance(options, dict)
    return {str(key): value for key, value in options.items()}


def _choose(known: Mapping[str, Any] | None, options: Mapping[str, Any]) -> TrackingConfig:
    """The run's own configuration, with what is given in its place."""
    said = OmegaConf.to_container(OmegaConf.merge(_of_today(known or {}), dict(options)))
    assert isinstance(said, dict)
    config = validate({str(key): value for key, value in said.items()} | {"enabled": True}, TrackingConfig)
    if not config.trackers:
        raise ConfigError(
            f"the run's record does not say where it is tracked (tracking=none): add --set NAME.OPTION=VALUE of a "
            f"tracker ({', '.join(TRACKERS.names())}), e.g. --set wandb.project=NAME"
        )
    return config


def _of_today(known: Mapping[str, Any]) -> dict[str, Any]:
    """The section as this version has it; an earlier one named one tracker by `kind`, its options beside."""
    if "kind" not in known:
        return dict(known)
    own = {_RENAMED.get(key, key): value for key, value in known.items() if key not in ("name", "kind")}
    shared = {key: value for key, value in own.items() if key in TrackingConfig.model_fields}
    options = {key: value for key, value in own.items() if key not in shared}
    return shared if known["kind"] == "none" else {**shared, str(known["kind"]): options}
