"""Answers at once: help and the planner load nothing heavy."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Called

    Command = Callable[..., Called]

ENGINES = {"torch", "ray", "vllm", "wandb", "transformers"}
TABLES = {"pyarrow", "polars", "numpy", "scipy"}

# One process for several command lines: what none of them loads is not there in the end. After each, the level of the
# log that it set is noted, and taken back.
CALLS = """
import json, logging, sys
from eibench_ray.cli.app import main
levels = []
for line in json.loads(sys.argv[1]):
    sys.argv = ["eibench-ray", *line]
    logging.root.handlers.clear()
    logging.root.setLevel(logging.WARNING)
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, (line, ended.code)
    levels.append(logging.root.level)
sys.stderr.write(json.dumps([levels, [name for name in sys.modules if "." not in name]]))
"""


def after(*lines: list[str], folder: Path) -> tuple[list[int], set[str]]:
    """The log's level after each of some command lines, and the packages that are loaded after all."""
    done = subprocess.run(
        [sys.executable, "-c", CALLS, json.dumps(lines)], cwd=folder, capture_output=True, text=True, check=True
    )
    levels, loaded = json.loads(done.stderr.splitlines()[-1])
    return levels, set(loaded)


def test_help_loads_neither_engines_nor_tables_nor_hydra(tmp_path: Path) -> None:
    _, loaded = after(
        ["--help"],
        ["-h"],
        ["run", "--help"],
        ["plan", "-h"],
        ["serve", "--help"],
        ["submit", "slurm", "--help"],
        ["compare", "-h"],
        ["prepare", "--help"],
        ["--version"],
        folder=tmp_path,
    )
    assert "typer" in loaded
    assert not loaded & (ENGINES | TABLES | {"hydra"})


def test_a_plan_loads_no_engine_and_verbose_stands_before_and_behind_the_command(tmp_path: Path) -> None:
    levels, loaded = after(
        ["plan", "experiment=demo"],
        ["-v", "plan", "experiment=demo"],
        ["plan", "experiment=demo", "-v"],
        ["plan", "--verbose", "experiment=demo"],
        folder=tmp_path,
    )
    assert "hydra" in loaded
    assert not loaded & ENGINES
    assert levels == [logging.WARNING, logging.INFO, logging.INFO, logging.INFO]


def test_configuration_and_planner_import_no_engine(tmp_path: Path) -> None:
    modules = [
        "eibench_ray.config.load",
        "eibench_ray.config.compose",
        "eibench_ray.config.hydra_jobs",
        "eibench_ray.planner.plan_builder",
        "eibench_ray.estimate.plan_json",
        "eibench_ray.planner.dataset_facts",
        "hydra_plugins.eibench_ray_launcher",
    ]
    code = f"import {', '.join(modules)}, json, sys; sys.stderr.write(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert loaded >= set(modules)
    assert not loaded & ENGINES


@pytest.mark.parametrize("line", ["run", "doctor", "verify", "prepare jsonl", "prepare eibench", "submit slurm"])
def test_every_command_names_verbose_in_its_help(command: Command, line: str) -> None:
    assert "-v, --verbose: log every change of state" in command(*line.split(), "-h").out
