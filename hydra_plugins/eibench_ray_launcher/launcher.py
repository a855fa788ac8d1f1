"""The launcher behind `-m`: one plan for all jobs, instead of one run per job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from eibench_ray.config.compose import compose_jobs
from eibench_ray.config.hydra_composer import Composer
from eibench_ray.config.hydra_jobs import HydraJob, SweepTask
from eibench_ray.errors import ConfigError


@dataclass
class PlanLauncherConf:
    """Hydra's structured config of the launcher."""

    _target_: str = "hydra_plugins.eibench_ray_launcher.launcher.PlanLauncher"


ConfigStore.instance().store(group="hydra/launcher", name="eibench_ray", node=PlanLauncherConf, provider="eibench_ray")


class PlanLauncher(Launcher):
    """Composes all jobs, then calls the task once with all of them."""

    def __init__(self) -> None:
        self._config: DictConfig | None = None
        self._context: HydraContext | None = None
        self._task: TaskFunction | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keeps what `launch` needs; Hydra calls it once per sweep."""
        self._config, self._context, self._task = config, hydra_context, task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs all jobs as one plan, and returns the outcome of each.

        Raises:
            ConfigError: the launcher was given to another application.
        """
        assert self._config is not None
        assert self._context is not None
        if not isinstance(self._task, SweepTask):
            raise ConfigError("hydra/launcher=eibench_ray runs the sweeps of the command eibench-ray only")
        setup_globals()
        config, loader = self._config, self._context.config_loader
        assert isinstance(loader, ConfigLoaderImpl)
        composed = compose_jobs(job_overrides, Composer(loader, config))
        jobs = [
            HydraJob(result.raw, result.choices, result.hydra, num, tuple(overrides), config)
            for num, (result, overrides) in enumerate(zip(composed, job_overrides, strict=True), initial_job_idx)
        ]
        outcome = self._task.run(jobs, Path(str(config.hydra.sweep.dir)))
        return [_to_return(job, outcome) for job in jobs]


def _to_return(job: HydraJob, outcome: object) -> JobReturn:
    returned = JobReturn(overrides=list(job.overrides), hydra_cfg=job.hydra, status=JobStatus.COMPLETED)
    returned.return_value = outcome
    return returned
