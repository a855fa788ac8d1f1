"""The engines' needs of a cluster, their expected speeds, and whether they fit. Pure: no Ray in here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from eibench_ray.config.cluster import ClusterConfig
from eibench_ray.estimate.hardware import describe_hardware
from eibench_ray.estimate.measured_profiles import (
    NOTHING_MEASURED,
    Measured,
    expected_costs,
    fitted_costs,
    measured_profile,
    with_costs,
)
from eibench_ray.plan.expected_tokens import expected_prompt_tokens, expected_tokens
from eibench_ray.plan.graph import EngineSpec, Plan, Step
from eibench_ray.schedule.decode_speed import DecodeSpeed
from eibench_ray.schedule.measured_engine import MeasuredEngine, fits_hardware
from eibench_ray.schedule.node_capacity import NodeCapacity
from eibench_ray.schedule.resources import EngineProfile, Need, Node, Resources


def engine_profiles(
    plan: Plan, config: ClusterConfig, nodes: Iterable[Node], measured: Measured = NOTHING_MEASURED
) -> dict[str, EngineProfile]:
    """The expected profile of each engine of the plan, by key, on a cluster that has these nodes.

    Args:
        plan: with its engines.
        config: of the cluster.
        nodes: of the cluster.
        measured: what earlier runs have measured; it goes before what the configuration expects.
    """
    known = tuple(nodes)
    return {
        key: _profile(plan, spec, config, known, measured.engines.get(key, ())) for key, spec in plan.engines.items()
    }


def engine_need(spec: EngineSpec, config: ClusterConfig, nodes: Sequence[Node]) -> Need:
    """The resources of one replica: none, one bundle, or one per pipeline stage where no node can hold it whole."""
    if not spec.traits.is_loaded and not spec.num_gpus:
        return Need()
    memory_gb = spec.memory.gpu_memory_gb if spec.memory else 0.0
    whole = Need((Resources(config.cpus_per_replica, spec.num_gpus),), memory_gb, spec.ram_gb)
    stages = spec.traits.stages
    if stages == 1 or not spec.num_gpus or fits(whole, nodes):
        return whole
    return Need((Resources(config.cpus_per_replica, spec.num_gpus // stages),) * stages, memory_gb)


def expected_node(config: ClusterConfig) -> Node:
    """A node as the configuration expects them; without a name, for the caller to give."""
    expect = config.expect
    total = Resources(expect.cpus_per_node, expect.gpus_per_node)
    return Node("", "", total, config.gpu_memory_gb or expect.gpu_memory_gb)


def fits(need: Need, nodes: Iterable[Node]) -> bool:
    """Whether a replica would have room if the nodes were empty."""
    places = NodeCapacity()
    for node in nodes:
        places.add(node)
    return places.fits(need)


def describe_misfit(name: str, need: Need, nodes: Sequence[Node]) -> str:
    """Says why an engine fits on no node: what it needs, and what the largest node has."""
    bundle = need.bundles[0]
    # Memory is named only where it is what is missing.
    lacks_memory = fits(replace(need, gpu_memory_gb=0), nodes)
    stages = f" for each of its {len(need.bundles)} stages" if len(need.bundles) > 1 else " for one replica"
    needs = f"engine {name!r} needs {_words(bundle, need.gpu_memory_gb * lacks_memory)}{stages}"
    if not nodes:
        return f"{needs}; the cluster has no node"
    largest = max(nodes, key=lambda node: (node.total.gpus, node.gpu_memory_gb, node.total.cpus))
    has = _words(largest.total, largest.gpu_memory_gb * lacks_memory)
    return f"{needs}; the cluster has {has} on its largest node ({largest.name}), of {len(nodes)}"


def _words(resources: Resources, memory_gb: float) -> str:
    of_memory = f" of {memory_gb:.3g} GB" if memory_gb and resources.gpus else ""
    return f"{resources.gpus:g} GPUs{of_memory} and {resources.cpus:g} cores"


def _profile(
    plan: Plan, spec: EngineSpec, config: ClusterConfig, nodes: Sequence[Node], records: Sequence[MeasuredEngine]
) -> EngineProfile:
    steps = [step for step in plan.steps.values() if step.engine == spec.key]
    capacity = min(spec.traits.max_num_seqs, spec.expect.batch or spec.traits.max_num_seqs)
    speed = spec.expect.tokens_per_s * _adapter_share(plan, spec, steps)
    allowed = _allowed_tokens_per_s(plan, spec, steps)
    share = min(1.0, allowed / speed)
    prior = EngineProfile(
        key=spec.key,
        need=engine_need(spec, config, nodes),
        load_s=spec.expect.load_s,
        tokens_per_s=speed * share,
        # A limit lets fewer requests in; it makes none of them slower.
        capacity=max(1, round(capacity * share)),
        max_replicas=_max_replicas(spec, config),
        tokens_per_row={step.id: expected_tokens(step, spec) for step in steps},
        alone_tokens_per_s=spec.expect.alone_tokens_per_s,
    )
    hardware = describe_hardware(spec, config, nodes)
    latest = [record for record in records if fits_hardware(record, hardware, spec.num_gpus)]
    expected = expected_costs(spec, DecodeSpeed(speed, capacity, spec.expect.alone_tokens_per_s), allowed)
    if (costs := fitted_costs(expected, latest)) is not None:
        rows = {step.id: plan.datasets[step.dataset].num_rows for step in steps}
        replies = sum(rows[step] * tokens for step, tokens in prior.tokens_per_row.items()) / max(1, sum(rows.values()))
        return measured_profile(plan, spec, steps, prior, costs, latest, allowed / max(replies, 1e-9))
    if spec.device == "cpu" and spec.traits.is_loaded:
        return with_costs(plan, spec, steps, prior, expected, ())
    return prior


def _adapter_share(plan: Plan, spec: EngineSpec, steps: Sequence[Step]) -> float:
    """Speed over all rows, as a share of that of rows which name no adapter."""
    tokens = {step.id: plan.datasets[step.dataset].num_rows * expected_tokens(step, spec) for step in steps}
    work = sum(tokens[step.id] / (spec.traits.adapter_speed if step.adapter else 1.0) for step in steps)
    return sum(tokens.values()) / work if work else 1.0


def _allowed_tokens_per_s(plan: Plan, spec: EngineSpec, steps: Sequence[Step]) -> float:
    """Generated tokens per second that an endpoint's configured limits allow; math.inf where there are none.

    Engines of one pool share its limits as they need them: all of them would end at the same time.
    """
    limits = spec.traits.limits
    if limits is None:
        return math.inf
    pooled = [step for step in plan.steps.values() if _pool(plan.engines[step.engine]) == limits.pool]
    rows = {step.id: plan.datasets[step.dataset].num_rows for step in pooled}
    replies = {step.id: rows[step.id] * expected_tokens(step, plan.engines[step.engine]) for step in pooled}
    prompts = sum(rows[step.id] * expected_prompt_tokens(plan, step) for step in pooled)
    counted = sum(replies.values()) + prompts
    minutes = max(
        sum(rows.values()) / (limits.requests_per_min or math.inf), counted / (limits.tokens_per_min or math.inf)
    )
    return sum(replies[step.id] for step in steps) / minutes / 60 if minutes else math.inf


def _pool(spec: EngineSpec) -> str | None:
    return spec.traits.limits.pool if spec.traits.limits else None


def _max_replicas(spec: EngineSpec, config: ClusterConfig) -> int | None:
    """Copies at the same time; on cores alone one, where nobody knows for how many more there is RAM."""
    if config.max_replicas_per_engine is not None:
        return config.max_replicas_per_engine
    return 1 if spec.device == "cpu" and config.gpu_resource == "GPU" and not spec.ram_gb else None
