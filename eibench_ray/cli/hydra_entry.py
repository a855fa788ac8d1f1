"""Hydra, called with the arguments of `run`, `plan` and the like: its whole command line, our errors."""

from __future__ import annotations

import contextlib
import os
import tempfile
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hydra import version
from hydra._internal import hydra as hydra_of_hydra
from hydra._internal.utils import _run_hydra, get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, env_override
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from eibench_ray.config.hydra_composer import HYDRA, to_sections
from eibench_ray.config.hydra_errors import HYDRA_ERRORS, UNNAMED_ERRORS, explain
from eibench_ray.config.hydra_jobs import HydraJob, SweepTask
from eibench_ray.config.option_files import own_loader
from eibench_ray.config.options_folder import config_folder
from eibench_ray.config.overrides import defer_to_jobs, spread_lists
from eibench_ray.config.schema import RunConfig
from eibench_ray.config.section import Frozen
from eibench_ray.errors import ConfigError, EibenchError
from eibench_ray.storage.scratch_folders import private_folder

RunJobs = Callable[[Sequence[HydraJob], Path], Any]
SHOWN_ERRORS: tuple[type[Exception], ...] = (EibenchError, *HYDRA_ERRORS)


def _job_of_call(config: DictConfig) -> HydraJob:
    """The job of Hydra's plain run, for which it calls the task function itself."""
    hydra = OmegaConf.create({"hydra": HydraConfig.get()}).hydra
    sections = to_sections(config, dict(hydra.runtime.choices))
    return HydraJob(sections.raw, sections.choices, hydra, 0, tuple(hydra.overrides.task))


def call_hydra(
    run: RunJobs,
    arguments: Sequence[str],
    *,
    leaves_traces: bool,
    config_name: str = "config",
    schema: type[Frozen] = RunConfig,
) -> None:
    """Composes what the arguments say and calls `run` with it; `--cfg` and `--info` print and call nothing.

    Args:
        run: called once, with one job or with all of them, and the run's folder.
        arguments: Hydra's command line: overrides, -m, --config-dir, --cfg, ...
        leaves_traces: whether `hydra.run.dir` and `hydra.sweep.dir` are for `run` to make and to fill.
        config_name: the main option file.
        schema: the keys that it and its groups have.

    Raises:
        ConfigError: an unknown option, or a configuration that cannot be composed.
    """
    version.setbase("1.3")
    parser = get_args_parser()
    parsed = _parse(parser, arguments)
    task = _Task(run)
    with contextlib.ExitStack() as stack:
        stack.enter_context(env_override({"HYDRA_FULL_ERROR": "1"}))  # raise what went wrong, print and exit not
        stack.enter_context(own_loader())
        stack.enter_context(_without_folders())
        if not leaves_traces and parsed.cfg is None and parsed.info is None:
            scratch = stack.enter_context(private_folder(Path(tempfile.gettempdir())))
            parsed.overrides += [f"hydra.run.dir={scratch}", f"hydra.sweep.dir={scratch}", "hydra.output_subdir=null"]
        try:
            parsed.overrides, has_lists = spread_lists(parsed.overrides)
            parsed.multirun |= has_lists
            if parsed.multirun and (parsed.cfg or parsed.info):
                raise ConfigError("--cfg and --info print one configuration and run nothing: leave out -m, and lists")
            parsed.overrides = defer_to_jobs(parsed.overrides)
            _run_hydra(parsed, parser, task, config_path=str(config_folder()), config_name=config_name)
            if task.error:
                raise task.error
        except HYDRA_ERRORS as error:
            raise explain(error, schema) from error
        except UNNAMED_ERRORS as error:
            if task.has_begun:
                raise
            raise explain(error, schema) from error


@contextlib.contextmanager
def _without_folders() -> Iterator[None]:
    """Keeps Hydra from making a folder before the task is sure to begin, and from writing into one that is taken."""
    with patch.object(hydra_of_hydra, "run_job", _run_job):
        yield


def _run_job(
    task_function: TaskFunction,
    config: DictConfig,
    job_dir_key: str,
    job_subdir_key: str | None,  # noqa: ARG001 - Hydra's own words
    hydra_context: HydraContext,
    configure_logging: bool = True,  # noqa: ARG001
) -> JobReturn:
    """Hydra's `run_job` of a single job, without its folder and its files."""
    HydraConfig.instance().set_config(config)
    with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = os.path.abspath(str(OmegaConf.select(config, job_dir_key)))  # noqa: PTH100
    HydraConfig.instance().set_config(config)
    job = OmegaConf.masked_copy(config, [str(key) for key in config if key != HYDRA])
    returned = JobReturn(cfg=job, hydra_cfg=config)
    with env_override(config.hydra.job.env_set):
        hydra_context.callbacks.on_job_start(config=config, task_function=task_function)
        returned.return_value, returned.status = task_function(job), JobStatus.COMPLETED
    hydra_context.callbacks.on_job_end(config=config, job_return=returned)
    return returned


class _Task(SweepTask):
    """Hydra's task function. Its error for the user waits until Hydra is through, which would print a line itself."""

    def __init__(self, run: RunJobs) -> None:
        self._run = run
        self.has_begun = False
        self.error: Exception | None = None

    def __call__(self, config: DictConfig) -> Any:
        try:
            job = _job_of_call(config)
            return self.run([job], Path(job.hydra.runtime.output_dir))
        except SHOWN_ERRORS as error:
            self.error = error
            return None

    def run(self, jobs: Sequence[HydraJob], folder: Path) -> Any:
        self.has_begun = True
        return self._run(jobs, folder)


def _parse(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """Hydra's command line, read; its options may stand between the overrides."""
    parser.exit_on_error = False
    try:
        parsed, unknown = parser.parse_known_intermixed_args(list(arguments))
    except ArgumentError as error:
        raise ConfigError(f"{error}: `eibench-ray run --help` names the options") from None
    if unknown:
        raise ConfigError(f"{' '.join(unknown)}: there is no such option; `eibench-ray run --help` names them")
    return parsed
