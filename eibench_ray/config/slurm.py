"""The section of SLURM: what a site wants to hear, and which part of a sweep one job does."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt, field_validator, model_validator

from eibench_ray.config.secrets import is_secret_name
from eibench_ray.config.section import Frozen

# `#SBATCH` lines are read by sbatch, not by a shell: a space, a quote or a line break has no safe form there.
Word = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    Field(pattern=r"^[\w.,:;=@%/+&|*()\[\]!-]+$"),
]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]
SbatchOptions = dict[Annotated[str, Field(pattern=r"^[a-z][a-z-]*$")], Word | bool]
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d\d)(?::(\d\d))?")
# Ray's sockets lie below it, and a socket's path has at most 107 characters.
SCRATCH_CHARS = 24


def to_seconds(value: object) -> object:
    """The seconds of `04:00:00`, `1-12:00:00`, `30:00` (minutes) or a number of seconds; else the value as it is."""
    if isinstance(value, str):
        if (clock := _CLOCK.fullmatch(value)) is None:
            raise ValueError("should be seconds, or a time such as 04:00:00 or 1-12:00:00")
        days, first, second, third = clock.groups()
        if third is None and days is None:  # as SLURM reads it
            return float(int(first) * 60 + int(second))
        return float(int(days or 0) * 86400 + int(first) * 3600 + int(second) * 60 + int(third or 0))
    return float(value) if type(value) is int else value


Walltime = Annotated[float, BeforeValidator(to_seconds), Field(gt=0)]


class WithoutGpusConfig(Frozen):
    """The job that does what is left once no GPU is needed any more. None: as the job with GPUs has it.

    Attributes:
        least_s: seconds of such work that must be left; less is done while the GPUs are held.
        options: further options of sbatch, of this job alone.
    """

    least_s: Annotated[float, Field(ge=0)] = 300.0
    partition: Word | None = None
    qos: Word | None = None
    memory: Word | None = None
    cpus: PositiveInt | None = None  # cores
    options: SbatchOptions = {}


class SlurmConfig(Frozen):
    """Options for SLURM. None leaves an option out: the site's default holds.

    Attributes:
        form: `job` is one job whose nodes are one Ray cluster; `array` are jobs of one node each, for sites that forbid
            others: each takes a share of the engines, and no two of them speak to each other.
        gpus_per_node, gpu_type: as `--gpus-per-node`.
        requeue: whether the job queues itself again when it is preempted, or its time is over, with work left.
        options: further options of sbatch by name, e.g. `{nice: 100, exclusive: true}`.
        without_gpus: the job that goes on where only endpoints have work left; None: the GPUs are kept for it.
        container: an image in which everything runs; then `venv` and `modules` are left alone unless they are set.
        container_command: what runs a command in the image.
        export: names of the environment variables that the job gets from the submitting shell; None: all.
    """

    form: Literal["job", "array"] = "job"
    nodes: PositiveInt = 1  # of the job, or tasks of the array at the same time
    gpus_per_node: Annotated[int, Field(ge=0)] = 0
    gpu_type: Word | None = None
    cpus_per_node: PositiveInt = 8  # cores on each node, for the replicas and the driver
    memory: Word | None = None  # of each node, e.g. 64G.
    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    reservation: Word | None = None
    requeue: bool = True
    options: SbatchOptions = {}
    without_gpus: WithoutGpusConfig | None = WithoutGpusConfig()
    modules: list[str] = []  # environment modules to load
    venv: str | None = None  # the Python environment to activate; None: the one that submits
    container: str | None = None
    container_command: Annotated[list[str], Field(min_length=1)] = ["apptainer", "exec", "--nv"]
    setup: list[str] = []  # lines of shell code, as they are, before anything runs
    env: dict[Name, str] = {}  # environment variables that are no secret
    export: list[Name] | None = None
    scratch: Annotated[str, Field(pattern=r"^/", max_length=SCRATCH_CHARS)] = "/tmp"  # a folder on each node's own disk

    @field_validator("env")
    @classmethod
    def _holds_no_secret(cls, env: dict[str, str]) -> dict[str, str]:
        for name in env:
            if is_secret_name(name):
                raise ValueError(
                    f"{name} looks like a secret, and a job's script is readable: export it where you submit, and name "
                    f"it in cluster.slurm.export if that is set"
                )
        return env


class ShareConfig(Frozen):
    """The part of a sweep that one run of several does over one store; see `plan.shares`.

    Attributes:
        stage: what reads answers of other engines' steps comes in a later stage than these.
        part, parts: which of so many parts of the stage's engines.
    """

    stage: Annotated[int, Field(ge=0)] = 0
    part: Annotated[int, Field(ge=0)] = 0
    parts: PositiveInt = 1

    @model_validator(mode="after")
    def _is_one_of_the_parts(self) -> ShareConfig:
        if self.part >= self.parts:
            raise ValueError(f"part {self.part} is not one of {self.parts}, counted from 0")
        return self
