"""The budget of a sweep: what was spent, what is reserved, and whether a request still fits."""

from __future__ import annotations

from enum import Enum

# Sums of prices are compared to the millionth of a cent.
TINY_USD = 1e-8


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
        """A purse."""
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
