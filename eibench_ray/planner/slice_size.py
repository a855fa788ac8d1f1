"""Number of rows in a slice where the configuration leaves it open.

A slice is what a replica is given, and what later steps wait for: small ones let judges begin sooner and end a sweep
more evenly. It is also a file, which every later plan opens: large ones keep these few.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.plan.expected_tokens import expected_tokens
from eibench_ray.plan.graph import Plan
from eibench_ray.plan.slices import MOST_ROWS

# A replica gets so many slices of each step (simulated, 64 GPUs: with 16 rows instead of 32 the paper's sweep ends 1%
# sooner).
SLICES_PER_REPLICA = 16
# And a step has no more files than this, as far as slices do not become larger than is worth losing.
FILES_PER_STEP = 1024
FEWEST_ROWS = 8


def choose_slice_rows(plan: Plan, chosen: int | Literal["auto"], cluster: ClusterConfig) -> Mapping[str, int]:
    """Rows per slice of each step, for those that are new to the store: as chosen, or a power of two."""
    if chosen != "auto":
        return dict.fromkeys(plan.steps, chosen)
    num_gpus = cluster.expect.nodes * cluster.expect.gpus_per_node
    gpu_s = dict.fromkeys(plan.engines, 0.0)
    for step in plan.steps.values():
        spec = plan.engines[step.engine]
        num_tokens = plan.datasets[step.dataset].num_rows * expected_tokens(step, spec)
        gpu_s[spec.key] += spec.num_gpus * num_tokens / spec.expect.tokens_per_s
    total_s = sum(gpu_s.values())
    replicas = {
        key: max(1.0, num_gpus * gpu_s[key] / total_s / spec.num_gpus) if gpu_s[key] else 1.0
        for key, spec in plan.engines.items()
    }
    return {step.id: _size(plan.datasets[step.dataset].num_rows, replicas[step.engine]) for step in plan.steps.values()}


def _size(num_rows: int, replicas: float) -> int:
    size = FEWEST_ROWS
    while size < MOST_ROWS and (
        2 * size <= num_rows / replicas / SLICES_PER_REPLICA or size * FILES_PER_STEP < num_rows
    ):
        size *= 2
    return size
