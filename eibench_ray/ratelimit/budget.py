"""The budget of a sweep and what it has spent. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from eibench_ray.rows.prices import format_usd


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of a sweep and what all of its runs have spent, in US dollars."""

    budget_usd: float | None = None  # None: no limit
    spent_usd: float = 0.0

    @property
    def left_usd(self) -> float | None:
        """The dollars that may still be spent; None: no limit."""
        return None if self.budget_usd is None else max(0.0, self.budget_usd - self.spent_usd)

    def spend(self, cost_usd: float) -> Budget:
        """The funds after more was spent."""
        return Budget(self.budget_usd, self.spent_usd + cost_usd)

    def describe_shortage(self, requests_left: int) -> str:
        """Says why a run stopped before its end, and what to do."""
        return (
            f"budget_usd is spent, or leaves less than the next request may cost: {self}. {requests_left:,} requests "
            f"are left; the same command with a higher budget_usd goes on with them."
        )

    def __str__(self) -> str:
        of_budget = "" if self.budget_usd is None else f" of ${format_usd(self.budget_usd)}"
        return f"${format_usd(self.spent_usd)}{of_budget}"
