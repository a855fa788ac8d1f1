"""The text of a job's script. Pure: options in, text out."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.config.slurm import SlurmConfig, WithoutGpusConfig
from eibench_ray.driver.walltime import WRAP_UP_S
from eibench_ray.visible_text import in_line

TEMPLATE = "job.sh.j2"
NAME_CHARS = 64


@dataclass(frozen=True, slots=True)
class SlurmShare:
    """A stage of an array: so many parts, one per task."""

    stage: int
    parts: int


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """One job to submit."""

    sweep: str  # the sweep's name, as it is
    folder: str  # where its script, its log and its runs lie, relative to where it is submitted; of plain characters
    arguments: tuple[str, ...]  # of `eibench-ray run`
    share: SlurmShare | None = None  # of an array's job; None: one job does all
    needs_gpus: bool = True  # False: it runs as `cluster.slurm.without_gpus` says
    leaves_word: bool = False  # whether it tells the next job that what is left is that one's
    awaits_word: bool = False  # whether it does nothing unless the job before has told it so


def render(job: SlurmJob, slurm: SlurmConfig, cluster: ClusterConfig, environment: str) -> str:
    """The job's script; every value in it is quoted, but for `setup`, which is shell code."""
    slurm = slurm if job.needs_gpus else site_without_gpus(slurm)
    return _templates().get_template(TEMPLATE).render(
        options=_options(job, slurm, cluster),
        folder=job.folder,
        arguments=job.arguments,
        share=job.share,
        nodes=num_nodes(slurm),
        cpus_per_node=slurm.cpus_per_node,
        scratch=slurm.scratch,
        dashboard_port=cluster.dashboard_port,
        env=slurm.env,
        modules=slurm.modules,
        setup=slurm.setup,
        venv=slurm.venv or (None if slurm.container else environment),
        inside=[*slurm.container_command, slurm.container] if slurm.container else [],
        requeue=slurm.requeue,
        leaves_word=job.leaves_word,
        awaits_word=job.awaits_word,
    )  # fmt: skip


def site_without_gpus(slurm: SlurmConfig) -> SlurmConfig:
    """The site's options for a job of one node that needs no GPU; what may name nodes with GPUs is left out."""
    own = slurm.without_gpus or WithoutGpusConfig()
    left_out = {"nodes": 1, "gpus_per_node": 0, "gpu_type": None, "constraint": None, "reservation": None}
    given = {"partition": own.partition, "qos": own.qos, "memory": own.memory, "cpus_per_node": own.cpus}
    kept = {name: value for name, value in given.items() if value is not None}
    return slurm.model_copy(update=left_out | kept | {"options": own.options})


def num_nodes(slurm: SlurmConfig) -> int:
    """Nodes of one job."""
    return slurm.nodes if slurm.form == "job" else 1


def template_folder() -> Path:
    """The folder of the template: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "slurm"
    return inside if inside.is_dir() else package.parent / "slurm"


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(template_folder()),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["quote"] = quote_for_bash
    return templates


def quote_for_bash(text: str) -> str:
    r"""The text as one word of bash; what acts on a terminal that shows the script is written out: `$'\x1b'`."""
    if in_line(text) == text:
        return shlex.quote(text)
    plain = text.replace("\\", r"\\").replace("'", r"\'")
    return f"$'{''.join(one if in_line(one) == one else _write_out(one) for one in plain)}'"


def _write_out(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _options(job: SlurmJob, slurm: SlurmConfig, cluster: ClusterConfig) -> list[str]:
    """The options of sbatch, one a line."""
    name = re.sub(r"[^\w.-]+", "_", job.sweep, flags=re.ASCII)[:NAME_CHARS]
    given: dict[str, str | int | None] = {
        "job-name": name,
        "nodes": num_nodes(slurm),
        "ntasks-per-node": 1,
        "cpus-per-task": slurm.cpus_per_node,
        "gpus-per-node": _gpus(slurm),
        "mem": slurm.memory,
        "time": None if cluster.walltime is None else format_time(cluster.walltime),
        "partition": slurm.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "constraint": slurm.constraint,
        "reservation": slurm.reservation,
        "array": f"0-{job.share.parts - 1}" if job.share else None,
        "export": ",".join(slurm.export) or "NONE" if slurm.export is not None else None,
        "open-mode": "append",
        "output": f"{job.folder}/job-%{'A_%a' if job.share else 'j'}.log",
        # Ahead of the end, as much as the run takes to end in order; and once more in front of a preemption.
        "signal": f"B:USR1@{round(cluster.grace_s + cluster.stop_timeout_s + WRAP_UP_S)}",
    }
    lines = [f"--{name}={value}" for name, value in given.items() if value is not None]
    lines.append("--requeue" if slurm.requeue else "--no-requeue")
    for name, more in slurm.options.items():
        if more is not False:
            lines.append(f"--{name}" if more is True else f"--{name}={more}")
    return lines


def _gpus(slurm: SlurmConfig) -> str | None:
    if not slurm.gpus_per_node:
        return None
    return f"{slurm.gpu_type}:{slurm.gpus_per_node}" if slurm.gpu_type else str(slurm.gpus_per_node)


def format_time(seconds: float) -> str:
    """A time as SLURM reads it, in whole minutes: D-HH:MM:00."""
    minutes = max(1, int(seconds // 60))
    days, rest = divmod(minutes, 24 * 60)
    return f"{days}-{rest // 60:02}:{rest % 60:02}:00" if days else f"{rest // 60:02}:{rest % 60:02}:00"
