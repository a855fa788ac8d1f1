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

    def write(self, run_folder: Path, hydra: Mapping[str, Any], known: dict[str, str]) -> None:
        """Writes `config.yaml`, `hydra.yaml` and `overrides.yaml` as Hydra does: into `.hydra` of the run's folder.

        Those of a sweep's jobs lie in folders of their own there (`hydra.sweep.subdir`), as nothing else is a job's.

        Args:
            run_folder: of the run.
            hydra: Hydra's own node as plain values.
            known: sections of other jobs as YAML.
        """
        if self.hydra.output_subdir is None:
            return
        own = self._describe(run_folder, hydra)
        target = run_folder.absolute() / str(self.hydra.output_subdir)
        if self.master is not None:
            target /= self._subdir(own)
        target.mkdir(parents=True, exist_ok=True)
        _save(_to_yaml(self.raw, known), target / "config.yaml")
        _save(_to_yaml(own, known, "hydra"), target / "hydra.yaml")
        _save(_dump(list(self.overrides)), target / "overrides.yaml")

    def _describe(self, run_folder: Path, hydra: Mapping[str, Any]) -> dict[str, Any]:
        """Hydra's own node as this job's."""
        changes: dict[str, dict[str, Any]] = {
            "overrides": {"task": list(self.overrides)},
            "runtime": {"choices": dict(self.choices), "output_dir": str(run_folder.absolute())},
        }
        if self.master is None:
            changes["run"] = {"dir": str(run_folder)}
        else:
            changes["job"] = {"id": str(self.num), "num": self.num, "override_dirname": self._dirname()}
            changes["sweep"] = {"dir": str(run_folder)}
        return {**hydra, **{name: hydra[name] | change for name, change in changes.items()}}

    def _subdir(self, hydra: Mapping[str, Any]) -> str:
        """The name of the job's folder, which any value of its configuration may be part of."""
        if (subdir := hydra["sweep"]["subdir"]) == "${hydra.job.num}":  # as nearly always: OmegaConf takes 6 ms for it
            return str(self.num)
        # Often some of the job's facts are enough, and it takes 50 ms for the whole.
        job = {"job": {"num": self.num, "id": str(self.num)}, "sweep": {"subdir": subdir}}
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
    nodes: dict[int, dict[str, Any]] = {}  # by the node's identity: most jobs share one
    known: dict[str, str] = {}
    for job in jobs:
        if id(job.hydra) not in nodes:
            nodes[id(job.hydra)] = OmegaConf.to_container(job.hydra, enum_to_str=True)  # type: ignore[assignment]
        job.write(run_folder, nodes[id(job.hydra)], known)


class _Dumper(yaml.CSafeDumper):
    """Writes what OmegaConf's own dumper writes, in a tenth of the time."""


_Dumper.add_representer(str, get_omega_conf_dumper().str_representer)  # type: ignore[arg-type]


def _to_yaml(values: Mapping[str, Any], known: dict[str, str], parent: str | None = None) -> str:
    """The values as YAML, all under a key where they have a parent; sections that are equal in many jobs made once."""
    parts = []
    for key, value in values.items():
        said = repr((parent, key, value))
        if said not in known:
            text = _dump({key: value} if parent is None else {parent: {key: value}})
            known[said] = text if parent is None else text.partition("\n")[2]
        parts.append(known[said])
    return "".join([*([f"{parent}:\n"] if parent else []), *parts])


def _dump(values: Any) -> str:
    text: str = yaml.dump(values, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)
    return text


def _save(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


class SweepTask(ABC):
    """A task function of Hydra's that takes all jobs of a sweep at once, too."""

    @abstractmethod
    def __call__(self, config: DictConfig) -> Any:
        """Hydra's own call, for a single job."""

    @abstractmethod
    def run(self, jobs: Sequence[HydraJob], folder: Path) -> Any:
        """All jobs of a sweep, as one plan."""
