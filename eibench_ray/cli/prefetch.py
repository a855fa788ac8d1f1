"""The command `prefetch`: what a sweep needs from the hub, fetched before nodes without a network need it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eibench_ray.cli.console import open_console
from eibench_ray.errors import ConfigError, EibenchError
from eibench_ray.terminal.run_log import lines_shown, phase
from eibench_ray.visible_text import in_line

if TYPE_CHECKING:
    from rich.console import Console

    from eibench_ray.config.hydra_jobs import HydraJob
    from eibench_ray.plan.graph import EngineSpec
    from eibench_ray.runs.fetch_assets import AssetState
    from eibench_ray.terminal.fitting_table import FittingTable

GB = 1e9
_COLOURS = {"there": "green", "missing": "red"}


def prefetch(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List it and fetch nothing.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one JSON line on stdout; everything else goes to stderr.")
    ] = False,
) -> None:
    """Fetch what a sweep needs into the caches of this machine, e.g. a login node. Takes the arguments of `run`.

    Lists weights, tokenizers, checkpoints, pipelines and environments of every model, captioner, asker and judge that
    still has something to do; fetches and builds what is not here; a call that was interrupted goes on when repeated.
    """
    from eibench_ray.cli.hydra_entry import call_hydra

    with lines_shown():
        call_hydra(partial(_prefetch, dry_run, as_json), context.args, leaves_traces=False)


def _prefetch(dry_run: bool, as_json: bool, jobs: Sequence[HydraJob], folder: Path) -> None:  # noqa: ARG001 - into caches only
    """Fetches for all cells.

    Raises:
        ConfigError: something is missing that the user can fix, or the disk is too small.
        EibenchError: the hub did not give something.
    """
    from eibench_ray.config.load import to_config
    from eibench_ray.engines.assets import collect_assets
    from eibench_ray.runs.fetch_assets import find_asset, variables_for_nodes
    from eibench_ray.runs.planning import plan_sweep

    with phase("planning the sweep", is_told_early=False):
        sweep = plan_sweep([to_config(job.raw) for job in jobs], must_exist=False)
    engines = [sweep.plan.engines[key] for key in sweep.engines_to_load()]
    assets = collect_assets(engines)
    console = open_console(stderr=as_json)
    with phase("looking for what the sweep needs", console, is_told_early=False):
        findings = [find_asset(asset, os.environ) for asset in assets]
    if not dry_run:
        findings = _bring(findings, console)
    variables = variables_for_nodes(findings, os.environ)
    if as_json:
        typer.echo(json.dumps(to_json(findings, variables)))
    elif not findings:
        console.print("Nothing is needed: no engine of it loads anything, or the store has every answer.")
    else:
        console.print(to_table(findings))
    _check(findings)
    _check_templates(engines)
    if variables and not as_json and all(found.state != "to fetch" for found in findings):
        console.print("On nodes without a network that see these folders (or copies of them), set:")
        for name, value in variables.items():
            console.print(f"  export {name}={in_line(shlex.quote(value))}", soft_wrap=True)


def _bring(findings: list[AssetState], console: Console) -> list[AssetState]:
    """The findings again, after everything that can be fetched or built here has been."""
    from eibench_ray.runs.fetch_assets import bring_asset, check_room, code_of, find_asset

    check_room(findings, os.environ)
    brought: list[AssetState] = []
    while findings:
        found, *findings = findings
        if found.state in ("to fetch", "to build"):
            size = f" ({(found.num_bytes or 0) / GB:.2f} GB)" if found.state == "to fetch" else ""
            what = "Fetching" if found.state == "to fetch" else "Building"
            console.print(f"{what} {in_line(_name(found))}{size}", soft_wrap=True)
        doing = f"{'building' if found.state == 'to build' else 'fetching'} {_name(found)}"
        with phase(doing, how_far=partial(_how_far, found), is_told_early=False):
            brought.append(bring_asset(found, os.environ))
        known = {one.asset.model for one in (*brought, *findings)}
        code = [asset for asset in code_of(brought[-1]) if asset.model not in known]
        findings += [find_asset(asset, os.environ) for asset in code]
    return brought


def _how_far(found: AssetState) -> str:
    """Share of an asset that is on this machine, in words."""
    from eibench_ray.weights.hub_download import num_bytes_here

    return f"{num_bytes_here(found.asset.model) / GB:.2f} GB are here" if found.asset.model else ""


def _check(findings: Sequence[AssetState]) -> None:
    """Raises what stands between the sweep and nodes without a network, in one paragraph."""
    missing = [found for found in findings if found.state == "missing"]
    if not missing:
        return
    alike: dict[tuple[str, str], list[str]] = {}
    for found in missing:
        alike.setdefault((found.what, found.remedy), []).append(f"{_name(found)} ({', '.join(found.asset.users)})")
    reasons = ". ".join(f"{', '.join(names)}: {what}: {remedy}" for (what, remedy), names in alike.items())
    message = f"{len(missing)} of {len(findings)} things that the sweep needs cannot be had. {reasons}"
    raise ConfigError(message) if any(found.is_for_user for found in missing) else EibenchError(message)


def _check_templates(engines: Sequence[EngineSpec]) -> None:
    """Raises where the checkpoint of a model is here and has no chat template: it would be refused when it loads."""
    from eibench_ray.engines.blocker_checks import find_lost_template

    if found := [lost for spec in engines if (lost := find_lost_template(spec, os.environ, is_local=True))]:
        names = ", ".join(dict.fromkeys(str(lost) for lost in found))
        raise ConfigError(f"{names}: {found[0].remedy}")


def _name(found: AssetState) -> str:
    return str(found.asset.model) if found.asset.model else found.asset.name


def to_json(findings: Sequence[AssetState], variables: Mapping[str, str]) -> dict[str, Any]:
    """The findings for programs."""
    return {
        "items": [
            {
                "kind": found.asset.kind,
                "name": found.asset.name,
                "revision": found.asset.model.revision if found.asset.model else None,
                "models": list(found.asset.users),
                "state": found.state,
                "gb": None if found.num_bytes is None else found.num_bytes / GB,
                "what": found.what,
                "remedy": found.remedy,
            }
            for found in findings
        ],
        "variables": dict(variables),
    }


def to_table(findings: Sequence[AssetState]) -> FittingTable:
    """The findings as a table, a line each."""
    from rich.text import Text

    from eibench_ray.terminal.fitting_table import Column, FittingTable

    kinds = [f"{found.asset.kind}{', gated' if found.asset.is_gated else ''}" for found in findings]
    sizes = ["" if found.num_bytes is None else f"{found.num_bytes / GB:.2f}" for found in findings]
    states = [Text(found.state, style=_COLOURS.get(found.state, "yellow")) for found in findings]
    columns = [
        Column("what", [in_line(_name(found)) for found in findings], is_name=True),
        Column("kind", kinds, is_name=True, rank=1),
        Column("for", [in_line(", ".join(found.asset.users)) for found in findings], is_name=True, least=16, rank=1),
        Column("state", states, is_name=True),
        Column("GB", sizes),
        Column("where, or why not", [in_line(found.what) for found in findings], is_name=True, least=20),
    ]
    return FittingTable(columns)
