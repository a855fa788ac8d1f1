"""A sweep as jobs of SLURM's: which there are, in which order; and the record of what was submitted."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.slurm import SlurmConfig
from eibench_ray.driver.walltime import deadlines
from eibench_ray.errors import ConfigError, PlanError, StoreError
from eibench_ray.plan.graph import EngineSpec, Plan
from eibench_ray.planner.step_shares import count_parts, find_stages
from eibench_ray.storage.atomic_files import read_json, replacing, write_json
from eibench_ray.store.run_folder import RUN_FILE
from eibench_ray.submit.job_script import SlurmJob, SlurmShare, num_nodes, site_without_gpus
from eibench_ray.submit.sbatch import sbatch, scancel

RECORD_FILE = "submission.json"


@dataclass(frozen=True, slots=True)
class Script:
    """A job's script and its name."""

    name: str
    text: str


def site_of(cluster: ClusterConfig) -> SlurmConfig:
    """The cluster option's section for SLURM.

    Raises:
        ConfigError: nothing.
    """
    if cluster.slurm is None:
        raise ConfigError(
            f"cluster={cluster.name} has no section slurm: leave it out for cluster=slurm, or let your own option file "
            f"start from it (defaults: [slurm, _self_])"
        )
    return cluster.slurm


def expected_overrides(slurm: SlurmConfig) -> list[str]:
    """Overrides that tell a job's run of its nodes."""
    return [
        f"cluster.num_cpus={slurm.cpus_per_node}",
        f"cluster.num_gpus={slurm.gpus_per_node}",
        f"cluster.expect.nodes={num_nodes(slurm)}",
        f"cluster.expect.gpus_per_node={slurm.gpus_per_node}",
        f"cluster.expect.cpus_per_node={slurm.cpus_per_node}",
    ]


def check_possible(plan: Plan, engines: Sequence[str], cluster: ClusterConfig) -> None:
    """Refuses what could only fail once it has waited in the queue.

    Raises:
        PlanError: an engine fits on none of the job's nodes, or does not load within its walltime.
        ClusterError: the walltime leaves nothing of itself.
    """
    # Commands that read the record of a submission look at no engine: a twelfth of `status`.
    from eibench_ray.estimate.engine_profiles import describe_misfit, engine_need, expected_node, fits

    node = expected_node(cluster)
    for key in engines:
        spec = plan.engines[key]
        need = engine_need(spec, cluster, [node])
        if need.bundles and not fits(need, [node] * cluster.expect.nodes):
            raise PlanError(
                f"{describe_misfit(spec.name, need, [node])}: raise cluster.slurm.gpus_per_node or .cpus_per_node, or "
                f"choose smaller replicas"
            )
        if cluster.walltime is not None:
            rows_until = deadlines(cluster.walltime, 0.0, cluster).rows_until
            if spec.expect.load_s >= rows_until:
                raise PlanError(
                    f"engine {spec.name!r} is expected to load in {spec.expect.load_s:g} s, and a job of "
                    f"cluster.walltime={cluster.walltime:g} s has {rows_until:g} s for that and its rows: raise it, "
                    f"or correct model.expect.load_s"
                )


def check_jobs_builds(engines: Iterable[EngineSpec], cluster: ClusterConfig, site: SlurmConfig) -> None:
    """Refuses a job that asks for GPUs and would leave them idle; what a container has is not known here.

    Raises:
        ConfigError: the job's environment has a CPU build of vLLM.
    """
    from eibench_ray.engines.cpu_builds import check_builds
    from eibench_ray.engines.python_environment import read_python

    if site.container:
        return
    python = Path(site.venv or sys.prefix) / "bin" / "python"
    try:
        installed = read_python(str(python)).vllm if python.is_file() else None
    except PlanError:  # seen here, and made for the nodes
        return
    asked = f"cluster.slurm.gpus_per_node={site.gpus_per_node}" if site.gpus_per_node else ""
    check_builds(engines, cluster, asked, installed)


