"""Every path of a store, in one place.

<root>/store.json
<root>/steps/<step id>/manifest.json
<root>/steps/<step id>/slice-000123.parquet
<root>/runs/<run id>.json
<root>/states/<run id>.json
<root>/leases/<run id>.json
<root>/tracked/<cell key>.json
<root>/batches/<engine key>/<batch>.json
<root>/speeds/<engine key>/<run id>.json
<root>/speeds/runs/<run id>.json
<root>/scores/<cell key>.columns
<root>/damaged/<step id>/slice-000123.parquet
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

SCORES_SUFFIX = ".columns"
_SLICE = re.compile(r"slice-(\d{6,})\.parquet")


@dataclass(frozen=True, slots=True)
class StorePaths:
    """The layout below a store's root, which is a folder, or a bucket with a prefix."""

    root: PurePath

    @property
    def version(self) -> PurePath:
        """The file that says of which version the store is."""
        return self.root / "store.json"

    @property
    def steps(self) -> PurePath:
        """The folder of the steps' folders."""
        return self.root / "steps"

    @property
    def runs(self) -> PurePath:
        """The folder of the runs' manifests."""
        return self.root / "runs"

    @property
    def leases(self) -> PurePath:
        """The folder of what runs lock while they run."""
        return self.root / "leases"

    def step(self, step_id: str) -> PurePath:
        """The folder of a step."""
        return self.steps / step_id

    def manifest(self, step_id: str) -> PurePath:
        """The manifest of a step."""
        return self.step(step_id) / "manifest.json"

    def slice(self, step_id: str, index: int) -> PurePath:
        """The Parquet file of a slice."""
        return self.root / f"steps/{step_id}/slice-{index:06d}.parquet"  # one join: each takes 5 us

    def run(self, run_id: str) -> PurePath:
        """The manifest of a run."""
        return self.runs / f"{run_id}.json"

    @property
    def states(self) -> PurePath:
        """The folder of where runs stand."""
        return self.root / "states"

    def state(self, run_id: str) -> PurePath:
        """Path of a run's state, also for those who do not see its folder."""
        return self.states / f"{run_id}.json"

    def lease(self, run_id: str) -> PurePath:
        """Path of a run's lease."""
        return self.leases / f"{run_id}.json"

    def tracked(self, cell_key: str) -> PurePath:
        """Path of the record of a cell's delivered figures."""
        return self.root / "tracked" / f"{cell_key}.json"

    @property
    def all_scores(self) -> PurePath:
        """The folder of what cells' scores were, so that nobody reads their rows again."""
        return self.root / "scores"

    def scores(self, cell_key: str) -> PurePath:
        """The file of a cell's scores."""
        return self.all_scores / f"{cell_key}{SCORES_SUFFIX}"

    def batches(self, engine_key: str) -> PurePath:
        """The folder of what an engine has sent to a batch endpoint."""
        return self.root / "batches" / engine_key

    def speeds(self, engine_key: str) -> PurePath:
        """The folder of what runs have measured of an engine."""
        return self.root / "speeds" / engine_key

    def damaged(self, step_id: str, name: str) -> PurePath:
        """Path to which a step's file goes that cannot be read."""
        return self.root / "damaged" / step_id / name


def slice_index(name: str) -> int | None:
    """The number of the slice that a file holds; None for another file."""
    found = _SLICE.fullmatch(name)
    return int(found[1]) if found else None
