"""The error of a budget that has nothing left."""

from __future__ import annotations

from eibench_ray.errors import EngineError


class BudgetSpentError(EngineError):
    """The sweep's budget does not allow another request; the row has no completion, and nothing was sent for it."""
