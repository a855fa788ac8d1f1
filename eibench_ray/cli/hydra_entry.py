"""Hydra, called with the arguments of `run` and `plan`: its whole command line, our errors."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra import version
from hydra._internal.utils import _run_hydra, get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

import eibench_ray
from eibench_ray.config.compose import to_composed
from eibench_ray.config.hydra_errors import HYDRA_ERRORS, explain
from eibench_ray.config.jobs import Job, SweepTask


def config_folder() -> Path:
    """The folder of option files: inside an installed package, beside it in a checkout."""
    package = Path(eibench_ray.__file__).parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def job_of_call(config: DictConfig) -> Job:
    """The job of Hydra's plain run, for which it calls the task function itself."""
    hydra = OmegaConf.create({"hydra": HydraConfig.get()}).hydra
    composed = to_composed(DictConfig({**config, "hydra": hydra}))
    return Job(composed.raw, hydra, 0, tuple(hydra.overrides.task), Path(hydra.runtime.output_dir))


def call_hydra(task: SweepTask, arguments: Sequence[str], *, leaves_traces: bool) -> None:
    """Composes what the arguments say and calls the task with it; `--cfg` and `--info` print and call nothing.

    Args:
        task: called once, with one job or with all of them.
        arguments: Hydra's command line: overrides, -m, --config-dir, --cfg, ...
        leaves_traces: whether Hydra may write its folders (multirun/, outputs/).

    Raises:
        ConfigError: the configuration cannot be composed.
    """
    version.setbase("1.3")
    parser = get_args_parser()
    parser.prog = "eibench-ray run"
    with _full_errors(), tempfile.TemporaryDirectory(prefix="eibench_ray_") as scratch:
        parsed = parser.parse_args(list(arguments))
        if not leaves_traces and parsed.cfg is None and parsed.info is None:
            parsed.overrides += [f"hydra.run.dir={scratch}", f"hydra.sweep.dir={scratch}", "hydra.output_subdir=null"]
        try:
            _run_hydra(parsed, parser, task, config_path=str(config_folder()), config_name="config")
        except HYDRA_ERRORS as error:
            raise explain(error) from error


@contextlib.contextmanager
def _full_errors() -> Iterator[None]:
    """Makes Hydra raise what went wrong, instead of printing it and exiting with 1."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before
