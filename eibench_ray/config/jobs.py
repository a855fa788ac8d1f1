"""What Hydra hands over: the composed jobs of a sweep, each with its folder."""

from __future__ import annotations

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
        choices: the option that was chosen of each group, as Hydra notes it.
        hydra: Hydra's own node, as far as the jobs of a sweep share it.
        num: the job's number in its sweep.
        overrides: what the command line and the sweep changed.
    """

    raw: Mapping[str, Any]
    choices: Mapping[str, str | None]
    hydra: DictConfig
    num: int
    overrides: tuple[str, ...]

    def write(self, sweep_folder: Path) -> None:
        """Writes `config.yaml`, `hydra.yaml` and `overrides.yaml` where Hydra does: below `hydra.sweep.subdir`."""
        if self.hydra.output_subdir is None:
            return
        config = OmegaConf.create({**self.raw, "hydra": self.hydra})  # a copy: the jobs of a sweep share Hydra's node
        hydra = config.hydra
        with open_dict(hydra):
            hydra.job.id, hydra.job.num = str(self.num), self.num
            hydra.job.override_dirname = self._dirname()
            hydra.overrides.task = list(self.overrides)
            hydra.runtime.choices = dict(self.choices)
        folder = sweep_folder.absolute() / str(hydra.sweep.subdir)
        hydra.runtime.output_dir = str(folder)
        target = folder / str(hydra.output_subdir)
        target.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(OmegaConf.masked_copy(config, list(self.raw)), target / "config.yaml")
        OmegaConf.save(OmegaConf.create({"hydra": hydra}), target / "hydra.yaml")
        OmegaConf.save(OmegaConf.create(list(self.overrides)), target / "overrides.yaml")

    def _dirname(self) -> str:
        """The overrides as one name of a folder, in Hydra's style."""
        style = self.hydra.job.config.override_dirname
        shown = [item for item in self.overrides if item.lstrip("+~").partition("=")[0] not in style.exclude_keys]
        return str(style.item_sep).join(sorted(shown)).replace("=", str(style.kv_sep))


@runtime_checkable
class SweepTask(Protocol):
    """What the command gives to Hydra as its task function."""

    def __call__(self, config: DictConfig) -> Any:
        """Hydra's own call, for a single job."""

    def run(self, jobs: Sequence[Job], folder: Path) -> Any:
        """All jobs of a sweep, as one plan."""
