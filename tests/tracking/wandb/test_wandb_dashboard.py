"""The workspace that code makes, as it would be sent."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from needed import need

from eibench_ray.driver.engine_series import engine_series
from eibench_ray.driver.run_events import EngineProgress, Snapshot
from eibench_ray.errors import ConfigError
from eibench_ray.tracking.tensorboard.tensorboard_tracker import TensorboardTracker
from eibench_ray.tracking.wandb.wandb_tracker import WandbTracker
from eibench_ray.worker.gpu_meter import GpuUse

if TYPE_CHECKING:
    from conftest import Sweeps

need("wandb_workspaces", "wandb-workspaces is not installed")


@pytest.fixture(scope="module")
def sections() -> dict[str, list[dict[str, Any]]]:
    described = json.loads(WandbTracker(project="mine", entity="team").dashboard({}, is_dry=True))
    assert (described["entity"], described["project"]) == ("team", "mine")
    found = described["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in found}


def test_a_dry_run_shows_the_tables_and_plots_and_sends_nothing(sections: dict[str, list[dict[str, Any]]]) -> None:
    assert list(sections)[:4] == ["Scores", "Engines", "Sweep", "Cells"]
    text = json.dumps(sections["Scores"])
    assert [table for table in ("leaderboard", "compare", "samples") if f'"{table}"' not in text] == []


def test_plots_of_engines_find_the_figures_that_a_sweep_tells(
    sections: dict[str, list[dict[str, Any]]], sweeps: Sweeps
) -> None:
    sweeps.write_dataset(range(2))
    plan = sweeps.plan().plan
    engines = {key: EngineProgress(tokens_per_s=1.0) for key in plan.engines}
    gpus = dict.fromkeys(plan.engines, (GpuUse("n1:0", 50.0, 1.0),))
    (series,) = engine_series(plan, Snapshot({}, {}, engines, 0, 0, 0.0, gpus=gpus))
    told = [f"{figure}/{series.name}" for figure in series.figures]
    patterns = [panel["config"]["metricRegex"] for panel in sections["Engines"]]
    assert [pattern for pattern in patterns if not any(re.search(pattern, name) for name in told)] == []


def test_without_a_key_the_variable_is_named() -> None:
    with pytest.raises(ConfigError, match="WANDB_API_KEY"):
        WandbTracker(project="mine").dashboard({}, is_dry=False)


def test_a_tracker_without_dashboards_says_so() -> None:
    with pytest.raises(ConfigError, match="TensorBoard has no dashboards"):
        TensorboardTracker().dashboard(os.environ, is_dry=True)
