"""The budget of a sweep: what was spent, what is reserved, and whether a request still fits. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from eibench_ray.rows.prices import format_usd

# Sums of prices are compared to the millionth of a cent.
TINY_USD = 1e-8


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
        """The budget after more was spent."""
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


class BudgetAnswer(Enum):
    """Whether a request fits the budget."""

    NOW = "now"
    LATER = "later"  # if requests in flight cost less than they might
    NEVER = "never"


class BudgetAccount:
    """Never promises more than there is.

    reserved + spent stays within the budget as long as no request costs more than it had reserved. One that does is
    paid for all the same, and later ones have to do without.
    """

    def __init__(self, budget_usd: float | None, spent_usd: float = 0.0) -> None:
        self._budget_usd = budget_usd
        self.spent_usd = spent_usd
        self.reserved_usd = 0.0

    def fits(self, cost_usd: float) -> BudgetAnswer:
        """Whether a request may be sent that costs so much at most. One that costs nothing always may."""
        if self._budget_usd is None or cost_usd == 0.0:
            return BudgetAnswer.NOW
        left = self._budget_usd + TINY_USD - self.spent_usd - cost_usd
        if left >= self.reserved_usd:
            return BudgetAnswer.NOW
        return BudgetAnswer.LATER if left >= 0 else BudgetAnswer.NEVER

    def reserve(self, cost_usd: float) -> None:
        """A request that may cost so much has been sent."""
        self.reserved_usd += cost_usd

    def settle(self, reserved_usd: float, cost_usd: float) -> None:
        """A request that had reserved so much has cost so much."""
        self.reserved_usd = max(self.reserved_usd - reserved_usd, 0.0)
        self.spent_usd += cost_usd
