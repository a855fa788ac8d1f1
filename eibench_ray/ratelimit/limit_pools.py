"""The limits that engines of a sweep share."""

from __future__ import annotations

from collections.abc import Iterable

from eibench_ray.errors import PlanError
from eibench_ray.plan.engine_traits import RateLimits


def pools_of(engines: Iterable[tuple[str, RateLimits | None]]) -> dict[str, RateLimits]:
    """The limits of each pool.

    Raises:
        PlanError: two engines share a pool and disagree on its limits.
    """
    pools: dict[str, RateLimits] = {}
    for name, limits in engines:
        if limits is None:
            continue
        known = pools.setdefault(limits.pool, limits)
        for key in ("requests_per_min", "tokens_per_min"):
            one, other = getattr(known, key), getattr(limits, key)
            if one != other:
                raise PlanError(
                    f"the pool {limits.pool!r} has two values of engine.limits.{key}, {_number(one)} and "
                    f"{_number(other)}: engines of one pool share its limits, so give them the same, or another "
                    f"engine.limits.pool to {name!r}"
                )
    return pools


def _number(limit: float | None) -> str:
    return "null" if limit is None else f"{limit:g}"
