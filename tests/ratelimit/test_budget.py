"""The budget is never overrun, whatever the order of events, and what is left of it can be spent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eibench_ray.ratelimit.budget import TINY_USD, Budget, BudgetAccount, BudgetAnswer

costs = st.floats(0.0, 3.0)
# What a request may cost at most, which share of it it does cost, and which of those in flight ends next.
events = st.lists(st.tuples(costs, st.floats(0.0, 1.0), st.integers(0, 9)), max_size=60)


@given(st.floats(0.0, 20.0), st.floats(0.0, 5.0), events)
def test_reserved_and_spent_stay_within_the_budget(
    budget: float, spent: float, plan: list[tuple[float, float, int]]
) -> None:
    account = BudgetAccount(budget, spent)
    in_flight: list[tuple[float, float]] = []
    for most, share, which in plan:
        if account.fits(most) is BudgetAnswer.NOW:
            account.reserve(most)
            in_flight.append((most, most * share))
        elif in_flight:
            account.settle(*in_flight.pop(which % len(in_flight)))
        assert account.reserved_usd + account.spent_usd <= max(budget, spent) + 2 * TINY_USD
    for most, cost in in_flight:
        account.settle(most, cost)
    assert account.reserved_usd < 1e-9
    # Nobody waits for what is not reserved.
    assert all(account.fits(most) is not BudgetAnswer.LATER for most, _, _ in plan)


def test_who_does_not_fit_now_waits_only_as_long_as_it_may_help() -> None:
    account = BudgetAccount(10.0, 4.0)
    account.reserve(5.0)
    assert [account.fits(cost) for cost in (1.0, 2.0, 6.0, 6.1)] == [
        BudgetAnswer.NOW,
        BudgetAnswer.LATER,
        BudgetAnswer.LATER,
        BudgetAnswer.NEVER,
    ]
    account.settle(5.0, 1.0)
    assert [account.fits(cost) for cost in (2.0, 5.0, 5.1)] == [BudgetAnswer.NOW, BudgetAnswer.NOW, BudgetAnswer.NEVER]


def test_prices_add_up_to_the_budget() -> None:
    account = BudgetAccount(0.3)
    for _ in range(3):
        assert account.fits(0.1) is BudgetAnswer.NOW
        account.reserve(0.1)
        account.settle(0.1, 0.1)
    assert account.fits(0.1) is BudgetAnswer.NEVER


def test_what_costs_nothing_passes_a_budget_that_is_overspent() -> None:
    account = BudgetAccount(1.0)
    account.reserve(0.5)
    account.settle(0.5, 7.0)
    assert account.fits(0.0) is BudgetAnswer.NOW
    assert account.fits(0.01) is BudgetAnswer.NEVER


def test_no_budget_is_no_limit() -> None:
    assert BudgetAccount(None, 1e9).fits(1e9) is BudgetAnswer.NOW


def test_funds_are_said_with_their_budget_if_there_is_one() -> None:
    assert str(Budget(None, 0.25)) == "$0.25"
    assert str(Budget(10.0, 0.25)) == "$0.25 of $10.00"


def test_what_is_spent_is_missing_from_what_is_left() -> None:
    budget = Budget(10.0, 4.0).spend(2.5)
    assert (budget.spent_usd, budget.left_usd) == (6.5, 3.5)
    assert budget.spend(100.0).left_usd == 0.0
    assert Budget(None, 4.0).spend(2.5).left_usd is None
