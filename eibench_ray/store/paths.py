"""Every path of a store, in one place.

<root>/steps/<step id>/manifest.json
<root>/steps/<step id>/slice-000123.parquet
<root>/runs/<run id>.json
<root>/tracked/<cell key>.json
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StorePaths:
    """The layout below a store's root."""

    root: Path

    def step(self, step_id: str) -> Path:
        """The folder of a step."""
        return self.root / "steps" / step_id

    def manifest(self, step_id: str) -> Path:
        """The manifest of a step."""
        return self.step(step_id) / "manifest.json"

    def slice(self, step_id: str, index: int) -> Path:
        """The Parquet file of a slice."""
        return self.step(step_id) / f"slice-{index:06d}.parquet"

    def slices(self, step_id: str) -> list[Path]:
        """The Parquet files of a step that are there, in the order of their slices."""
        return sorted(self.step(step_id).glob("slice-*.parquet"))

    def run(self, run_id: str) -> Path:
        """The manifest of a run."""
        return self.root / "runs" / f"{run_id}.json"

    def tracked(self, cell_key: str) -> Path:
        """Which figures of a cell its tracker has."""
        return self.root / "tracked" / f"{cell_key}.json"
