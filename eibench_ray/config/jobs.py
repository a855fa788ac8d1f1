"""What Hydra hands over: the composed jobs of a sweep, each with its folder."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from omegaconf import DictConfig, OmegaConf, open_dict


@dataclass(frozen=True, slots=True)
class Job:
    """One Hydra job: one cell.

    Attributes:
        raw: the composed configuration as plain values, without Hydra's own node.
        hydra: Hydra's own node, as far as the jobs of a sweep share it.
        num: the job's number in its sweep.
        overrides: what the command line and the sweep changed.
        folder: the job's folder, where Hydra users expect it.
    """

    raw: Mapping[str, Any]
    hydra: DictConfig
    num: int
    overrides: tuple[str, ...]
    folder: Path

    def write(self) -> None:
        """Writes `.hydra/config.yaml`, `hydra.yaml` and `overrides.yaml` into the job's folder."""
        hydra = copy.deepcopy(self.hydra)
        with open_dict(hydra):
            hydra.job.id, hydra.job.num = str(self.num), self.num
            hydra.overrides.task = list(self.overrides)
            hydra.runtime.output_dir = str(self.folder.absolute())
            for key, _, value in (override.partition("=") for override in self.overrides):
                if key in hydra.runtime.choices:
                    hydra.runtime.choices[key] = value
        target = self.folder / ".hydra"
        target.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(OmegaConf.create(dict(self.raw)), target / "config.yaml")
        OmegaConf.save(OmegaConf.create({"hydra": hydra}), target / "hydra.yaml")
        OmegaConf.save(OmegaConf.create(list(self.overrides)), target / "overrides.yaml")


@runtime_checkable
class SweepTask(Protocol):
    """What the command gives to Hydra as its task function."""

    def __call__(self, config: DictConfig) -> Any:
        """Hydra's own call, for a single job."""

    def run(self, jobs: Sequence[Job], folder: Path) -> Any:
        """All jobs of a sweep, as one plan."""
