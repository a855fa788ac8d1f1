"""Composed jobs of a sweep, as Hydra hands them over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

MULTIRUN_FILE = "multirun.yaml"


@dataclass(frozen=True, slots=True)
class HydraJob:
    """One Hydra job: one cell."""

    raw: Mapping[str, Any]  # the composed configuration as plain values, without Hydra's own node
    choices: Mapping[str, str | None]  # the option that was chosen of each group, as Hydra notes it
    hydra: DictConfig  # Hydra's own node, as far as the jobs of a sweep share it
    num: int  # the job's number in its sweep
    overrides: tuple[str, ...]  # what the command line and the sweep changed
    master: DictConfig | None = None  # what Hydra composed for the whole sweep; None for a single job

    def write(self, run_folder: Path) -> None:
        """Writes `config.yaml`, `hydra.yaml` and `overrides.yaml` as Hydra does: into `.hydra` of the run's folder.

        Those of a sweep's jobs lie in folders of their own there (`hydra.sweep.subdir`), as nothing else is a job's.
        """
        if self.hydra.output_subdir is None:
            return
        config = OmegaConf.create({**self.raw, "hydra": self.hydra})  # a copy: the jobs of a sweep share Hydra's node
        hydra = config.hydra
        target = run_folder.absolute() / str(hydra.output_subdir)
        with read_write(hydra), open_dict(hydra):
            hydra.overrides.task = list(self.overrides)
            hydra.runtime.choices = dict(self.choices)
            hydra.runtime.output_dir = str(run_folder.absolute())
            if self.master is None:
                hydra.run.dir = str(run_folder)
            else:
                hydra.job.id, hydra.job.num = str(self.num), self.num
                hydra.job.override_dirname = self._dirname()
                hydra.sweep.dir = str(run_folder)
                target /= str(hydra.sweep.subdir)
        target.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(OmegaConf.masked_copy(config, list(self.raw)), target / "config.yaml")
        OmegaConf.save(OmegaConf.create({"hydra": hydra}), target / "hydra.yaml")
        OmegaConf.save(OmegaConf.create(list(self.overrides)), target / "overrides.yaml")

    def _dirname(self) -> str:
        """The overrides as one name of a folder, in Hydra's style."""
        style = self.hydra.job.config.override_dirname
        shown = [item for item in self.overrides if item.lstrip("+~").partition("=")[0] not in style.exclude_keys]
        return str(style.item_sep).join(sorted(shown)).replace("=", str(style.kv_sep))


def write_jobs(jobs: Sequence[HydraJob], run_folder: Path) -> None:
    """Writes what Hydra writes into the folder of a run: `multirun.yaml` for a sweep, and each job's configuration."""
    if (master := jobs[0].master) is not None:
        OmegaConf.save(master, run_folder / MULTIRUN_FILE)
    for job in jobs:
        job.write(run_folder)


class SweepTask(ABC):
    """A task function of Hydra's that takes all jobs of a sweep at once, too."""

    @abstractmethod
    def __call__(self, config: DictConfig) -> Any:
        """Hydra's own call, for a single job."""

    @abstractmethod
    def run(self, jobs: Sequence[HydraJob], folder: Path) -> Any:
        """All jobs of a sweep, as one plan."""
