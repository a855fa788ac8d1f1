"""The limits that engines of a sweep share."""

from __future__ import annotations

from collections.abc import Iterable

from eibench_ray.config.endpoints import EndpointLimits, OpenaiSection
from eibench_ray.errors import PlanError


def pools_of(engines: Iterable[OpenaiSection]) -> dict[str, EndpointLimits]:
    """The limits of each pool; those of batches have none.

    Raises:
        PlanError: two engines share a pool and disagree on its limits.
    """
    pools: dict[str, EndpointLimits] = {}
    for engine in engines:
        if engine.mode == "batch":
            continue
        known = pools.setdefault(engine.pool, engine.limits)
        for key in ("requests_per_min", "tokens_per_min"):
            one, other = getattr(known, key), getattr(engine.limits, key)
            if one != other:
                raise PlanError(
                    f"the pool {engine.pool!r} has two values of engine.limits.{key}, {_number(one)} and "
                    f"{_number(other)}: engines of one pool share its limits, so give them the same, or another "
                    f"engine.limits.pool to {engine.model!r}"
                )
    return pools


def _number(limit: float | None) -> str:
    return "null" if limit is None else f"{limit:g}"
