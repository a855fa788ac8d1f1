"""Divides a sweep among several runs over one store, without a word between them.

The plan alone decides, so all of them come to the same parts. Steps are done in *stages*: what reads answers of another
engine's steps comes after these, so no run waits for another one's slices. Within a stage an engine belongs to one
part, with all of its steps there: no row is asked by two, and the engine is loaded by one.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable, Mapping
from dataclasses import replace

from eibench_ray.config.slurm import ShareConfig
from eibench_ray.plan.expected_tokens import expected_tokens
from eibench_ray.plan.graph import Plan
from eibench_ray.plan.slices import StepWork


def find_stages(plan: Plan) -> dict[str, int]:
    """The stage of each step, by its id: 0, or one more than the latest stage of other engines that it reads from."""
    stages: dict[str, int] = {}
    for step in plan.steps.values():  # inputs come before what reads them
        sources = (plan.steps[source] for source in step.inputs.values())
        stages[step.id] = max((stages[source.id] + (source.engine != step.engine) for source in sources), default=0)
    return stages


def share_out(plan: Plan, stage: int, parts: int) -> list[set[str]]:
    """The engines of each part of a stage, by key, so that all parts are expected to take about as long.

    The longest is given out first, each to the part that has least. Endpoints stay together: they share limits and a
    budget, which one run can keep to and two cannot.
    """
    stages, work_s = find_stages(plan), dict[str, float]()
    for step in plan.steps.values():
        if stages[step.id] == stage:
            spec = plan.engines[step.engine]
            tokens = plan.datasets[step.dataset].num_rows * expected_tokens(step, spec)
            work_s[spec.key] = work_s.get(spec.key, spec.expect.load_s) + tokens / spec.expect.tokens_per_s
    shares: list[set[str]] = [set() for _ in range(parts)]
    least = [(0.0, number) for number in range(parts)]
    for group in sorted(_groups(plan, work_s), key=lambda group: (-sum(work_s[key] for key in group), min(group))):
        taken_s, number = heapq.heappop(least)
        shares[number] |= group
        heapq.heappush(least, (taken_s + sum(work_s[key] for key in group), number))
    return shares


def count_parts(plan: Plan, stage: int, most: int) -> int:
    """Parts of a stage that have an engine, at most so many."""
    return sum(bool(share) for share in share_out(plan, stage, most))


def _groups(plan: Plan, engines: Iterable[str]) -> list[set[str]]:
    """The engines that can be parted from each other, and the endpoints together."""
    known = set(engines)
    together = {key for key in known if plan.engines[key].price is not None or plan.engines[key].traits.is_endpoint}
    return [*({key} for key in known - together), *([together] if together else [])]


def own_steps(plan: Plan, share: ShareConfig) -> frozenset[str]:
    """Ids of the steps of a share."""
    stages, engines = find_stages(plan), share_out(plan, share.stage, share.parts)[share.part]
    return frozenset(key for key, step in plan.steps.items() if stages[key] == share.stage and step.engine in engines)


def without_gpus(plan: Plan) -> frozenset[str]:
    """Ids of the steps whose engines own no GPU."""
    return frozenset(key for key, step in plan.steps.items() if not plan.engines[step.engine].num_gpus)


def keep_own(plan: Plan, work: Mapping[str, StepWork], own: Container[str]) -> dict[str, StepWork]:
    """The rest of a share: its slices whose inputs are there. All else counts as nobody's work here."""
    kept: dict[str, StepWork] = {}
    for step in plan.steps.values():
        left = work[step.id]
        if step.id not in own:
            kept[step.id] = replace(left, todo=())
            continue
        missing = [gap for source in step.inputs.values() for gap in work[source].todo if gap not in kept[source].todo]
        todo = (
            mine for mine in left.todo if not any(gap.start < mine.stop and mine.start < gap.stop for gap in missing)
        )
        kept[step.id] = replace(left, todo=tuple(todo))
    return kept
