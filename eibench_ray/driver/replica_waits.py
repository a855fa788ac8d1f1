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
    course: RunContext, members: Iterable[ReplicaState], rests: Mapping[str, Rest], now: float
) -> Iterator[Wait]:
    """The waits of all engines that are not given up, each with its model's name."""
    has_replicas = set()
    for member in members:
        has_replicas.add(member.engine)
        waits = member.counts_so_far.waits if member.is_ready else [_start_of(course, member, now)]
        yield from (replace(wait, who=course.name(member.engine)) for wait in waits)
    for engine, since in course.failure_policy.homeless.items():
        if not course.is_given_up(engine) and course.counts.has_work(engine):
            reason, limit_s = "a node that has room for it", course.config.start_timeout_s
            yield Wait(reason, now - since, limit_s, course.name(engine))
    for engine, rest in rests.items():
        if engine not in has_replicas and not course.is_given_up(engine) and course.counts.has_work(engine):
            reason = f"another start, after {shorten(rest.reason, _LONGEST_REASON).rstrip('.')},"
            yield Wait(reason, now - rest.since, rest.pause_s, course.name(engine))


def _start_of(course: RunContext, member: ReplicaState, now: float) -> Wait:
    """The wait of a replica that cannot be asked yet."""
    if member.placed_at is None:
        need = course.profiles[member.engine].need
        cores = sum(bundle.cpus for bundle in need.bundles)
        reason = f"a place with {need.gpus:g} GPUs and {cores:g} cores"
        return Wait(reason, now - member.began_at, course.config.placement_timeout_s)
    return Wait(member.doing or "the engine to load", now - member.placed_at, course.config.start_timeout_s)
