"""A workspace of W&B's over a project's sweeps: scores, engines over time, and how far each cell is."""

from __future__ import annotations

import os
from unittest import mock

import wandb
import wandb_workspaces.reports.v2 as panels
import wandb_workspaces.workspaces as workspaces

# Section -> its plots: the title, and the figures by a pattern.
_PLOTS = {
    "Engines": {
        "Tokens per second": "^tokens_per_s/",
        "Rows still to answer": "^queue/",
        "Replicas that generate or judge": "^replicas_(generating|judging)/",
        "GPUs held": "^gpus/",
        "GPU use, % of each GPU": "^gpu_use_percent/",
        "GPU memory in use, GB of each GPU": "^gpu_memory_gb/",
    },
    "Sweep": {
        "Rows": "^rows_(done|total)$",
        "Rows per second": "^rows_per_s$",
        "Errors": "^errors$",
        "Cost": "^cost_usd$",
    },
    "Cells": {"Coverage": "^coverage$", "Tokens": "^tokens$"},
}
_TABLES = ("leaderboard", "compare", "compare_judges", "samples")


def build_dashboard(entity: str, project: str, name: str) -> workspaces.Workspace:
    """The workspace; nothing is sent before it is saved."""
    tables = [panels.WeavePanelSummaryTable(table_name=table) for table in _TABLES]
    sections = [workspaces.Section(name="Scores", panels=tables, is_open=True)]
    for section, plots in _PLOTS.items():
        lines = [panels.LinePlot(title=title, metric_regex=pattern) for title, pattern in plots.items()]
        sections.append(workspaces.Section(name=section, panels=lines, is_open=section == "Engines"))
    return workspaces.Workspace(entity=entity, project=project, name=name, sections=sections)


def describe_dashboard(workspace: workspaces.Workspace) -> str:
    """The workspace as JSON, as it would be sent."""
    described: str = workspace._to_model().model_dump_json(by_alias=True, exclude_none=True, indent=2)
    return described


def save_dashboard(project: str, entity: str | None, name: str, api_key: str) -> str:
    """Makes it on the server; the address."""
    with mock.patch.dict(
        os.environ, {"WANDB_API_KEY": api_key}
    ):  # what saves it takes no key, and no file is to have it
        owner = entity or str(wandb.Api(api_key=api_key).default_entity)
        address: str = build_dashboard(owner, project, name).save().url
    return address
