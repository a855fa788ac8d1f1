"""Composed jobs of a sweep, as Hydra hands them over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_omega_conf_dumper
from omegaconf.errors import InterpolationKeyError

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
        hydra = self._describe(run_folder)
        target = run_folder.absolute() / str(self.hydra.output_subdir)
        if self.master is not None:
            target /= self._subdir(hydra)
        target.mkdir(parents=True, exist_ok=True)
        _save(self.raw, target / "config.yaml")
        _save({"hydra": hydra}, target / "hydra.yaml")
        _save(list(self.overrides), target / "overrides.yaml")

    def _describe(self, run_folder: Path) -> dict[str, Any]:
        """Hydra's own node as this job's, as plain values."""
        hydra: dict[str, Any] = OmegaConf.to_container(self.hydra, enum_to_str=True)  # type: ignore[assignment]
        hydra["overrides"] |= {"task": list(self.overrides)}
        hydra["runtime"] |= {"choices": dict(self.choices), "output_dir": str(run_folder.absolute())}
        if self.master is None:
            hydra["run"] |= {"dir": str(run_folder)}
        else:
            hydra["job"] |= {"id": str(self.num), "num": self.num, "override_dirname": self._dirname()}
            hydra["sweep"] |= {"dir": str(run_folder)}
        return hydra

    def _subdir(self, hydra: Mapping[str, Any]) -> str:
        """The name of the job's folder, which any value of its configuration may be part of."""
        # Nearly always it is the job's number, and OmegaConf takes 50 ms for the whole.
        job = {"job": {"num": self.num, "id": str(self.num)}, "sweep": {"subdir": hydra["sweep"]["subdir"]}}
        with suppress(InterpolationKeyError):
            return str(OmegaConf.create({"hydra": job}).hydra.sweep.subdir)
        return str(OmegaConf.create({**self.raw, "hydra": hydra}).hydra.sweep.subdir)

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


class _Dumper(yaml.CSafeDumper):
    """Writes what OmegaConf's own dumper writes, in a tenth of the time."""


_Dumper.add_representer(str, get_omega_conf_dumper().str_representer)  # type: ignore[arg-type]


def _save(values: Any, path: Path) -> None:
    text = yaml.dump(values, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)
    path.write_text(text, encoding="utf-8")


class SweepTask(ABC):
    """A task function of Hydra's that takes all jobs of a sweep at once, too."""

    @abstractmethod
    def __call__(self, config: DictConfig) -> Any:
        """Hydra's own call, for a single job."""

    @abstractmethod
    def run(self, jobs: Sequence[HydraJob], folder: Path) -> Any:
        """All jobs of a sweep, as one plan."""