def jobs_of(
    plan: Plan, engines: Sequence[str], slurm: SlurmConfig, folder: str, arguments: Sequence[str]
) -> Iterator[SlurmJob]:
    """The jobs, each after the one before.

    One; where engines with GPUs and others have something to do, one more that does without GPUs what only the others
    have left; or, as an array, one per stage and one that scores what they made.

    Args:
        plan: the sweep.
        engines: keys of those with something to do.
        slurm: the site.
        folder: of the submission.
        arguments: of `eibench-ray run`.
    """
    if slurm.form == "job":
        yield from _jobs_of_one_cluster(plan, engines, slurm, folder, arguments)
        return
    stages = find_stages(plan)
    num_stages = 1 + max(stages.values())
    for stage in range(num_stages):
        share = SlurmShare(stage, count_parts(plan, stage, slurm.nodes))
        own = {plan.steps[step].engine for step in stages if stages[step] == stage}
        needs_gpus = _keeps_gpus(slurm) or any(plan.engines[key].num_gpus for key in own)
        given = (*arguments, *(() if needs_gpus else expected_overrides(site_without_gpus(slurm))))
        yield SlurmJob(plan.sweep, folder, (*given, "tracking.enabled=false"), share, needs_gpus)
    last = f"cluster.share={{stage:{num_stages},part:0,parts:1}}"
    yield SlurmJob(plan.sweep, folder, (*arguments, last), needs_gpus=not slurm.gpus_per_node)


def _jobs_of_one_cluster(
    plan: Plan, engines: Sequence[str], slurm: SlurmConfig, folder: str, arguments: Sequence[str]
) -> Iterator[SlurmJob]:
    specs = [plan.engines[key] for key in engines]
    has_owners = any(spec.num_gpus for spec in specs)
    has_others = any(not spec.num_gpus and not spec.traits.is_recorded for spec in specs)  # recordings are only read
    if _keeps_gpus(slurm) or not has_others:
        yield SlurmJob(plan.sweep, folder, tuple(arguments))
        return
    assert slurm.without_gpus is not None
    if has_owners:
        given = (f"cluster.hand_over_s={slurm.without_gpus.least_s:g}", *arguments)
        yield SlurmJob(plan.sweep, folder, given, leaves_word=True)
    # Last, so that they hold: what the user says of the nodes is of those with GPUs.
    own = ("cluster.hand_over_s=null", "cluster.without_gpus=true")
    given = (*arguments, *expected_overrides(site_without_gpus(slurm)), *own)
    yield SlurmJob(plan.sweep, folder, given, needs_gpus=False, awaits_word=has_owners)


def _keeps_gpus(slurm: SlurmConfig) -> bool:
    """Whether no job of the sweep is to be without GPUs: there are none, or the site wants one kind of job."""
    return not slurm.gpus_per_node or slurm.without_gpus is None


def new_folder() -> str:
    """Folder for a submission's script, logs and runs: below Hydra's folder, so that `status` finds them."""
    return f"multirun/slurm-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def submit(scripts: Sequence[Script], folder: Path, sweep: str, command: Sequence[str]) -> list[str]:
    """The ids of the jobs, each of which waits for the one before to end.

    Raises:
        ClusterError: SLURM refused one; those before it are cancelled.
        StoreError: the folder cannot be written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    jobs: list[str] = []
    try:
        write_json(folder / RECORD_FILE, _record(sweep, [], command))
        for script in scripts:
            path = folder / script.name
            _write(path, script.text)
            jobs.append(sbatch(path, after=jobs[-1] if jobs else None))
    except BaseException:
        for job in jobs:
            scancel(job)
        _remove(folder, made)
        raise
    write_json(folder / RECORD_FILE, _record(sweep, jobs, command))
    return jobs


def _write(path: Path, text: str) -> None:
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _remove(folder: Path, made: Sequence[Path]) -> None:
    """Removes what a submission that was refused has made."""
    if folder in made:
        shutil.rmtree(folder, ignore_errors=True)
    for path in made:
        with contextlib.suppress(OSError):  # it is gone, or others have put something into it
            path.rmdir()


def _record(sweep: str, jobs: Sequence[str], command: Sequence[str]) -> Mapping[str, Any]:
    return {"sweep": sweep, "jobs": list(jobs), "command": list(command), "submitted_at": time.time()}


def read_jobs(folder: Path) -> list[str]:
    """The ids of the jobs that were submitted from a folder; empty where it is that of no submission.

    Raises:
        StoreError: the record cannot be read.
    """
    if not (folder / RECORD_FILE).is_file():
        return []
    record = read_json(folder / RECORD_FILE)
    jobs = record.get("jobs") if isinstance(record, dict) else None
    if not isinstance(jobs, list):
        raise StoreError(f"{folder / RECORD_FILE} is no record of a submission: move it away")
    return [str(job) for job in jobs]


def runs_of(folder: Path) -> list[Path]:
    """The folders of the runs that a submission's jobs have begun, the one that was active last at the end."""
    found = sorted(folder.glob(f"run-*/{RUN_FILE}"), key=lambda path: path.stat().st_mtime)
    return [path.parent for path in found]
