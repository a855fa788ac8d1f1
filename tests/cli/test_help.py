"""Answers at once: help and the planner load nothing heavy."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

ENGINES = {"torch", "ray", "vllm", "wandb", "transformers"}
TABLES = {"pyarrow", "polars", "numpy", "scipy"}

CALL = """
import json, sys
from eibench_ray.cli.app import main
sys.argv = ["eibench-ray", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
sys.stderr.write(json.dumps([name for name in sys.modules if "." not in name]))
"""


def loaded_by(code: str, *arguments: str, folder: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["-h"],
        ["run", "--help"],
        ["plan", "-h"],
        ["serve", "--help"],
        ["submit", "slurm", "--help"],
        ["compare", "-h"],
        ["prepare", "--help"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_help_loads_neither_engines_nor_tables_nor_hydra(tmp_path: Path, arguments: list[str]) -> None:
    loaded = loaded_by(CALL, *arguments, folder=tmp_path)
    assert "typer" in loaded
    assert not loaded & (ENGINES | TABLES | {"hydra"})


def test_a_plan_loads_no_engine(tmp_path: Path) -> None:
    loaded = loaded_by(CALL, "plan", "experiment=demo", folder=tmp_path)
    assert "hydra" in loaded
    assert not loaded & ENGINES


@pytest.mark.parametrize(
    "module",
    [
        "eibench_ray.config.load",
        "eibench_ray.config.compose",
        "eibench_ray.config.hydra_jobs",
        "eibench_ray.planner.plan_builder",
        "eibench_ray.estimate.plan_json",
        "eibench_ray.planner.dataset_facts",
        "hydra_plugins.eibench_ray_launcher",
    ],
)
def test_configuration_and_planner_import_no_engine(tmp_path: Path, module: str) -> None:
    code = f"import {module}, json, sys; sys.stderr.write(json.dumps(list(sys.modules)))"
    assert not loaded_by(code, folder=tmp_path) & ENGINES


@pytest.mark.parametrize(
    "arguments",
    [["-v", "plan", "experiment=demo"], ["plan", "experiment=demo", "-v"], ["plan", "--verbose", "experiment=demo"]],
)
def test_verbose_stands_before_and_behind_the_command(tmp_path: Path, arguments: list[str]) -> None:
    code = CALL.replace("json.dumps([name", "json.dumps([str(logging.getLogger().level)] + [name").replace(
        "import json", "import json, logging", 1
    )
    assert str(logging.INFO) in loaded_by(code, *arguments, folder=tmp_path)


def test_every_command_names_verbose_in_its_help() -> None:
    for command in ("run", "doctor", "verify", "prepare jsonl", "prepare eibench", "submit slurm"):
        done = subprocess.run(
            [sys.executable, "-m", "eibench_ray.cli.app", *command.split(), "-h"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "-v, --verbose: log every change of state" in done.stdout
