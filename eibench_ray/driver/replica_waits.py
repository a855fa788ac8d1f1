"""Finds what the engines of a run wait for: a node, a place, their weights, or what they say themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eibench_ray.rows.wait import Wait
from eibench_ray.visible_text import shorten

if TYPE_CHECKING:
    from eibench_ray.driver.replica_state import ReplicaState
    from eibench_ray.driver.run_context import RunContext

_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Rest:
    """A pause before an engine is started again."""

    reason: str
    since: float  # when it began, on the monotonic clock
    pause_s: float


def find_waits(
    context: RunContext, states: Iterable[ReplicaState], rests: Mapping[str, Rest], now: float
) -> Iterator[Wait]:
    """The waits of all engines that are not given up, each with its model's name."""
    has_replicas = set()
    for state in states:
        has_replicas.add(state.engine)
        waits = state.counts_so_far.waits if state.is_ready else [_start_of(context, state, now)]
        yield from (replace(wait, who=context.name(state.engine)) for wait in waits)
    for engine, since in context.failure_policy.homeless.items():
        if not context.is_given_up(engine) and context.counts.has_work(engine):
            reason, limit_s = "a node that has room for it", context.config.start_timeout_s
            yield Wait(reason, now - since, limit_s, context.name(engine))
    for engine, rest in rests.items():
        if engine not in has_replicas and not context.is_given_up(engine) and context.counts.has_work(engine):
            reason = f"another start, after {shorten(rest.reason, _LONGEST_REASON).rstrip('.')},"
            yield Wait(reason, now - rest.since, rest.pause_s, context.name(engine))


def _start_of(context: RunContext, state: ReplicaState, now: float) -> Wait:
    """The wait of a replica that cannot be asked yet."""
    if state.placed_at is None:
        need = context.profiles[state.engine].need
        cores = sum(bundle.cpus for bundle in need.bundles)
        reason = f"a place with {need.gpus:g} GPUs and {cores:g} cores"
        return Wait(reason, now - state.began_at, context.config.placement_timeout_s)
    return Wait(state.doing or "the engine to load", now - state.placed_at, context.config.start_timeout_s)
