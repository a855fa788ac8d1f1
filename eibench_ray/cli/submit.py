"""`eibench-ray submit slurm`: a sweep as a job that a batch system runs, and runs again until it is done."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eibench_ray.cli.benchmark_commands import NamedCommands
from eibench_ray.cli.console import AsJson
from eibench_ray.cli.shell_completion import SweepCommand
from eibench_ray.terminal.run_log import lines_shown, phase

if TYPE_CHECKING:
    from eibench_ray.config.hydra_jobs import HydraJob

app = typer.Typer(cls=NamedCommands, help="Hand a sweep to a batch system.", no_args_is_help=True)


@app.command(cls=SweepCommand, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def slurm(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the scripts and submit nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a sweep to SLURM: `eibench-ray submit slurm -m model=a,b judge=c dataset=d cluster.slurm.nodes=2`.

    Takes the arguments of `run`. The site's options are cluster=slurm's, in conf/cluster/slurm.yaml.
    """
    from eibench_ray.cli.hydra_entry import call_hydra

    arguments = list(context.args)
    if not any(argument.partition("=")[0] == "cluster" for argument in arguments):
        arguments.append("cluster=slurm")
    with lines_shown(), phase("planning the sweep", is_told_early=False):
        call_hydra(partial(_submit, arguments, dry_run, as_json), arguments, leaves_traces=False)


def _submit(
    given: Sequence[str],
    dry_run: bool,
    as_json: bool,
    jobs: Sequence[HydraJob],
    folder: Path,  # noqa: ARG001 - the run in the job writes there
) -> None:
    """Plans all cells here, where an error costs no wait, and submits them."""
    from eibench_ray.config.load import to_config, with_expected_cluster
    from eibench_ray.driver.ray_requirements import find_python_flaw
    from eibench_ray.errors import ConfigError
    from eibench_ray.runs.planning import plan_sweep
    from eibench_ray.submit.job_script import num_nodes, render
    from eibench_ray.submit.submission import (
        Script,
        check_jobs_builds,
        check_possible,
        expected_overrides,
        jobs_of,
        new_folder,
        site_of,
        submit,
    )

    cells = [to_config(job.raw) for job in jobs]
    site = site_of(cells[0].cluster)
    node = {"gpus_per_node": site.gpus_per_node, "cpus_per_node": site.cpus_per_node}
    configs = [with_expected_cluster(config, {"nodes": num_nodes(site), **node}) for config in cells]
    sweep = plan_sweep(configs, must_exist=True)
    if sweep.is_complete:
        typer.echo("Nothing to submit: the store has every answer. `eibench-ray run` scores them here.")
        return
    check_possible(sweep.plan, sweep.engines_to_load(), configs[0].cluster)
    if not site.container and (flaw := find_python_flaw(f"{site.venv or sys.prefix}/bin/python")):
        raise ConfigError(f"{flaw}, or name another with cluster.slurm.venv")
    check_jobs_builds([sweep.plan.engines[key] for key in sweep.engines_to_load()], configs[0].cluster, site)
    where = new_folder()
    # What the user says of the same keys comes later, and holds.
    arguments = [*expected_overrides(site), *given]
    scripts = [
        Script(f"job-{number}.sh", render(job, site, configs[0].cluster, sys.prefix))
        for number, job in enumerate(jobs_of(sweep.plan, sweep.engines_to_load(), site, where, arguments))
    ]
    if dry_run:
        typer.echo("\n".join(script.text for script in scripts), nl=False)
        return
    ids = submit(scripts, Path(where), sweep.plan.sweep, given)
    if as_json:
        typer.echo(json.dumps({"jobs": ids, "folder": str(Path(where).absolute())}))
        return
    what = f"job {ids[0]}" if len(ids) == 1 else f"jobs {', '.join(ids)}, one after the other"
    typer.echo(
        f"Submitted {what}.\nLog:    {where}/job-*.log\nStatus: eibench-ray status {where}\n"
        f"Cancel: scancel {' '.join(ids)}"
    )
